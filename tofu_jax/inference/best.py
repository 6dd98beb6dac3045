"""The k best of many, in an order that depends on scores and names alone, never on how things are numbered."""

import numpy as np

from tofu_jax.shapes import Array

_LEAST_HELD = 2**16  # facts before a first sorting


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


class BestFacts:
    """The k best facts of a stream; keeps about k and what one row of the stream brings."""

    def __init__(self, k: int, entity_order: Array, relation_order: Array):
        """Starts empty.

        Args:
          k: how many facts to keep.
          entity_order: int [N]; relation_order: int [R/2]: equal scores stand in the order of relation, head and tail.
        """
        self._k, self._orders = k, (entity_order, relation_order)
        self._threshold = -np.inf
        self._facts = [np.zeros((0, 3), np.int32)]
        self._scores = [np.zeros(0, np.float64)]
        self._held = 0

    def add(self, head: int, relation: int, scores: Array, allowed: Array) -> None:
        """Takes in the tails of one query.

        Args:
          head, relation: of the query.
          scores: float64 [N].
          allowed: bool [N], tails that compete.
        """
        tails = np.flatnonzero(allowed & (scores >= self._threshold))
        if len(tails) > self._k:
            found = scores[tails]
            tails = tails[found >= np.partition(found, -self._k)[-self._k]]
        facts = np.full((len(tails), 3), (head, relation, 0), np.int32)
        facts[:, 2] = tails
        self._facts.append(facts)
        self._scores.append(scores[tails])
        self._held += len(tails)
        if self._held > max(2 * self._k, _LEAST_HELD):
            self._keep_best()

    def result(self) -> tuple[Array, Array]:
        """Facts int32 [., 3] (head, relation, tail), best first, and their scores float64 [.]."""
        self._keep_best()
        return self._facts[0], self._scores[0]

    def _keep_best(self) -> None:
        facts, scores = np.concatenate(self._facts), np.concatenate(self._scores)
        entity_order, relation_order = self._orders
        head, relation, tail = facts.T
        keys = (entity_order[tail], entity_order[head], relation_order[relation], -scores)
        order = np.lexsort(keys)[: self._k]
        self._facts, self._scores, self._held = [facts[order]], [scores[order]], len(order)
        if len(order) == self._k:
            self._threshold = scores[order[-1]]
