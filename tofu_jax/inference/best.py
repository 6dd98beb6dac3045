"""The k best of many, in an order that depends on scores and names alone, never on how things are numbered."""

import numpy as np

from tofu_jax.shapes import Array


def best(scores: Array, tie_order: Array, k: int, allowed: Array) -> tuple[Array, Array]:
    """The k best candidates of one query.

    Args:
      scores: float [n], finite.
      tie_order: int [n], distinct: equal scores stand in this order.
      k: how many.
      allowed: bool [n], which candidates compete.

    Returns:
      positions int64 [min(k, allowed)], best first, and their ranks int64: 1 + the competitors that score higher, so that equal
      scores share a rank (the optimistic rank of `evaluation.ranking`).
    """
    positions = np.flatnonzero(allowed)
    if k < len(positions):
        competing = scores[positions]
        # All that are level with the k-th stay, so that names decide between them.
        positions = positions[competing >= np.partition(competing, -k)[-k]]
    positions = positions[np.lexsort((tie_order[positions], -scores[positions]))][:k]
    return positions, ranks_of_sorted(scores[positions])


def ranks_of_sorted(scores: Array) -> Array:
    """Ranks int64 [n] of scores that fall from first to last: 1 + the higher ones."""
    return np.searchsorted(-scores, -scores, side="left") + 1
