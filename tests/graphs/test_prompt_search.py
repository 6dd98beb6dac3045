"""Prompt graphs against the definition, caps and order included: all distances by a full search, then sorted, then cut."""

import dataclasses
import hashlib
import os
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import graphs, make_graph, random_graph

from tofu_jax.graphs import prompt_search
from tofu_jax.graphs.prompt_search import POOL_SIZE, PromptSearch
from tofu_jax.graphs.prompts import PromptIndex
from tofu_jax.graphs.registry import load_graph
from tofu_jax.graphs.structural_colors import mix, structural_colors, text_keys
from tofu_jax.shapes import inverse_relation

DATA = os.environ.get("TOFU_JAX_DATA")
DIGESTS = ["5852d7f548ff3257", "45edbee0ed904284"]


class Definition:
    """What a prompt graph is, without any thought of speed."""

    def __init__(self, graph):
        self.edges = list(zip(*(column.tolist() for column in graph.edges), strict=True))
        self.num_facts = len(graph.train)
        self.neighbors = {entity: set() for entity in range(graph.num_entities)}
        for sender, _, receiver in self.edges:
            self.neighbors[sender].add(receiver)
        color, relation_color = structural_colors(graph)
        senders, relations, receivers = graph.edges
        forward = mix(mix(color[senders] + np.uint64(3) * relation_color[relations]) + color[receivers])
        both = np.minimum(forward, np.roll(forward, self.num_facts))  # of the edge and of its inverse
        text = text_keys(graph)
        self.color, self.text, self.edge_color = color.tolist(), text.tolist(), both.tolist()
        self.edge_text = (text[senders] + text[receivers]).tolist()

    def distances(self, start):
        """{entity: distance} up to NUM_HOPS."""
        distance, frontier = {start: 0}, {start}
        for level in range(1, prompt_search.NUM_HOPS + 1):
            frontier = {n for node in frontier for n in self.neighbors[node]} - distance.keys()
            distance |= dict.fromkeys(frontier, level)
        return distance

    def prompt_graph(self, u, v, num_nodes, num_edges):
        """[(entity, du, dv)] and [(sender, relation, receiver)], both in order."""
        du, dv = self.distances(u), self.distances(v)
        order = [(du[n] + dv[n], abs(du[n] - dv[n]), self.color[n], self.text[n], n) for n in du.keys() & dv.keys()]
        nodes = [n for *_, n in sorted(order)[:num_nodes]]
        place = {node: i for i, node in enumerate(nodes)}
        inside = [i for i, (sender, _, receiver) in enumerate(self.edges) if sender in place and receiver in place]
        inside.sort(key=lambda i: (place[self.edges[i][0]], i))
        if len(inside) > num_edges:
            inside.sort(key=self._priority(place))
        return [(n, du[n], dv[n]) for n in nodes], [self.edges[i] for i in inside[:num_edges]]

    def _priority(self, place):
        def priority(i):
            sender, _, receiver = self.edges[i]
            at_ends = min(place[sender], place[receiver]) < 2
            return (not at_ends, self.edge_color[i], self.edge_text[i], i % self.num_facts)

        return priority


def found(search, relation, example):
    """As of `Definition.prompt_graph`."""
    nodes, token, senders, receivers, relations = search(relation, example)
    du, dv = np.divmod(token, prompt_search.NUM_HOPS + 1)
    edges = (nodes[senders], relations, nodes[receivers])
    return [list(zip(*(column.tolist() for column in columns), strict=True)) for columns in ((nodes, du, dv), edges)]


def assert_search_equals_definition(graph, relations, num_nodes, num_edges):
    """Compares all examples of the relations."""
    search, definition = PromptSearch(graph), Definition(graph)
    facts = {tuple(fact) for fact in graph.train.tolist()}
    for relation in relations:
        for example in range(min(POOL_SIZE, int((graph.train[:, 1] == relation).sum()))):
            nodes, edges = found(search, relation, example)
            u, v = (next(node for node in nodes if node[1 + side] == 0)[0] for side in (0, 1))
            assert (u, relation, v) in facts
            assert (nodes, edges) == (*definition.prompt_graph(u, v, num_nodes, num_edges),)


@st.composite
def graphs_with_hubs(draw):
    """Strategy: few entities that are joined to many others, sparsely joined to one another; what is alike differs in text."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_hubs, num_entities = draw(st.integers(1, 3)), draw(st.integers(20, 80))
    joined = random.random((num_hubs, num_entities)) < random.choice([0.1, 0.5, 1.0], (num_hubs, 1))
    spokes = [(hub, int(random.integers(2)), other) for hub, other in np.argwhere(joined).tolist()]
    others = random.integers(0, num_entities, (num_entities // 2, 3)) % [num_entities, 3, num_entities]
    texts = tuple(random.choice(["", "a", "b"], num_entities).tolist())
    return dataclasses.replace(make_graph(num_entities, 3, [*spokes, *others.tolist()]), texts=texts)


@settings(max_examples=80)
@given(st.one_of(graphs().map(lambda drawn: drawn[1]), graphs_with_hubs()), st.integers(2, 30), st.sampled_from([4, 30, 600]))
def test_search_equals_the_definition_whatever_the_caps(graph, num_nodes, num_edges):
    """Small caps, and a low price of lookups, lead through all the shortcuts that a hub makes worth while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_search, "NUM_NODES", num_nodes)
        patch.setattr(prompt_search, "NUM_EDGES", num_edges)
        patch.setattr(prompt_search, "_LOOKUP_COST", 1)
        assert_search_equals_definition(graph, range(len(graph.relations)), num_nodes, num_edges)


def test_search_equals_the_definition_in_dense_graphs():
    """The caps as they are, both of them full."""
    graph = random_graph(np.random.default_rng(0), 90, 4, 900)
    assert_search_equals_definition(graph, [0, 3], prompt_search.NUM_NODES, prompt_search.NUM_EDGES)


def assert_equals_definition_on_real(name, num_relations):
    graph = load_graph(str(pathlib.Path(DATA) / name), "training", keep_unseen_entities=True)
    relations = np.random.default_rng(0).permutation(len(graph.relations))[:num_relations].tolist()
    assert_search_equals_definition(graph, relations, prompt_search.NUM_NODES, prompt_search.NUM_EDGES)


@pytest.mark.skipif(not DATA, reason="TOFU_JAX_DATA names no folder of real graphs")
def test_search_equals_the_definition_on_a_real_graph():
    assert_equals_definition_on_real("grail/fb237_v1", 12)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="TOFU_JAX_DATA names no folder of real graphs")
@pytest.mark.parametrize("name", ["FB15k-237", "CoDEx-M", "NELL-995"])
def test_search_equals_the_definition_on_large_real_graphs(name):
    assert_equals_definition_on_real(name, 6)


def test_prompt_graphs_are_those_of_the_cache_format():
    """Files in users' caches hold what this version builds: raise `prompt_cache.FORMAT` whenever these digests change."""
    digests = []
    for graph in (random_graph(np.random.default_rng(0), 90, 4, 900), random_graph(np.random.default_rng(1), 300, 5, 200)):
        index = PromptIndex(graph)
        index.build(np.arange(len(index.records)))
        values = [index.records[name].astype("<i4").tobytes() for name in sorted(index.records.dtype.names)]
        digests.append(hashlib.sha256(b"".join(values)).hexdigest()[:16])
    assert digests == DIGESTS


def test_an_inverse_relation_shows_the_same_arrays_with_swapped_distances():
    graph = random_graph(np.random.default_rng(0), 300, 3, 300)
    relations, examples = np.arange(3), np.tile(np.arange(POOL_SIZE), (3, 1))
    index = PromptIndex(graph)
    forward = index.prompts(relations, examples)
    backward = index.prompts(inverse_relation(relations, graph.num_relations), examples)
    for name in ("nodes", "node_mask", "senders", "receivers", "edge_relation", "edge_mask", "example_mask"):
        np.testing.assert_array_equal(getattr(forward, name), getattr(backward, name))
    hops = prompt_search.NUM_HOPS + 1
    np.testing.assert_array_equal(backward.token, forward.token % hops * hops + forward.token // hops)


def test_a_hub_is_not_read_to_its_end():
    """Of 200,000 leaves that are alike the search may look at hundreds, not at all."""
    num_leaves = 200_000
    facts = np.zeros((num_leaves + 1, 3), np.int32)
    facts[:-1, 2] = np.arange(1, num_leaves + 1)
    facts[-1] = (5, 1, 7)
    search = PromptSearch(make_graph(num_leaves + 1, 2, facts))
    read = []
    neighbors = search._neighbors

    class Counting:
        def __getitem__(self, places):
            read.append(len(places))
            return neighbors[places]

    search._neighbors = Counting()
    for relation in (0, 1):  # one end is the hub, then none
        nodes, *_ = search(relation, 0)
        assert len(nodes) == prompt_search.NUM_NODES
    assert sum(read) < 100 * prompt_search.NUM_NODES
