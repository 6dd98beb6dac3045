"""Searches the prompt graph of one example fact: nodes near both of its ends, their distances, and the edges among them.

Entities and edges have a fixed order by structural colour and text, computed once; what a cap keeps is the first of that order.
The search numbers entities by it, so neighbours stand in the order in which they are taken: a hub's list needs to be read only
as far as it can still matter, and no step looks at all N entities.
"""

import itertools

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.structural_colors import mix, structural_colors, text_keys
from tofu_jax.shapes import Array, inverse_relation

NUM_HOPS = 3  # k
NUM_NODES = 60  # P; the median prompt graph of FB15k-237's kind has 42 nodes
NUM_EDGES = 600  # S; the median there is 440
POOL_SIZE = 16  # example facts per relation that a query can draw from

_LOOKUP_COST = 16  # a binary search costs about as much as reading so many neighbours


class PromptSearch:
    """Finds the prompt graphs of one knowledge graph; nothing changes after construction."""

    def __init__(self, graph: KnowledgeGraph):
        """Orders entities and facts, and sorts the message graph.

        Args:
          graph: its training facts and texts are used, nothing else.
        """
        color, relation_color = structural_colors(graph)
        text_key = text_keys(graph)
        self._entity = np.lexsort((text_key, color)).astype(np.int32)  # the entity of each rank
        rank = np.empty_like(self._entity)
        rank[self._entity] = np.arange(graph.num_entities)
        self._num_entities, self._num_facts, self._edge_relation = graph.num_entities, len(graph.train), graph.edges[1]

        senders, _, receivers = graph.edges
        pair = rank[senders].astype(np.int64) * graph.num_entities + rank[receivers]
        self._edges = np.argsort(pair, kind="stable")  # edges of a pair (sender, receiver) one after the other
        pair = pair[self._edges]
        first = np.flatnonzero(np.diff(pair, prepend=-1))
        self._pairs, self._edge_start = pair[first], np.append(first, len(pair))
        self._neighbors = (self._pairs % graph.num_entities).astype(np.int32)
        self._start = np.searchsorted(self._pairs, np.arange(graph.num_entities + 1) * graph.num_entities)

        head, relation, tail = graph.train.T
        examples = rank[graph.train[:, [0, 2]]]
        self._pools = [examples[pool] for pool in _choose_examples(graph, color, text_key)]
        forward = _edge_color(color[head], relation_color[relation], color[tail])
        inverse = relation_color[inverse_relation(relation, graph.num_relations)]
        backward = _edge_color(color[tail], inverse, color[head])
        self._fact_rank = np.empty(len(graph.train), np.int64)
        order = np.lexsort((text_key[head] + text_key[tail], np.minimum(forward, backward)))
        self._fact_rank[order] = np.arange(len(order))

    def __call__(self, relation: int, example: int) -> tuple[Array, Array, Array, Array, Array]:
        """Searches one prompt graph.

        Args:
          relation: a relation name's id; an inverse relation shows the same graph with the two distances swapped.
          example: position in the relation's pool.

        Returns:
          nodes int32 [n]: entities, nearest first, at most NUM_NODES.
          token int32 [n]: dist(n, u)·(k+1) + dist(n, v).
          senders, receivers [m]: positions in nodes, at most NUM_EDGES edges.
          relations int32 [m]: relation types of the edges.
        """
        nodes, du, dv = self._nodes(*self._pools[relation][example])
        senders, receivers, edges = self._induced_edges(nodes)
        return self._entity[nodes], du * (NUM_HOPS + 1) + dv, senders, receivers, self._edge_relation[edges]

    def _nodes(self, u: int, v: int) -> tuple[Array, Array, Array]:
        """Ranks of the nodes [n] by du + dv, |du - dv| and rank; du and dv [n]."""
        nodes = np.unique([u, v])
        du, dv = (nodes != u).astype(int), (nodes != v).astype(int)
        for level in range(1, NUM_HOPS + 1):
            at_u, at_v = du == level - 1, dv == level - 1
            both, by_u, by_v = self._reached(nodes, nodes[at_u & at_v], nodes[at_u & ~at_v], nodes[at_v & ~at_u])
            if level == NUM_HOPS:
                by_u = by_v = by_u[:0]
            # u and v are neighbours: what only one search has met lies one step further from the other end.
            one = np.concatenate([by_u, by_v])
            order = np.argsort(one)
            nodes = np.concatenate([nodes, both, one[order]])[:NUM_NODES]
            further = np.repeat([level, level + 1], [len(by_u), len(by_v)])[order]
            equal = np.full(len(both), level)
            du = np.concatenate([du, equal, further])[:NUM_NODES]
            dv = np.concatenate([dv, equal, 2 * level + 1 - further])[:NUM_NODES]
            if len(nodes) == NUM_NODES:
                break
        return nodes, du, dv

    def _reached(self, seen: Array, shared: Array, by_u: Array, by_v: Array) -> tuple[Array, Array, Array]:
        """New nodes one step from `seen` as sorted ranks: met from both sides, from u's alone, from v's alone.

        A list of neighbours that is cut at `enough` holds NUM_NODES new nodes and more. So where one is cut, what is left out
        stands behind nodes that fill the prompt graph; only "met from both sides" has to be looked up beyond the cut.

        Args:
          seen: fewer than NUM_NODES nodes.
          shared, by_u, by_v: those whose neighbours are met now: from both sides, from u's alone, from v's alone.
        """
        enough = 3 * NUM_NODES
        swap = self._degrees(by_u).sum() > self._degrees(by_v).sum()
        few, many = (by_v, by_u) if swap else (by_u, by_v)
        few_met = self._neighborhood(few)
        enough_of_many = max(enough, _LOOKUP_COST * len(few_met))
        many_met = self._neighborhood(many, enough_of_many)
        both = [self._neighborhood(shared, enough), few_met[_contained(few_met, many_met)]]
        hubs = many[self._degrees(many) > enough_of_many]
        if len(hubs):
            both.append(few_met[self._joined(hubs, few_met)[1]])
        both = _distinct(np.concatenate(both))
        both = both[~_contained(both, np.sort(seen))]
        known = np.sort(np.concatenate([seen, both]))
        few_met, many_met = few_met[~_contained(few_met, known)], many_met[~_contained(many_met, known)]
        return (both, many_met, few_met) if swap else (both, few_met, many_met)

    def _induced_edges(self, nodes: Array) -> tuple[Array, Array, Array]:
        """Edges among the nodes: senders, receivers (positions), edge ids; at most NUM_EDGES, those at the ends first."""
        order = np.argsort(nodes)  # looking up sorted pairs is several times faster
        sender, receiver, pairs = self._joined(nodes[order], nodes[order])
        count = self._edge_start[pairs + 1] - self._edge_start[pairs]
        sender, receiver = np.repeat(order[sender], count), np.repeat(order[receiver], count)
        edges = self._edges[_ranges(self._edge_start[pairs], count)]
        key = np.zeros(len(edges), np.int64)
        if len(edges) > NUM_EDGES:
            inside = np.minimum(sender, receiver) >= 2  # nodes stand nearest first: 0 and 1 are u and v
            # An edge and its inverse have the same key, so that the cap (even) keeps or drops both.
            key = inside * self._num_facts + self._fact_rank[edges % self._num_facts]
            kept = np.flatnonzero(key <= np.partition(key, NUM_EDGES - 1)[NUM_EDGES - 1])
            sender, receiver, edges, key = sender[kept], receiver[kept], edges[kept], key[kept]
        chosen = np.lexsort((edges, sender, key))
        return sender[chosen], receiver[chosen], edges[chosen]

    def _degrees(self, nodes: Array) -> Array:
        """Numbers of distinct neighbours [n]."""
        return self._start[nodes + 1] - self._start[nodes]

    def _neighborhood(self, nodes: Array, most: int | None = None) -> Array:
        """Neighbours of the nodes, sorted, each once; of each node `most` at most, its first ones."""
        count = self._degrees(nodes)
        count = count if most is None else np.minimum(count, most)
        return _distinct(self._neighbors[_ranges(self._start[nodes], count)])

    def _joined(self, senders: Array, receivers: Array) -> tuple[Array, Array, Array]:
        """Positions i, j of all pairs with edges senders[i] → receivers[j], and the pairs' positions in `_pairs`."""
        wanted = (senders.astype(np.int64)[:, None] * self._num_entities + receivers).ravel()
        place = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        found = np.flatnonzero(self._pairs[place] == wanted)
        return *np.divmod(found, len(receivers)), place[found]


def _choose_examples(graph: KnowledgeGraph, color: Array, text_key: Array) -> list[Array]:
    """Returns for each relation (not inverse) up to POOL_SIZE facts as rows of `train`, spread by colour."""
    head, relation, tail = graph.train.T
    color = mix(mix(color[head]) + np.uint64(3) * color[tail])
    text_key = mix(mix(text_key[head]) + np.uint64(3) * text_key[tail])
    order = np.lexsort((text_key, color, relation))
    bounds = np.searchsorted(relation[order], np.arange(len(graph.relations) + 1))
    return [order[start : min(stop, start + POOL_SIZE)] for start, stop in itertools.pairwise(bounds)]


def _edge_color(sender: Array, relation: Array, receiver: Array) -> Array:
    """Colours uint64 [n] of directed edges from those of their ends and relations."""
    return mix(mix(sender + np.uint64(3) * relation) + receiver)


def _ranges(start: Array, count: Array) -> Array:
    """start[0], start[0] + 1, … (count[0] of them), start[1], …"""
    total = np.cumsum(count)
    return np.arange(total[-1] if len(total) else 0) + np.repeat(start - (total - count), count)


def _distinct(ranks: Array) -> Array:
    """The ranks sorted, each once; `np.unique` takes several times as long."""
    ranks = np.sort(ranks)
    first = np.ones(len(ranks), bool)
    np.not_equal(ranks[1:], ranks[:-1], out=first[1:])
    return ranks[first]


def _contained(values: Array, among: Array) -> Array:
    """bool [n]: which values occur in `among`, which is sorted."""
    if not len(among):
        return np.zeros(len(values), bool)
    return among[np.minimum(np.searchsorted(among, values), len(among) - 1)] == values
