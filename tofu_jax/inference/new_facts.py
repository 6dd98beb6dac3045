"""The best facts that a graph does not hold, by asking it everything; memory does not grow with the questions."""

import numpy as np

from tofu_jax.inference.asking import Asker, Counter
from tofu_jax.inference.best import best
from tofu_jax.shapes import Array, inverse_relation

CANDIDATES = 64  # tails of a head and a relation that can become new facts
_LEAST_HELD = 2**12  # facts before a first sorting


class BestFacts:
    """The k best facts of a stream; keeps about k and what comes in at once."""

    def __init__(self, k: int, entity_order: Array, relation_order: Array):
        """Starts empty.

        Args:
          k: how many facts to keep.
          entity_order: int [N]; relation_order: int [R/2]: equal scores stand in the order of relation, head and tail.
        """
        self.entity_order = entity_order
        self._k, self._relation_order = k, relation_order
        self._facts, self._scores = [np.zeros((0, 3), np.int32)], [np.zeros(0, np.float64)]
        self._held = 0
        self.threshold = -np.inf  # what scores less is not among the k best

    def add(self, facts: Array, scores: Array) -> None:
        """Takes in facts int32 [n, 3] (head, relation, tail), each once over all calls, and their scores float64 [n]."""
        self._facts.append(facts)
        self._scores.append(scores)
        self._held += len(facts)
        if self._held > max(2 * self._k, _LEAST_HELD):
            self.result()

    def result(self) -> tuple[Array, Array]:
        """Facts int32 [., 3], best first, and their scores float64 [.]."""
        facts, scores = np.concatenate(self._facts), np.concatenate(self._scores)
        head, relation, tail = facts.T
        keys = (self.entity_order[tail], self.entity_order[head], self._relation_order[relation], -scores)
        order = np.lexsort(keys)[: self._k]
        self._facts, self._scores, self._held = [facts[order]], [scores[order]], len(order)
        if len(order) == self._k:
            self.threshold = scores[order[-1]]
        return self._facts[0], self._scores[0]


def num_queries(num_entities: int, num_heads: int) -> int:
    """Most queries that `add_new_facts` asks: one for each head, and one for each tail that may be an answer."""
    return num_heads + min(num_entities, num_heads * CANDIDATES)


def add_new_facts(kept: BestFacts, asker: Asker, heads: Array, relation: int, counter: Counter) -> None:
    """Offers the new facts of one relation to `kept`, scored from both ends.

    Args:
      kept: of the graph.
      asker: of the graph.
      heads: int64 [n] of the facts.
      relation: in 0..R/2-1.
      counter: told after each batch.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for row, scores, splits in asker.ask(np.stack([heads, np.full(len(heads), relation)], axis=1), counter):
        # The score of the head will be added, and it is at most 0.
        allowed = (splits == 0) & (scores >= kept.threshold)
        tails, _ = best(scores, kept.entity_order, CANDIDATES, allowed)
        found.append((np.full(len(tails), heads[row]), tails, scores[tails]))
    heads, tails, tail_scores = (np.concatenate(column) for column in zip(*found, strict=True))

    distinct, place = np.unique(tails, return_inverse=True)
    order = np.argsort(place, kind="stable")
    of_tail = np.split(order, np.searchsorted(place[order], np.arange(1, len(distinct))))
    backward = np.full(len(distinct), inverse_relation(relation, asker.graph.num_relations))
    for row, head_scores, _ in asker.ask(np.stack([distinct, backward], axis=1), counter):
        facts = of_tail[row]
        columns = (heads[facts], np.full(len(facts), relation), tails[facts])
        kept.add(np.stack(columns, axis=1).astype(np.int32), tail_scores[facts] + head_scores[heads[facts]])
