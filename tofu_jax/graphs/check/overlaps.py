"""Which relations hold between the same pairs of entities, forwards or backwards."""

import dataclasses

import numpy as np
import scipy.sparse

from tofu_jax.graphs.check.facts import SPLITS, Facts, positions, sorted_distinct
from tofu_jax.graphs.knowledge_graph import MOST_NAMES, fact_keys
from tofu_jax.shapes import Array

MOST = 0.8  # of a relation's facts have to stand by another relation as well, as in Akrami et al. (2020), section 4
FEWEST_FACTS = 5  # a relation with fewer agrees with others by chance


@dataclasses.dataclass(frozen=True, eq=False)
class Overlaps:
    """Overlaps over the distinct facts of all splits together, self loops left out: a relation and its inverse that were
    split at random overlap less in train alone than they do in truth.

    Attributes:
      sizes: int64 [R/2] facts of each relation.
      forwards: csr int64 [R/2, R/2]; at [i, j] how many facts (h, i, t) are also facts (h, j, t).
      backwards: csr int64 [R/2, R/2]; at [i, j] how many facts (h, i, t) are also facts (t, j, h).
    """

    sizes: Array
    forwards: scipy.sparse.csr_array
    backwards: scipy.sparse.csr_array

    @property
    def symmetric(self) -> Array:
        """float64 [R/2]: share of the facts of each relation whose reverse is a fact of it too; 0 without facts."""
        return self.backwards.diagonal() / np.maximum(self.sizes, 1)


@dataclasses.dataclass(frozen=True)
class Implication:
    """Most facts of `body` are facts of `head`: (h, body, t) implies (h, head, t), or (t, head, h) if `backwards`.

    Attributes:
      body, head: relations.
      backwards: whether head and tail change places.
      share: of the facts of `body`.
    """

    body: int
    head: int
    backwards: bool
    share: float


def relation_overlaps(facts: Facts) -> Overlaps:
    """Counts the overlaps of every two relations."""
    num_relations = len(facts.raw.relations)
    everything = np.concatenate([facts.split(split).triples for split in SPLITS])
    everything = everything[everything[:, 0] != everything[:, 2]]
    # In the order of their pairs, so that the facts of a pair stand together.
    forward_keys, relation = _pairs_and_relations(sorted_distinct(fact_keys(everything[:, [0, 2, 1]])))
    pairs = sorted_distinct(forward_keys)
    forwards = _incidence(positions(pairs, forward_keys), relation, len(pairs), num_relations)
    sizes = np.bincount(relation, minlength=num_relations)
    backward_keys, relation = _pairs_and_relations(sorted_distinct(fact_keys(everything[:, [2, 0, 1]])))
    backward_row = positions(pairs, backward_keys)
    both_ways = backward_row >= 0
    backwards = _incidence(backward_row[both_ways], relation[both_ways], len(pairs), num_relations)
    return Overlaps(sizes, (forwards.T @ forwards).tocsr(), (forwards.T @ backwards).tocsr())


def implications(overlaps: Overlaps, backwards: bool) -> list[Implication]:
    """Every two different relations of which most facts of the one are facts of the other; the surest first."""
    counts = (overlaps.backwards if backwards else overlaps.forwards).tocoo()
    body, head = counts.coords
    share = counts.data / overlaps.sizes[body]
    chosen = np.flatnonzero((body != head) & (share >= MOST) & (overlaps.sizes[body] >= FEWEST_FACTS))
    chosen = chosen[np.lexsort((head[chosen], body[chosen], -share[chosen]))]
    return [Implication(int(body[i]), int(head[i]), backwards, float(share[i])) for i in chosen]


def _pairs_and_relations(keys: Array) -> tuple[Array, Array]:
    """Takes apart the keys of (first end, second end, relation): int64 [n] for the two ends, and the relation."""
    return keys // MOST_NAMES, keys % MOST_NAMES


def _incidence(rows: Array, relations: Array, num_pairs: int, num_relations: int) -> scipy.sparse.csr_array:
    """csr int64 [pairs, R/2]: 1 where a relation holds of a pair."""
    ones = np.ones(len(rows), np.int64)
    return scipy.sparse.csr_array((ones, (rows, relations)), shape=(num_pairs, num_relations))
