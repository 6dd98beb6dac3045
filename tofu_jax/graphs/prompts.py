"""Prompt graphs: small neighbourhoods of example facts that show the model what a relation means (TOFU's structural tokens).

Around an example (u, r, v) every node n within k hops of both ends gets the token (dist(n, u), dist(n, v)). Sizes are capped
(`NUM_NODES`, `NUM_EDGES`), so one static shape serves every graph. Since u and v are joined by the example itself, the two
distances differ by at most one; hence a search that stops as soon as the cap is full still gives exact tokens.
"""

import dataclasses
import itertools

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.structural_colors import mix, structural_colors, text_keys
from tofu_jax.shapes import Array, inverse_relation

NUM_HOPS = 3  # k
NUM_NODES = 60  # P; the median prompt graph of FB15k-237's kind has 42 nodes
NUM_EDGES = 600  # S; the median there is 440
POOL_SIZE = 16  # example facts per relation that a query can draw from


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
      example_mask: bool [Q, M] False where the relation has too few facts.
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
    """Builds prompt graphs of one knowledge graph and remembers them."""

    def __init__(self, graph: KnowledgeGraph):
        """Sorts the message graph by sender and the facts of each relation by structural colour.

        Args:
          graph: its training facts are used, nothing else.
        """
        senders, relations, receivers = graph.edges
        order = np.argsort(senders, kind="stable")
        self._num_entities, self._num_relations = graph.num_entities, graph.num_relations
        self._start = np.searchsorted(senders[order], np.arange(graph.num_entities + 1))
        self._neighbors, self._relations = receivers[order], relations[order]
        self._fact = order % max(len(graph.train), 1)  # the same for an edge and its inverse
        self._color, self._relation_color = structural_colors(graph)
        self._text_key = text_keys(graph)
        self._examples = self._choose_examples(graph)
        self._distance = np.full((2, graph.num_entities), -1, np.int8)  # work space, -1 outside a search
        self._position = np.full(graph.num_entities, -1, np.int32)  # work space likewise
        self._cache: dict[tuple[int, int], dict[str, Array]] = {}

    def num_examples(self, relation: int) -> int:
        """How many examples the relation has, at most POOL_SIZE."""
        return len(self._examples[relation % len(self._examples)])

    def prompts(self, relations: Array, examples: Array) -> Prompts:
        """Prompt graphs of the query relations.

        Args:
          relations: int32 [Q] ids, inverses included.
          examples: int32 [Q, M] positions in the relation's pool; positions beyond `num_examples` are masked.

        Returns:
          The padded prompt graphs.
        """
        graphs = [[self._prompt_graph(int(r), int(e)) for e in row] for r, row in zip(relations, examples, strict=True)]
        stacked = {key: np.stack([np.stack([g[key] for g in row]) for row in graphs]) for key in graphs[0][0]}
        return Prompts(relation=np.asarray(relations, np.int32), example_mask=stacked["node_mask"].any(axis=-1), **stacked)

    def _choose_examples(self, graph: KnowledgeGraph) -> list[Array]:
        """Returns for each relation (not inverse) up to POOL_SIZE facts int32 [., 2] (u, v), spread by colour."""
        head, relation, tail = graph.train.T
        color = mix(mix(self._color[head]) + np.uint64(3) * self._color[tail])
        text_key = mix(mix(self._text_key[head]) + np.uint64(3) * self._text_key[tail])
        order = np.lexsort((text_key, color, relation))
        bounds = np.searchsorted(relation[order], np.arange(len(graph.relations) + 1))
        pools = (order[start : min(stop, start + POOL_SIZE)] for start, stop in itertools.pairwise(bounds))
        return [graph.train[pool][:, [0, 2]] for pool in pools]

    def _prompt_graph(self, relation: int, example: int) -> dict[str, Array]:
        """One padded prompt graph as arrays [P] and [S], from the cache if it was built before."""
        key = (relation, example)
        if key not in self._cache:
            if example >= self.num_examples(relation):
                self._cache[key] = _padded(*(np.zeros(0, np.int32),) * 5)
            else:
                u, v = self._examples[relation % len(self._examples)][example]
                if relation >= len(self._examples):  # an inverse relation shows its facts backwards
                    u, v = v, u
                nodes, token = self._nodes(u, v)
                self._cache[key] = _padded(nodes, token, *self._induced_edges(nodes))
        return self._cache[key]

    def _nodes(self, u: int, v: int) -> tuple[Array, Array]:
        """Entities of the prompt graph int32 [n], nearest first, and their tokens int32 [n]."""
        distance = self._distance
        frontiers = [np.array([u]), np.array([v])]
        distance[0, u] = distance[1, v] = 0
        for level in range(1, NUM_HOPS + 1):
            for side in (0, 1):
                reached = self._neighbors[self._edge_positions(frontiers[side])]
                distance[side, reached[distance[side, reached] < 0]] = level
                frontiers[side] = np.flatnonzero(distance[side] == level)  # cheaper than sorting out repeated nodes
            seen = np.flatnonzero(distance.max(axis=0) >= 0)
            # A node that only one search has met lies on its last level, one step further from the other end.
            du, dv = (np.where(d < 0, level + 1, d) for d in distance[:, seen])
            near = (du <= NUM_HOPS) & (dv <= NUM_HOPS)
            if near.sum() >= NUM_NODES:
                break
        distance[:, seen] = -1
        nodes, du, dv = seen[near], du[near], dv[near]
        order = np.lexsort((self._text_key[nodes], self._color[nodes], np.abs(du - dv), du + dv))
        # The two ends have the smallest sum of all and |du - dv| = 1 like nobody else at that sum: they always stay.
        nodes, du, dv = (a[order[:NUM_NODES]] for a in (nodes, du, dv))
        return nodes.astype(np.int32), (du * (NUM_HOPS + 1) + dv).astype(np.int32)

    def _induced_edges(self, nodes: Array) -> tuple[Array, Array, Array]:
        """Edges among the nodes: senders, receivers (positions), relations; at most NUM_EDGES, those at the ends first."""
        self._position[nodes] = np.arange(len(nodes))
        edges = self._edge_positions(nodes)
        sender = np.repeat(np.arange(len(nodes), dtype=np.int32), self._start[nodes + 1] - self._start[nodes])
        receiver = self._position[self._neighbors[edges]]
        inside = receiver >= 0
        edges, sender, receiver = edges[inside], sender[inside], receiver[inside]
        self._position[nodes] = -1
        if len(edges) > NUM_EDGES:
            color = self._color[nodes]
            relation = self._relations[edges]
            forward = self._edge_color(color[sender], relation, color[receiver])
            backward = self._edge_color(color[receiver], inverse_relation(relation, self._num_relations), color[sender])
            # Key and fact are the same for an edge and its inverse, so that the cap (even) keeps or drops both.
            key = np.minimum(forward, backward)
            at_ends = np.minimum(sender, receiver) < 2  # nodes stand nearest first: 0 and 1 are u and v
            text_key = self._text_key[nodes]
            chosen = np.lexsort((self._fact[edges], text_key[sender] + text_key[receiver], key, ~at_ends))[:NUM_EDGES]
            edges, sender, receiver = edges[chosen], sender[chosen], receiver[chosen]
        return sender, receiver, self._relations[edges]

    def _edge_color(self, sender: Array, relation: Array, receiver: Array) -> Array:
        """Colours uint64 [n] of directed edges from the colours of their ends."""
        return mix(mix(sender + np.uint64(3) * self._relation_color[relation]) + receiver)

    def _edge_positions(self, nodes: Array) -> Array:
        """Positions of all edges that leave the nodes, node after node."""
        start, stop = self._start[nodes], self._start[nodes + 1]
        count = stop - start
        total = np.cumsum(count)
        return np.arange(total[-1] if len(total) else 0) + np.repeat(start - (total - count), count)


def _padded(nodes: Array, token: Array, senders: Array, receivers: Array, relations: Array) -> dict[str, Array]:
    """Pads to P nodes and S edges."""

    def pad(values: Array, size: int) -> Array:
        out = np.zeros(size, np.int32)
        out[: len(values)] = values
        return out

    return {
        "nodes": pad(nodes, NUM_NODES),
        "token": pad(token, NUM_NODES),
        "node_mask": np.arange(NUM_NODES) < len(nodes),
        "senders": pad(senders, NUM_EDGES),
        "receivers": pad(receivers, NUM_EDGES),
        "edge_relation": pad(relations, NUM_EDGES),
        "edge_mask": np.arange(NUM_EDGES) < len(senders),
    }
