import dataclasses

import making
import numpy as np
import pytest
from PIL import Image

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.emu3 import Emu3Tokenizer
from tofu_jax.tokens.graph_tokens import GraphTokens
from tofu_jax.tokens.image import PatchTokenizer
from tofu_jax.tokens.precomputed import MissingImageTokens, PrecomputedTokens
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.token_file import write_tokens
from tofu_jax.tokens.tokenizers import NO_IMAGES, Tokenizers, fit_tokenizers, open_image_tokenizer

PATCHES = Codebook("patches-v1-k4", np.eye(4, 32, dtype=np.float32))
IDS = Codebook("imported-4x2", np.eye(4, 2, dtype=np.float32))


@pytest.fixture(scope="module")
def text():
    return TextTokenizer.load()


@pytest.fixture
def graph(tmp_path):
    """Three entities: with text and image, with text, with nothing. It has a token file of ones that no tokenizer makes."""
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "blue.png")
    graph = dataclasses.replace(
        making.make_graph(3, 1, [(0, 0, 1)]),
        texts=("blue water", "red earth", ""),
        images=(("blue.png",), (), ()),
        image_root=tmp_path,
        token_file=tmp_path / "tokens.npz",
    )
    return graph


@pytest.fixture
def store(graph, text):
    """store(image codebook): writes the token file."""

    def write(codebook):
        ids, mask = np.random.default_rng(0).integers(1, 4, (2, 3, 8), np.int32), np.ones((3, 8), bool)
        none = GraphTokens.none(graph, text.codebook.vectors.shape[1])
        tokens = dataclasses.replace(none, text_ids=ids[0], text_mask=mask, image_ids=ids[1], image_mask=mask)
        if codebook is NO_IMAGES:
            tokens = tokens.without("image")
        write_tokens(graph.token_file, tokens, graph, {"text": text.codebook, "image": codebook})
        return tokens

    return write


def assert_same(first, second):
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), err_msg=field.name)


@pytest.mark.parametrize("image", [PatchTokenizer(PATCHES), MissingImageTokens(IDS)])
def test_tokens_come_from_the_file_of_the_graph(graph, text, store, image, caplog):
    tokens = store(image.codebook)
    assert_same(Tokenizers(text, image)(graph), tokens)
    assert_same(Tokenizers(text, image).restricted_to(("text",))(graph), tokens.without("image"))
    assert_same(Tokenizers(text, image).restricted_to(())(graph), tokens.without("image").without("text"))
    assert_same(Tokenizers(text, None)(graph), tokens.without("image"))
    assert not caplog.records


def test_an_unfit_file_is_not_used_and_one_line_says_why(graph, text, store, caplog):
    store(IDS)
    tokenizers = Tokenizers(text, PatchTokenizer(PATCHES))
    expected = tokenizers(dataclasses.replace(graph, token_file=None))
    assert_same(tokenizers(graph), expected)
    (note,) = (record.getMessage() for record in caplog.records)
    assert note.startswith(
        f"made: tokenised again and not read from {graph.token_file}: its image tokens are of codebook imported"
    )
    store(PATCHES)
    changed = dataclasses.replace(graph, texts=("new", "texts", "here"))
    assert_same(tokenizers(changed), tokenizers(dataclasses.replace(changed, token_file=None)))
    assert "entity 'e0' is not in it, or has another name, text or other images there" in caplog.text
    assert dataclasses.replace(tokenizers, num_text_tokens=5)(graph).text_ids.shape == (3, 5)
    assert "it has 8 text tokens per entity, wanted are 5" in caplog.text
    # Nothing can be made in the place of these tokens.
    with pytest.raises(CheckpointError, match="reads images as ids of"):
        Tokenizers(text, MissingImageTokens(IDS))(graph)


def test_a_graph_without_images_fits_every_image_tokenizer(graph, text, store, caplog):
    graph = dataclasses.replace(graph, images=((), (), ()), image_root=None)
    tokens = store(NO_IMAGES)
    write_tokens(graph.token_file, tokens, graph, {"text": text.codebook, "image": NO_IMAGES})
    assert_same(Tokenizers(text, PatchTokenizer(PATCHES))(graph), tokens)
    assert not caplog.records
    by_entity = PrecomputedTokens(IDS, {"e0": np.array([2], np.int32)}, True, "memory")
    assert Tokenizers(text, by_entity)(graph).image_ids[0, 0] == 2
    assert "its image tokens are of codebook no-images" in caplog.text


def test_a_damaged_file_is_an_error(graph, text, store):
    store(PATCHES)
    graph.token_file.write_bytes(graph.token_file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"tokens\.npz"):
        Tokenizers(text, None)(graph)


class TestSources:
    def test_files(self, tmp_path):
        for codebook in (PATCHES, IDS, NO_IMAGES):
            codebook.save(tmp_path / f"{codebook.name}.npz")
        np.savez(tmp_path / "ids.npz", paths=np.array(["a"]), codes=np.zeros((1, 4), int), codebook=np.eye(4, 2))
        patches = open_image_tokenizer(str(tmp_path / "patches-v1-k4.npz"), ["a"], workers=3)
        assert (type(patches), patches.codebook.sha256, patches.workers) == (PatchTokenizer, PATCHES.sha256, 3)
        assert type(open_image_tokenizer(str(tmp_path / "imported-4x2.npz"), ["a", "b"])) is MissingImageTokens
        assert type(open_image_tokenizer(str(tmp_path / "ids.npz"), ["a", "b"])) is PrecomputedTokens
        with pytest.raises(DataError, match="a codebook of no images"):
            open_image_tokenizer(str(tmp_path / "no-images.npz"), ["a"])
        with pytest.raises(DataError, match="absent"):
            open_image_tokenizer(str(tmp_path / "absent"), ["a"])

    def test_folders(self, tmp_path, monkeypatch):
        (tmp_path / "a-visual.json").write_text('{"e": [1]}')
        np.save(tmp_path / "visual.npy", np.eye(2))
        assert open_image_tokenizer(str(tmp_path), ["a"]).codes["e"].tolist() == [1]
        with pytest.raises(DataError, match="serves one graph, not a, b"):
            open_image_tokenizer(str(tmp_path), ["a", "b"])
        asked = []
        monkeypatch.setattr(Emu3Tokenizer, "load", asked.append)
        open_image_tokenizer("emu3", ["a"])
        (tmp_path / "model.safetensors").touch()
        open_image_tokenizer(str(tmp_path), ["a"])
        assert asked == [None, tmp_path]


def test_training_uses_a_codebook_that_is_given(graph, store, tmp_path):
    tokens = store(IDS)
    IDS.save(tmp_path / "codebook.npz")
    settings = {"num_text_tokens": 8, "num_image_tokens": 8, "num_image_codes": 4, "seed": 0, "workers": 1}
    tokenizers = fit_tokenizers([graph], str(tmp_path / "codebook.npz"), **settings, trained=None)
    assert_same(tokenizers(graph), tokens)
    fit_tokenizers([graph], str(tmp_path / "codebook.npz"), **settings, trained=IDS)
    with pytest.raises(CheckpointError, match="trained with codebook patches"):
        fit_tokenizers([graph], str(tmp_path / "codebook.npz"), **settings, trained=PATCHES)
