"""The relation types of a padded graph, and what is known of them before any message is sent.

R types of facts, inverses included; behind them two of mentions: R leads from an entity to those that its text names, R + 1
back.
"""

import numpy as np
import scipy.sparse

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array

NUM_MENTION_TYPES = 2
# What a type is of: facts, mentions, or mentions reversed.
OF_FACTS, NAMES, NAMED_BY = range(NUM_KINDS := 1 + NUM_MENTION_TYPES)


def directed_links(graph: KnowledgeGraph, mentions: Array) -> tuple[Array, Array, Array]:
    """Directed edges of F facts and X mentions, together the links of a graph.

    Args:
      graph: with R relation types.
      mentions: int32 [X, 2].

    Returns:
      senders, relations, receivers: int32 [2·(F + X)] each; edge i is link i, and edge i + F + X its inverse.
    """
    (senders, relations, receivers), facts = graph.edges, len(graph.train)
    here, there = mentions.T
    names, named_by = (np.full(len(mentions), graph.num_relations + i, np.int32) for i in range(NUM_MENTION_TYPES))
    return (
        np.concatenate([senders[:facts], here, senders[facts:], there]),
        np.concatenate([relations[:facts], names, relations[facts:], named_by]),
        np.concatenate([receivers[:facts], there, receivers[facts:], here]),
    )


def kinds(num_relations: int, padded_relations: int) -> Array:
    """What each type is of, uint8 [R after padding]; padding does not matter."""
    found = np.full(padded_relations, OF_FACTS, np.uint8)
    found[num_relations : num_relations + NUM_MENTION_TYPES] = NAMES, NAMED_BY
    return found


class Overlap:
    """How often one type joins a pair of entities that another joins: the confidence of the rule "j, hence i"."""

    def __init__(self, senders: Array, relations: Array, receivers: Array, padded_relations: int):
        """Counts.

        Args:
          senders, relations, receivers: int32 [E].
          padded_relations: R after padding.
        """
        pairs, self._pair = np.unique(senders.astype(np.int64) << 32 | receivers, return_inverse=True)
        self._relations, ones = relations, np.ones(len(relations), np.float32)
        # bool in all but name: which types join each pair, [pairs, R].
        self._joined_by = scipy.sparse.csr_array((ones, (self._pair, relations)), shape=(len(pairs), padded_relations))
        self._joined_by.data[:] = 1  # an edge may stand twice
        self._both = _count_both(self._joined_by)

    def shares(self, hidden: Array | None = None) -> Array:
        """What is known of the edges that are not hidden.

        Args:
          hidden: int [n] edges that do not count.

        Returns:
          float16 [R, R]: at [i, j] the share of the pairs (sender, receiver) of type j that type i joins too.
        """
        both = self._both
        if hidden is not None:
            pairs, row = np.unique(self._pair[hidden], return_inverse=True)
            before = self._joined_by[pairs]
            after = before.toarray()
            after[row, self._relations[hidden]] = 0
            both = both - _count_both(before) + _count_both(scipy.sparse.csr_array(after))
        return (both / np.maximum(both.diagonal(), 1)).astype(np.float16)


def _count_both(joined_by: scipy.sparse.csr_array) -> Array:
    """By how many pairs two types both stand: [pairs, R] → [R, R]."""
    return (joined_by.T @ joined_by).toarray()


def relation_graph(graph: KnowledgeGraph, padded_relations: int) -> Array:
    """Which relation types meet at an entity, and how (the four meta relations of ULTRA, Galkin et al. 2024).

    Args:
      graph: its training facts are used, nothing else.
      padded_relations: R after padding.

    Returns:
      uint8 [4, R, R], see `PaddedGraph`.
    """
    senders, relations, receivers = graph.edges
    shape = (padded_relations, graph.num_entities)
    ones = np.ones(len(relations), np.float32)
    heads = scipy.sparse.csr_array((ones, (relations, senders)), shape=shape)
    tails = scipy.sparse.csr_array((ones, (relations, receivers)), shape=shape)
    pairs = (heads @ heads.T, tails @ tails.T, heads @ tails.T, tails @ heads.T)
    return np.stack([pair.toarray() > 0 for pair in pairs]).astype(np.uint8)
