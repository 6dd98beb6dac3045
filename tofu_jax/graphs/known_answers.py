"""Which answers of a query are known: to be left out of a ranking, or of a training loss."""

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, directed
from tofu_jax.shapes import Array


class KnownAnswers:
    """Sorted index (head, relation) → known answers, for filtered ranks and for masking them out of a loss."""

    def __init__(self, triples: Array, num_entities: int, num_relations: int) -> None:
        """Indexes facts in both directions.

        Args:
          triples: int32 [F, 3] (head, relation, tail) with relation < R/2; repeated facts count once.
          num_entities: N.
          num_relations: R, inverses included.
        """
        heads, relations, tails = (column.astype(np.int64) for column in directed(triples, num_relations))
        self._num_relations = num_relations
        pairs = np.unique((heads * num_relations + relations) * num_entities + tails)
        self._keys, starts = np.unique(pairs // num_entities, return_index=True)
        self._bounds = np.append(starts, len(pairs))
        self._entities = pairs % num_entities

    @classmethod
    def of_graph(cls, graph: KnowledgeGraph, splits: tuple[str, ...] = ("train", "valid", "test")) -> "KnownAnswers":
        """Index of some splits of a graph: all three for filtered ranks, only "train" to mask a training loss."""
        triples = np.concatenate([getattr(graph, split) for split in splits])
        return cls(triples, graph.num_entities, graph.num_relations)

    @property
    def num_facts(self) -> int:
        """Distinct facts in the index."""
        return len(self._entities) // 2

    def answers(self, queries: Array) -> tuple[Array, Array]:
        """Known answers of each query as coordinates, ready for `scores[rows, entities]`.

        Args:
          queries: integers [B, 2] (head, relation), relation in 0..R-1.

        Returns:
          rows, entities: int64 [.] each, sorted by row and then by entity; a query without known answers has none.
        """
        keys = queries[:, 0].astype(np.int64) * self._num_relations + queries[:, 1]
        first, last = (self._bounds[np.searchsorted(self._keys, keys, side)] for side in ("left", "right"))
        counts = last - first
        rows = np.repeat(np.arange(len(keys)), counts)
        before = np.cumsum(counts) - counts
        return rows, self._entities[np.arange(len(rows)) + (first - before)[rows]]
