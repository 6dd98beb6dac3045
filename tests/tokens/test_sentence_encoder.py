"""The encoder against its published form in NumPy, word piece by word piece; what it says of sentences."""

import math

import numpy as np
import pytest

from tofu_jax.errors import DataError
from tofu_jax.tokens import text as text_module
from tofu_jax.tokens.sentence_encoder import MAX_WORD_PIECES, WIDTH
from tofu_jax.tokens.text import TextTokenizer

SENTENCES = [
    "Alabama is a state in the southeastern region of the United States.",
    "a dog",
    "The central bank raised its interest rate, which nobody had expected, by a quarter of a per cent. " * 5,
]


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.load()


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setenv("TOFU_JAX_TEXT_CACHE", "")


def encoded(tensors, ids):
    """One text, float64 [WIDTH]: BERT as Devlin et al. 2019 describe it."""

    def linear(name, x):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12) * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    embeddings = [tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")]
    x = norm("embeddings.LayerNorm", embeddings[0][ids] + embeddings[1][: len(ids)] + embeddings[2][0])
    for i in range(6):
        layer = f"encoder.layer.{i}"
        query, key, value = (linear(f"{layer}.attention.self.{name}", x) for name in ("query", "key", "value"))
        heads = []
        for columns in np.split(np.arange(WIDTH), 12):
            logits = query[:, columns] @ key[:, columns].T / math.sqrt(len(columns))
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, columns])
        x = norm(f"{layer}.attention.output.LayerNorm", x + linear(f"{layer}.attention.output.dense", np.concatenate(heads, 1)))
        wide = linear(f"{layer}.intermediate.dense", x)
        wide = wide * (1 + np.vectorize(math.erf)(wide / math.sqrt(2))) / 2
        x = norm(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", wide))
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_vectors_are_those_of_the_published_encoder(tokenizer):
    tensors = text_module._read_tensors(tokenizer.folder / "model.safetensors")
    tensors = {name: values.astype(np.float64) for name, values in tensors.items()}
    found = tokenizer.vectors(SENTENCES)
    assert (found.dtype, found.shape) == (np.float16, (3, WIDTH))
    for sentence, vector in zip(SENTENCES, found, strict=True):
        ids = tokenizer.word_pieces(sentence, truncation=True, max_length=MAX_WORD_PIECES)["input_ids"]
        np.testing.assert_allclose(vector, encoded(tensors, ids), atol=2e-4)  # float16


def test_like_sentences_have_like_vectors(tokenizer):
    texts = ["a dog is running", "the puppy runs", "stock market crash", "a collapse of share prices"]
    similar = (vectors := tokenizer.vectors(texts).astype(np.float32)) @ vectors.T
    assert min(similar[0, 1], similar[2, 3]) > 0.6 > 0.2 > similar[:2, 2:].max()


def test_what_comes_of_a_text_does_not_depend_on_those_beside_it(tokenizer):
    texts = [f"{'word ' * (i % 20)}{i}" for i in range(100)]
    together, alone = tokenizer.vectors(texts), np.concatenate([tokenizer.vectors([text]) for text in texts[::9]])
    np.testing.assert_array_equal(together[::9], alone)


def test_empty_texts_have_no_vector(tokenizer):
    vectors = tokenizer.vectors(["", "a dog", "  "])
    assert vectors.any(axis=1).tolist() == [False, True, False]
    assert tokenizer.vectors([]).shape == (0, WIDTH)


def test_only_the_beginning_of_a_text_counts(tokenizer):
    start = "river " * MAX_WORD_PIECES
    vectors = tokenizer.vectors([start, start + "mountain " * 10_000])
    np.testing.assert_array_equal(*vectors)


def test_other_weights_are_refused(tokenizer, monkeypatch):
    monkeypatch.setattr(text_module, "ENCODER_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"model\.safetensors: contents differ"):
        TextTokenizer.load().vectors(["a dog"])
