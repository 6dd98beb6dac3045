"""The selection that texts and images share: of all tokens of an entity, keep the most frequent ones."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from tofu_jax.shapes import Array

# Sequences sorted at once: bounds memory, at 196 ids an image and ten images an entity to about 150 MB.
_BATCH = 1024


def most_frequent(
    sequences: Iterable[Sequence[int] | Array], num_tokens: int, dropped: Array | None = None
) -> tuple[Array, Array]:
    """Keeps the most frequent ids of each sequence; ties go to the id that appears first.

    This is the token selection of MyGO (AAAI 2025, "modality tokenization") and TOFU. Memory does not grow with the
    number of sequences, except for the result, so `sequences` may be a generator.

    Args:
      sequences: N sequences of ids >= 0, of any lengths.
      num_tokens: T, ids to keep per sequence.
      dropped: bool [K], True for ids that are never kept; K exceeds every id. None drops nothing.

    Returns:
      ids: int32 [N, T], most frequent first; 0 where masked.
      mask: bool [N, T], True where an id stands; False at the end of rows with fewer than T distinct ids.
    """
    rest = iter(sequences)
    batches = []
    while batch := list(itertools.islice(rest, _BATCH)):
        batches.append(_most_frequent_of_batch(batch, num_tokens, dropped))
    if not batches:
        return np.zeros((0, num_tokens), np.int32), np.zeros((0, num_tokens), bool)
    return np.concatenate([ids for ids, _ in batches]), np.concatenate([mask for _, mask in batches])


def _most_frequent_of_batch(
    batch: Sequence[Sequence[int] | Array], num_tokens: int, dropped: Array | None
) -> tuple[Array, Array]:
    selected = np.zeros((len(batch), num_tokens), np.int32)
    mask = np.zeros((len(batch), num_tokens), bool)
    ids = np.concatenate([np.asarray(sequence, np.int64) for sequence in batch])
    rows = np.repeat(np.arange(len(batch)), [len(sequence) for sequence in batch])
    if dropped is not None:
        kept = ~dropped[ids]
        ids, rows = ids[kept], rows[kept]
    if not len(ids):
        return selected, mask

    # One number per (row, id) lets a single sort count all rows at once.
    stride = ids.max() + 1
    pairs, first_place, count = np.unique(rows * stride + ids, return_index=True, return_counts=True)
    order = np.lexsort((first_place, -count, pairs // stride))
    rows, ids = pairs[order] // stride, pairs[order] % stride
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    best = rank < num_tokens
    selected[rows[best], rank[best]] = ids[best]
    mask[rows[best], rank[best]] = True
    return selected, mask
