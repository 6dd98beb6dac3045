"""Sub-graphs hold facts of the graph they were cut from, under numbers of their own."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from making import make_graph, random_graph

from tofu_jax.graphs.subgraphs import subgraphs


def _named(graph, split):
    return {(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in getattr(graph, split).tolist()}


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 5))
def test_cut_from_the_graph(seed, num_facts, most):
    random = np.random.default_rng(seed)
    graph = random_graph(random, 30, 4, 20)
    held_out = random_graph(random, 30, 4, 5).train
    graph = dataclasses.replace(graph, valid=held_out)
    parts = subgraphs(graph, num_facts, most, seed)
    if len(graph.train) <= num_facts:
        assert parts == [graph]
        return
    assert len(parts) <= min(most, -(-len(graph.train) // num_facts))
    for part in parts:
        assert len(part.train) == num_facts
        assert _named(part, "train") <= _named(graph, "train")
        assert _named(part, "valid") == {
            (h, r, t) for h, r, t in _named(graph, "valid") if {h, t} <= set(part.entities) and r in part.relations
        }
        ends = part.train[:, [0, 2]]
        assert set(ends.ravel()) == set(range(part.num_entities))
        assert set(part.train[:, 1]) == set(range(len(part.relations)))


def test_same_seed_same_parts_and_they_differ():
    graph = random_graph(np.random.default_rng(0), 200, 3, 150)
    once, again = (subgraphs(graph, 40, 4, 7) for _ in range(2))
    assert [part.fingerprint for part in once] == [part.fingerprint for part in again]
    assert len({part.fingerprint for part in once}) == len(once) > 1


def test_goes_on_in_another_component():
    facts = [(2 * i, 0, 2 * i + 1) for i in range(20)]
    (part, *_) = subgraphs(make_graph(40, 1, facts), 10, 2, 0)
    assert len(part.train) == 10
