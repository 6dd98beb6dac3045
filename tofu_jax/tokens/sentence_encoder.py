"""Texts to vectors: the frozen encoder whose input embeddings are the text codebook, run by XLA on whatever device there is."""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tofu_jax.shapes import Array

WIDTH = 384
# A text counts up to so many word pieces, about 48 English words; time grows with them.
MAX_WORD_PIECES = 64
_NUM_HEADS = 12
_TEXTS_PER_CALL = 64
_LENGTHS = 8  # texts are padded to a multiple of this: so many programs at most, and each text is always padded alike
_EPSILON = 1e-12  # of its LayerNorms


def encoder_sha256(tensors: Mapping[str, Array]) -> str:
    """Hexadecimal SHA-256 over names, shapes and little-endian float32 bytes of all tensors that the encoder reads."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}:".encode())
        digest.update(np.ascontiguousarray(tensors[name], dtype="<f4"))
    return digest.hexdigest()


def piece_ids(word_pieces: Any, texts: Sequence[str], most: int, special: bool) -> list[list[int]]:
    """Ids of the word pieces of texts, at most so many of each; the tokenizer itself uses all cores.

    Args:
      word_pieces: the WordPiece tokenizer of transformers.
      texts: any number.
      most: pieces of a text, special ones included.
      special: whether [CLS] and [SEP] stand around a text, as the encoder wants it.

    Returns:
      A list of ids for each text, as long as the text needs; nothing is padded.
    """
    return word_pieces(
        list(texts),
        add_special_tokens=special,
        # tokenizer.json pads and truncates to 128 unless told otherwise.
        padding=False,
        truncation=True,
        max_length=most,
        return_attention_mask=False,
        return_token_type_ids=False,
    )["input_ids"]


class SentenceEncoder:
    """all-MiniLM-L6-v2: six transformer layers, the mean over word pieces, put to length 1 (Reimers & Gurevych 2019).

    Its tensors are as published, never trained further.
    """

    def __init__(self, tensors: Mapping[str, Array], word_pieces: Any):
        """Puts the weights on the device.

        Args:
          tensors: of model.safetensors, by their names there.
          word_pieces: the WordPiece tokenizer of transformers.
        """
        self._word_pieces = word_pieces
        self._weights = jax.tree.map(jnp.asarray, _arranged(tensors))

    def __call__(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Array]]:
        """Encodes texts, the shortest first; what comes of a text does not depend on those beside it.

        Args:
          texts: any number, none of them empty; each counts up to MAX_WORD_PIECES.

        Yields:
          Positions in `texts`, and their vectors float16 [n, WIDTH] of length 1.
        """
        pieces = piece_ids(self._word_pieces, texts, MAX_WORD_PIECES, special=True)
        by_length: dict[int, list[int]] = {}
        for position, ids in enumerate(pieces):
            by_length.setdefault(-(-len(ids) // _LENGTHS) * _LENGTHS, []).append(position)
        for length in sorted(by_length):
            members = by_length[length]
            for start in range(0, len(members), _TEXTS_PER_CALL):
                positions = members[start : start + _TEXTS_PER_CALL]
                ids, count = np.zeros((_TEXTS_PER_CALL, length), np.int32), np.ones(_TEXTS_PER_CALL, np.int32)
                for row, position in enumerate(positions):
                    count[row] = len(pieces[position])
                    ids[row, : count[row]] = pieces[position]
                yield positions, np.asarray(_encode(self._weights, ids, count))[: len(positions)]


def _arranged(tensors: Mapping[str, Array]) -> dict[str, Any]:
    """The tensors as `_encode` reads them: kernels that are multiplied from the right, those of all layers in one array."""
    layers = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer."))

    def stacked(name: str) -> dict[str, Array]:
        parts = {}
        for part in ("weight", "bias"):
            values = np.stack([tensors[f"encoder.layer.{i}.{name}.{part}"] for i in range(layers)])
            parts[part] = values.swapaxes(1, 2) if values.ndim == 3 else values
        return parts

    names = {
        **{part: f"attention.self.{part}" for part in ("query", "key", "value")},
        "attended": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "widened": "intermediate.dense",
        "narrowed": "output.dense",
        "norm": "output.LayerNorm",
    }
    embeddings = {name: tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position")}
    return {
        "word": embeddings["word"],
        # There is one text, so all word pieces are of the first type.
        "position": embeddings["position"][:MAX_WORD_PIECES] + tensors["embeddings.token_type_embeddings.weight"][0],
        "norm": {part: tensors[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")},
        "layers": {ours: stacked(theirs) for ours, theirs in names.items()},
    }


@functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})
def _encode(weights: Mapping[str, Any], ids: Array, count: Array) -> jax.Array:
    """Vectors float16 [B, WIDTH] of texts: ids int32 [B, pieces], of which the first count [B] are the text's."""
    there = jnp.arange(ids.shape[1]) < count[:, None]
    states = _norm(weights["norm"], weights["word"][ids] + weights["position"][: ids.shape[1]])
    hidden = jnp.where(there, 0, -jnp.inf)[:, None, None]

    def layer(states: jax.Array, w: Mapping[str, Any]) -> tuple[jax.Array, None]:
        query, key, value = (_linear(w[name], states) for name in ("query", "key", "value"))
        query, key, value = (x.reshape(*ids.shape, _NUM_HEADS, -1) for x in (query, key, value))
        logits = jnp.einsum("bihc,bjhc->bhij", query, key) * query.shape[-1] ** -0.5 + hidden
        attended = jnp.einsum("bhij,bjhc->bihc", jax.nn.softmax(logits), value).reshape(states.shape)
        states = _norm(w["attention_norm"], states + _linear(w["attended"], attended))
        widened = jax.nn.gelu(_linear(w["widened"], states), approximate=False)
        return _norm(w["norm"], states + _linear(w["narrowed"], widened)), None

    states, _ = jax.lax.scan(layer, states, weights["layers"])
    mean = jnp.where(there[..., None], states, 0).sum(axis=1) / count[:, None]
    return (mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)).astype(jnp.float16)


def _linear(w: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
    return x @ w["weight"] + w["bias"]


def _norm(w: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + _EPSILON) * w["weight"] + w["bias"]
