"""Relation types against loops over edges."""

import itertools

import numpy as np
from hypothesis import given
from making import graphs, make_graph

from tofu_jax.graphs.relation_types import Overlap, directed_links, kinds, relation_graph


@given(graphs(most_entities=12))
def test_relation_graph_equals_brute_force(drawn):
    _, graph = drawn
    edges = list(zip(*(column.tolist() for column in graph.edges), strict=True))
    expected = np.zeros((4, 16, 16), np.uint8)
    for (s, i, t), (u, j, v) in itertools.product(edges, edges):
        for meta, meets in enumerate((s == u, t == v, s == v, t == u)):
            expected[meta, i, j] |= meets
    np.testing.assert_array_equal(relation_graph(graph, padded_relations=16), expected)


@given(graphs(most_entities=6))
def test_overlap_equals_brute_force(drawn):
    """Also of what is left when edges are hidden."""
    random, graph = drawn
    mentions = random.integers(0, graph.num_entities, (4, 2)).astype(np.int32)
    links = directed_links(graph, np.unique(mentions, axis=0))
    overlap, hidden = Overlap(*links, padded_relations=16), np.flatnonzero(random.random(len(links[0])) < 0.3)
    for shares, gone in ((overlap.shares(), []), (overlap.shares(hidden), hidden.tolist()), (overlap.shares(), [])):
        pairs = [set() for _ in range(16)]
        for i, (sender, relation, receiver) in enumerate(zip(*(column.tolist() for column in links), strict=True)):
            if i not in gone:
                pairs[relation].add((sender, receiver))
        expected = [[len(pairs[i] & pairs[j]) / max(len(pairs[j]), 1) for j in range(16)] for i in range(16)]
        np.testing.assert_array_equal(shares, np.array(expected, np.float16))


def test_a_rule_that_always_holds():
    """Who directs a film is named by its text, and both of them are among those who make it."""
    facts = [(0, 0, 1), (0, 1, 1), (0, 1, 2), (3, 0, 2), (3, 1, 2)]  # directed by, made by
    links = directed_links(make_graph(4, 2, facts), np.array([[0, 1], [3, 2], [3, 1]], np.int32))
    shares = Overlap(*links, padded_relations=8).shares()
    directed_by, made_by, names = 0, 1, 4
    assert shares[made_by, directed_by] == 1
    assert shares[directed_by, made_by] == np.float16(2 / 3)
    assert (shares[names, directed_by], shares[directed_by, names]) == (1, np.float16(2 / 3))
    assert not shares[6:].any() and not shares[:, 6:].any()


def test_links_and_their_inverses():
    graph = make_graph(3, 2, [(0, 1, 2), (2, 0, 0)])
    senders, relations, receivers = directed_links(graph, np.array([[1, 2]], np.int32))
    np.testing.assert_array_equal(senders, [0, 2, 1, 2, 0, 2])
    np.testing.assert_array_equal(relations, [1, 0, 4, 3, 2, 5])
    np.testing.assert_array_equal(receivers, [2, 0, 2, 0, 2, 1])
    np.testing.assert_array_equal(kinds(graph.num_relations, 8), [0, 0, 0, 0, 1, 2, 0, 0])
