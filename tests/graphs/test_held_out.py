"""Facts held out of train: the same ones whatever the order of the lines, and nothing of them left behind."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from making import make_graph, random_graph

from tofu_jax.graphs.held_out import hold_out, num_leaked
from tofu_jax.graphs.knowledge_graph import fact_keys


def facts(graph, split):
    return {(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in getattr(graph, split).tolist()}


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_a_tenth_leaves_train(seed):
    random = np.random.default_rng(seed)
    graph = random_graph(random, 40, 3, 200)
    graph = dataclasses.replace(graph, valid=graph.train[:3], test=graph.train[3:5])
    held_out = hold_out(graph, seed=0)
    assert facts(held_out, "train") | facts(held_out, "valid") == facts(graph, "train")
    assert not facts(held_out, "train") & facts(held_out, "valid")
    assert len(held_out.valid) <= 0.1 * len(graph.train) + 1
    np.testing.assert_array_equal(held_out.test, graph.test)
    # The lines keep their order.
    kept = np.isin(fact_keys(graph.train), fact_keys(held_out.train))
    np.testing.assert_array_equal(held_out.train, graph.train[kept])
    # No fact that stays joins two entities of a fact that left, and no entity or relation is lost.
    pairs = [{frozenset((h, t)) for h, _, t in part.tolist()} for part in (held_out.train, held_out.valid)]
    assert not pairs[0] & pairs[1]
    assert set(held_out.train[:, [0, 2]].ravel()) == set(graph.train[:, [0, 2]].ravel())
    assert set(held_out.train[:, 1]) == set(graph.train[:, 1])
    # Another order, the same facts; another seed, others.
    shuffled = dataclasses.replace(graph, train=random.permutation(graph.train))
    assert facts(hold_out(shuffled, seed=0), "valid") == facts(held_out, "valid")
    assert len(graph.train) < 100 or facts(hold_out(graph, seed=1), "valid") != facts(held_out, "valid")


def test_leaks_are_counted():
    graph = make_graph(5, 2, [(0, 0, 1), (1, 1, 2), (2, 0, 3)])
    valid = np.array([(0, 0, 1), (1, 0, 0), (2, 0, 3), (0, 1, 1)], np.int32)
    assert num_leaked(dataclasses.replace(graph, valid=valid)) == 2
    assert num_leaked(graph) == 0
