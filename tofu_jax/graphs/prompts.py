"""Prompt graphs: small neighbourhoods of example facts that show the model what a relation means (TOFU's structural tokens).

Around an example (u, r, v) every node n within k hops of both ends gets the token (dist(n, u), dist(n, v)). Sizes are capped
(`NUM_NODES`, `NUM_EDGES`), so one static shape serves every graph. Since u and v are joined by the example itself, the two
distances differ by at most one; hence a search that stops as soon as the cap is full still gives exact tokens.
"""

import dataclasses
import functools

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.prompt_search import NUM_EDGES, NUM_HOPS, NUM_NODES, POOL_SIZE, PromptSearch
from tofu_jax.shapes import Array

# One prompt graph in memory and on disk: 3.9 kB. It serves the relation and, with swapped distances, its inverse.
RECORD = np.dtype(
    [
        ("nodes", "<i4", NUM_NODES),
        ("edge_relation", "<i4", NUM_EDGES),
        ("token", "u1", NUM_NODES),
        ("senders", "u1", NUM_EDGES),
        ("receivers", "u1", NUM_EDGES),
        ("num_edges", "<u2"),
        ("num_nodes", "u1"),
    ],
    align=True,
)
_SWAPPED_TOKEN = np.arange((NUM_HOPS + 1) ** 2).reshape(NUM_HOPS + 1, -1).T.ravel()


@dataclasses.dataclass(frozen=True)
class Prompts:
    """Prompt graphs of Q query relations, M examples each; nodes and edges are numbered within their prompt graph.

    Attributes:
      relation: int32 [Q] query relations.
      nodes: int32 [Q, M, P] entity of each node.
      token: int32 [Q, M, P] dist(n, u)·(k+1) + dist(n, v).
      node_mask: bool [Q, M, P] False in padding.
      senders, receivers: int32 [Q, M, S] positions in 0..P-1.
      edge_relation: int32 [Q, M, S] relation type of each edge.
      edge_mask: bool [Q, M, S] False in padding.
      example_mask: bool [Q, M] False where the relation has too few facts, or the example is asked for.
    """

    relation: Array
    nodes: Array
    token: Array
    node_mask: Array
    senders: Array
    receivers: Array
    edge_relation: Array
    edge_mask: Array
    example_mask: Array


class PromptIndex:
    """Prompt graphs of one knowledge graph, built when they are first asked for."""

    def __init__(self, graph: KnowledgeGraph):
        """Counts examples; the graph is sorted when the first prompt graph is built.

        Args:
          graph: its training facts and texts are used, nothing else.
        """
        self._graph = graph
        counts = np.bincount(graph.train[:, 1], minlength=len(graph.relations))
        self._num_examples = np.minimum(counts, POOL_SIZE)
        self._first = np.append(0, np.cumsum(self._num_examples))
        # The last record stays empty: it stands for examples that do not exist.
        self._records = np.zeros(self._first[-1] + 1, RECORD)
        self._built = np.arange(len(self._records)) == self._first[-1]

    @functools.cached_property
    def _search(self) -> PromptSearch:
        return PromptSearch(self._graph)

    @property
    def records(self) -> Array:
        """RECORD [X]: the examples of all relations (not inverse), one relation after the other; zeros where not built."""
        return self._records[:-1]

    def adopt(self, records: Array) -> None:
        """Takes RECORD [X] that were built before for this graph."""
        self._records[:-1] = records
        self._built[:] = True

    def num_examples(self, relation: int) -> int:
        """How many examples the relation has, at most POOL_SIZE."""
        return int(self._num_examples[relation % len(self._num_examples)])

    def prompts(self, relations: Array, examples: Array, asked: Array | None = None) -> Prompts:
        """Prompt graphs of the query relations.

        Args:
          relations: int32 [Q] ids, inverses included.
          examples: int32 [Q, M] positions in the relation's pool; positions beyond `num_examples` are masked.
          asked: int32 [n, 3] facts that are no examples now; where one is drawn it is masked.

        Returns:
          The padded prompt graphs.
        """
        relations, examples = np.asarray(relations, np.int32), np.asarray(examples)
        inverse, names = np.divmod(relations, len(self._num_examples))
        exists = examples < self._num_examples[names][:, None]
        rows = np.where(exists, self._first[names][:, None] + examples, len(self._records) - 1)
        self.build(rows)
        found = self._records[rows]
        if asked is not None:
            exists &= ~_among(found, names, asked)
        token = np.where(inverse[:, None, None] == 1, _SWAPPED_TOKEN[found["token"]], found["token"])
        return Prompts(
            relation=relations,
            token=token.astype(np.int32),
            node_mask=np.arange(NUM_NODES) < found["num_nodes"][..., None],
            edge_mask=np.arange(NUM_EDGES) < found["num_edges"][..., None],
            example_mask=exists,
            **{name: found[name].astype(np.int32) for name in ("nodes", "senders", "receivers", "edge_relation")},
        )

    def build(self, rows: Array) -> None:
        """Builds records int [n] that have not been built yet."""
        for row in np.unique(rows[~self._built[rows]]).tolist():
            relation = int(np.searchsorted(self._first, row, side="right")) - 1
            nodes, token, senders, receivers, relations = self._search(relation, row - self._first[relation])
            record = self._records[row]
            record["num_nodes"], record["num_edges"] = len(nodes), len(senders)
            record["nodes"][: len(nodes)], record["token"][: len(nodes)] = nodes, token
            for name, values in (("senders", senders), ("receivers", receivers), ("edge_relation", relations)):
                record[name][: len(values)] = values
            self._built[row] = True


def _among(records: Array, names: Array, facts: Array) -> Array:
    """Whether the examples RECORD [Q, M] of relations int [Q] (not inverse) are among the facts [n, 3]; bool [Q, M]."""
    # The ends stand first; which of them is u, their distances say. Of a self loop the first node is both.
    ends, token = records["nodes"][..., :2], records["token"][..., :2]
    is_u, is_v = (distance == 0 for distance in np.divmod(token, NUM_HOPS + 1))
    u, v = (np.take_along_axis(ends, is_end.argmax(-1)[..., None], -1) for is_end in (is_u, is_v))
    same = (facts[:, 1] == names[:, None, None]) & (facts[:, 0] == u) & (facts[:, 2] == v)
    return same.any(axis=-1)
