import numpy as np
import pytest

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.graph_tokens import GraphTokens
from tofu_jax.tokens.precomputed import PrecomputedTokens
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.tokenizers import Tokenizers


@pytest.fixture(scope="module")
def text():
    return TextTokenizer.load()


@pytest.fixture
def image():
    codes = {"a.png": np.array([1, 2, 2], np.int32), "b.png": np.array([3], np.int32)}
    return PrecomputedTokens(Codebook("demo", np.eye(4, dtype=np.float32)), codes, False, "memory")


@pytest.fixture
def graph():
    facts = np.array([[0, 0, 1], [1, 0, 2]], np.int32)
    return KnowledgeGraph(
        name="demo",
        entities=("x", "y", "z"),
        relations=("r",),
        train=facts,
        valid=facts[:0],
        test=facts[:0],
        labels=("x", "y", "z"),
        texts=("A river", "", "The mountain of the river"),
        images=(("a.png", "b.png"), (), ("b.png",)),
    )


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    text_mask = np.arange(4) < rng.integers(0, 5, (50, 1))
    image_mask = np.arange(3) < rng.integers(0, 4, (50, 1))
    present = np.flatnonzero(text_mask.any(axis=1)).astype(np.int32)
    return GraphTokens(
        text_ids=np.where(text_mask, np.arange(200, dtype=np.int32).reshape(50, 4), 0),
        text_mask=text_mask,
        text_vectors=np.where(text_mask.any(axis=1), np.arange(1, 51), 0)[:, None].astype(np.float16),
        image_ids=np.where(image_mask, np.arange(150, dtype=np.int32).reshape(50, 3), 0),
        image_mask=image_mask,
        mentions=np.stack([present[:-1], present[1:]], axis=1),
    )


def rows(ids, mask):
    return sorted(tuple(row[row_mask].tolist()) for row, row_mask in zip(ids, mask, strict=True))


def test_both_modalities(graph, text, image):
    tokens = Tokenizers(text, image, num_text_tokens=2, num_image_tokens=3)(graph)
    vocabulary = text.word_pieces.get_vocab()
    river, mountain = vocabulary["river"], vocabulary["mountain"]
    assert tokens.text_ids.tolist() == [[river, 0], [0, 0], [mountain, river]]
    assert tokens.text_mask.tolist() == [[True, False], [False, False], [True, True]]
    assert tokens.image_ids.tolist() == [[2, 1, 3], [0, 0, 0], [3, 0, 0]]
    assert tokens.image_mask.sum(axis=1).tolist() == [3, 0, 1]


def test_a_modality_that_is_not_asked_for_is_masked(graph, text, image):
    tokenizers = Tokenizers(text, image)
    neither = tokenizers.restricted_to(())(graph)
    assert neither.text_ids.shape == neither.image_ids.shape == (3, 8)
    assert (neither.text_ids.dtype, neither.text_mask.dtype) == (np.int32, bool)
    assert not neither.text_mask.any() and not neither.image_mask.any()
    assert not neither.text_vectors.any() and not len(neither.mentions)
    only_text, only_images = (tokenizers.restricted_to((modality,))(graph) for modality in ("text", "image"))
    assert only_text.text_mask.any() and not only_text.image_mask.any()
    assert only_images.image_mask.any() and not only_images.text_mask.any()


def test_without(tokens):
    textless = tokens.without("text")
    assert not textless.text_mask.any() and not textless.text_ids.any()
    assert textless.text_ids.shape == tokens.text_ids.shape
    assert not textless.text_vectors.any() and not len(textless.mentions)
    assert textless.image_ids is tokens.image_ids and tokens.text_mask.any() and len(tokens.mentions)
    pictureless = tokens.without("image")
    assert pictureless.mentions is tokens.mentions
    bare = textless.without("image")
    assert not bare.image_mask.any() and not bare.image_ids.any()
    with pytest.raises(ValueError, match="modality"):
        tokens.without("sound")


def test_shuffled_keeps_coverage_and_content(tokens):
    shuffled = tokens.shuffled(seed=0)
    for name in ("text", "image"):
        ids, mask = getattr(tokens, f"{name}_ids"), getattr(tokens, f"{name}_mask")
        new_ids, new_mask = getattr(shuffled, f"{name}_ids"), getattr(shuffled, f"{name}_mask")
        np.testing.assert_array_equal(mask.any(axis=1), new_mask.any(axis=1))
        assert rows(ids, mask) == rows(new_ids, new_mask)
        assert not new_ids[~new_mask].any()
        assert (ids != new_ids).any(axis=1).sum() > 20


def test_shuffled_vectors_and_mentions_go_with_their_texts(tokens):
    shuffled = tokens.shuffled(seed=0)
    # Each vector of this graph tells whose text it is of.
    of_text = {tuple(ids): vector for ids, vector in zip(tokens.text_ids.tolist(), tokens.text_vectors[:, 0], strict=True)}
    assert [of_text[tuple(ids)] for ids in shuffled.text_ids.tolist()] == shuffled.text_vectors[:, 0].tolist()
    said, still_said = (sorted(map(tuple, t.text_vectors[t.mentions, 0].tolist())) for t in (tokens, shuffled))
    assert said == still_said
    assert (shuffled.mentions != tokens.mentions).any()


def test_shuffled_depends_on_the_seed_only(tokens):
    np.testing.assert_array_equal(tokens.shuffled(3).text_ids, tokens.shuffled(3).text_ids)
    assert (tokens.shuffled(3).text_ids != tokens.shuffled(4).text_ids).any()
