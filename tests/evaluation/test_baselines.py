"""The baselines are what they say, and none of them has seen a held-out fact."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from tofu_jax.errors import DataError
from tofu_jax.evaluation.baselines import DegreePrior, PersonalizedPageRank, RandomScorer, default_baselines
from tofu_jax.evaluation.ranking import rank_queries


def all_queries(graph):
    heads, relations = np.meshgrid(np.arange(graph.num_entities), np.arange(graph.num_relations), indexing="ij")
    return np.stack([heads.ravel(), relations.ravel()], axis=1).astype(np.int32)


@pytest.mark.parametrize("name", ["random", "degree prior", "personalised PageRank"])
def test_every_baseline_scores_alike_in_any_batch_and_sees_training_facts_only(make_random_graph, name):
    graph = make_random_graph(0)
    queries = all_queries(graph)
    scores = default_baselines(graph)[name](queries)
    assert scores.shape == (len(queries), graph.num_entities)
    assert np.isfinite(scores).all()

    order = np.random.default_rng(1).permutation(len(queries))
    alone = np.concatenate([default_baselines(graph)[name](queries[[i]]) for i in order])
    np.testing.assert_array_equal(alone, scores[order])

    other_graph = dataclasses.replace(graph, valid=graph.train[:4].copy(), test=graph.test[:0].copy())
    np.testing.assert_array_equal(default_baselines(other_graph)[name](queries), scores)
    rank_queries(default_baselines(graph)[name], graph, graph.test, 5)


def test_random_scores_are_uniform_and_change_with_seed_and_query(make_graph):
    graph = make_graph(2000, 1)
    queries = np.array([[0, 0], [0, 1], [1, 0]], dtype=np.int32)
    scores = RandomScorer(graph, seed=3)(queries)
    assert kstest(scores.ravel(), "uniform").pvalue > 0.01
    assert np.abs(np.corrcoef(scores)[np.triu_indices(3, 1)]).max() < 0.1
    assert (RandomScorer(graph, seed=4)(queries) != scores).all()
    np.testing.assert_array_equal(RandomScorer(graph, seed=3)(queries), scores)


def test_degree_prior_counts_answers_of_the_relation_then_all_edges(make_graph):
    graph = make_graph(5, 2, train=[(0, 0, 1), (2, 0, 1), (0, 0, 2), (0, 1, 3), (4, 1, 3), (2, 1, 3)])
    tails, heads = DegreePrior(graph)(np.array([[4, 0], [4, 2]], dtype=np.int32))
    assert np.floor(tails).tolist() == [0, 2, 1, 0, 0]
    assert np.floor(heads).tolist() == [2, 0, 1, 0, 0]
    # Nobody but 1 and 2 is a tail of r0; among the others those with more edges stand higher: 0 and 3 above 4.
    assert tails[0] == tails[3] > tails[4] > 0


def test_degree_prior_of_a_graph_without_facts_is_constant(make_graph):
    assert (DegreePrior(make_graph(3, 1))(np.array([[0, 1]], dtype=np.int32)) == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_pagerank_equals_dense_power_iteration(make_random_graph, seed):
    graph = make_random_graph(seed, sizes=(6, 0, 0))  # sparse enough for entities without edges
    adjacency = np.zeros((graph.num_entities, graph.num_entities))
    for head, _, tail in graph.train.tolist():
        adjacency[head, tail] += 1
        adjacency[tail, head] += 1
    alone = adjacency.sum(axis=1) == 0
    assert alone.any()
    walk = np.where(alone[:, None], np.eye(graph.num_entities), adjacency / np.maximum(adjacency.sum(1), 1)[:, None])
    restart = visits = np.eye(graph.num_entities)
    for _ in range(9):
        visits = 0.7 * visits @ walk + 0.3 * restart
    pagerank = PersonalizedPageRank(graph, damping=0.7, iterations=9)
    found = pagerank.visits(np.arange(graph.num_entities))
    np.testing.assert_allclose(found, visits, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)

    scores = pagerank(np.array([[3, 0], [1, 2], [3, 5]], dtype=np.int32))
    np.testing.assert_array_equal(scores[0], scores[2])  # relations do not matter
    assert scores[0, 3] == scores[1, 1] == 0  # the head itself comes last
    others = np.arange(graph.num_entities) != 3
    np.testing.assert_array_equal(scores[0, others], found[3, others])


@pytest.mark.parametrize(("damping", "iterations"), [(1, 5), (-0.1, 5), (0.85, 0)])
def test_pagerank_refuses_settings_that_are_no_walk(make_graph, damping, iterations):
    with pytest.raises(DataError, match="damping"):
        PersonalizedPageRank(make_graph(3, 1), damping, iterations)
