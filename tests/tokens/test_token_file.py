import contextlib
import dataclasses
import json

import making
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tofu_jax.errors import DataError
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.graph_tokens import OF_ENTITIES, GraphTokens
from tofu_jax.tokens.token_file import entity_digests, read_tokens, write_tokens

NAMES = [field.name for field in dataclasses.fields(GraphTokens)]


def graph_of(num_entities, texts=None, images=None):
    graph = making.make_graph(num_entities, 1, [(0, 0, 0)])
    return dataclasses.replace(graph, texts=tuple(texts or [""] * num_entities), images=tuple(images or [()] * num_entities))


@pytest.fixture
def graph():
    return graph_of(20, texts=[f"text {i}" for i in range(20)])


@pytest.fixture
def tokens(graph):
    return making.random_tokens(np.random.default_rng(0), graph)


@pytest.fixture
def path(graph, tokens, tmp_path):
    write_tokens(tmp_path / "tokens.npz", tokens, graph, making.CODEBOOKS)
    return tmp_path / "tokens.npz"


def same(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in NAMES)


def tokens_of(stored, graph, codebooks=making.CODEBOOKS, text=making.TEXT_TOKENS, image=making.IMAGE_TOKENS):
    return stored.tokens_of(graph, codebooks, {"text": text, "image": image})


@given(seed=st.integers(0, 2**32 - 1), num_entities=st.integers(1, 40))
def test_round_trip(tmp_path_factory, seed, num_entities):
    path = tmp_path_factory.getbasetemp() / "round_trip.npz"
    graph = graph_of(num_entities)
    tokens = making.random_tokens(np.random.default_rng(seed), graph)
    write_tokens(path, tokens, graph, making.CODEBOOKS)
    stored = read_tokens(path)
    assert same(stored.tokens, tokens)
    dtypes = [np.int32, bool, np.float16, np.int32, bool, np.int32]
    assert [getattr(stored.tokens, name).dtype for name in NAMES] == dtypes
    assert stored.codebooks == {modality: (book.name, book.sha256) for modality, book in making.CODEBOOKS.items()}
    assert same(tokens_of(stored, graph), tokens)
    assert not list(path.parent.glob("*.unfinished"))


def test_the_file_is_plain_numpy(path, tokens):
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays.files) == {*NAMES, "entities", "about"}
        assert json.loads(str(arrays["about"]))["version"] == 2
    of_entity = (making.TEXT_TOKENS + making.IMAGE_TOKENS) * 5 + 2 * making.CODEBOOKS["text"].vectors.shape[1] + 16
    assert path.stat().st_size < 20 * of_entity + 8 * len(tokens.mentions) + 4000  # not compressed, not padded


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"texts": ("text 0", "other", *[f"text {i}" for i in range(2, 20)])}, "entity 'e1' is not in it"),
        ({"labels": ("other", *[f"e{i}" for i in range(1, 20)])}, "entity 'e0' is not in it"),
        ({"images": (("a.png",), *[()] * 19)}, "entity 'e0' is not in it, or has another name, text or other images there"),
        ({"entities": tuple(f"e{i}" for i in reversed(range(20)))}, "entity 'e19' is not in it"),
    ],
)
def test_another_graph_is_noticed(path, graph, changed, reason):
    assert reason in tokens_of(read_tokens(path), dataclasses.replace(graph, **changed))


def test_facts_and_the_folder_of_images_do_not_matter(path, graph, tokens, tmp_path):
    other = dataclasses.replace(graph, name="other", train=graph.train[:0], image_root=tmp_path)
    assert same(tokens_of(read_tokens(path), other), tokens)


def test_a_part_of_the_graph_finds_its_tokens(path, graph, tokens):
    kept = [7, 3, 3 + 9, 0]
    columns = {name: tuple(getattr(graph, name)[i] for i in kept) for name in ("entities", "labels", "texts", "images")}
    part = tokens_of(read_tokens(path), dataclasses.replace(graph, **columns))
    expected = {name: getattr(tokens, name)[kept] for name in OF_ENTITIES}
    assert same(part, dataclasses.replace(tokens, **expected, mentions=part.mentions))
    assert not len(part.mentions)  # found anew: no text of these names anybody


def test_other_settings_are_noticed(path, graph):
    stored = read_tokens(path)
    other = {**making.CODEBOOKS, "image": Codebook("random image", making.CODEBOOKS["image"].vectors + 1)}
    assert "its image tokens are of codebook random image" in tokens_of(stored, graph, other)
    assert same(tokens_of(stored, graph, {"text": making.CODEBOOKS["text"]}), stored.tokens)
    assert tokens_of(stored, graph, text=5) == "it has 3 text tokens per entity, wanted are 5"


def test_strings_that_join_alike_are_kept_apart():
    graphs = [
        graph_of(2, texts=texts, images=images)
        for texts in (["ab", "c"], ["a", "bc"], ["abc", ""], ['a", "b', "c"])
        for images in ([("x", "y"), ()], [("x",), ("y",)], [("xy",), ()], [(), ()])
    ]
    assert len({entity_digests(graph).tobytes() for graph in graphs}) == len(graphs)
    entity_digests(graph_of(1, texts=["\ud800"]))


@given(data=st.data())
def test_damage_is_noticed_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    tokens = making.random_tokens(np.random.default_rng(0), graph_of(4))
    write_tokens(path, tokens, graph_of(4), making.CODEBOOKS)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    with contextlib.suppress(DataError):
        assert same(read_tokens(path).tokens, tokens)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("about", None, "KeyError: 'about'"),
        ("about", np.array("{"), "no token file"),
        ("about", np.array("[]"), "no token file"),
        ("about", np.array('{"version": 3}'), "version 3 of token files"),
        ("text_ids", None, "KeyError: 'text_ids'"),
        ("text_ids", np.zeros((20, 3)), "text: ids float64"),
        ("text_ids", np.full((20, 3), 50, np.int32), "text: ids outside the codebook"),
        ("text_ids", np.full((20, 3), -1, np.int32), "text: ids outside the codebook"),
        ("text_mask", np.zeros((20, 2), bool), "text: ids int32 .20, 3., mask bool .20, 2."),
        ("image_mask", np.zeros((20, 2), bool), "image: ids outside the codebook, or where the mask is off"),
        ("image_ids", np.zeros((19, 2), np.int32), "image: ids int32 .19, 2."),
        ("entities", np.zeros((20, 15), np.uint8), "entities .20, 15."),
        ("entities", np.zeros((19, 16), np.uint8), "entities .19, 16."),
        ("entities", np.array(3), "no token file"),
        ("text_vectors", np.zeros((20, 12)), "text_vectors: float64"),
        ("text_vectors", np.full((20, 12), np.nan, np.float16), "text_vectors: .*not finite"),
        ("text_vectors", np.zeros((19, 12), np.float16), "text_vectors: float16 .19, 12."),
        ("mentions", np.array([[0, 20]], np.int32), "mentions: .*entities that are not there"),
        ("mentions", np.array([[-1, 2]], np.int32), "mentions: .*entities that are not there"),
        ("mentions", np.zeros((3, 3), np.int32), "mentions: int32 .3, 3."),
    ],
)
def test_other_contents_are_refused(path, key, value, message):
    with np.load(path) as file:
        arrays = {**file, key: value}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=rf"tokens\.npz.*{message}"):
        read_tokens(path)


def test_no_code_is_run(tmp_path):
    np.savez(tmp_path / "hostile.npz", about=np.array([print], object))
    with pytest.raises(DataError, match="hostile"):
        read_tokens(tmp_path / "hostile.npz")
    with pytest.raises(DataError, match="absent"):
        read_tokens(tmp_path / "absent.npz")
