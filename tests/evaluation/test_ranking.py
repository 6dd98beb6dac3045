"""Ranks are counted right: a wrong number here would be believed everywhere."""

import random

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_jax.errors import DataError
from tofu_jax.evaluation.ranking import (
    POLICIES,
    KnownAnswers,
    Ranks,
    ScoreError,
    half_links,
    queries_of,
    rank_queries,
    sample_triples,
)

seeds = st.integers(0, 2**32 - 1)


def facts_of(graph):
    return {tuple(fact) for split in (graph.train, graph.valid, graph.test) for fact in split.tolist()}


def is_known(facts, head, relation, entity, half):
    return (head, relation, entity) in facts if relation < half else (entity, relation - half, head) in facts


def brute_force_ranks(graph, table, triples):
    """The reference: count, one query and one candidate at a time."""
    facts, half = facts_of(graph), len(graph.relations)
    optimistic, pessimistic = [], []
    tail_queries = [(h, r, t) for h, r, t in triples.tolist()]
    for head, relation, answer in tail_queries + [(t, r + half, h) for h, r, t in tail_queries]:
        scores = table[head, relation].tolist()
        others = [e for e in range(graph.num_entities) if e != answer and not is_known(facts, head, relation, e, half)]
        optimistic.append(1 + sum(scores[e] > scores[answer] for e in others))
        pessimistic.append(1 + sum(scores[e] >= scores[answer] for e in others))
    return np.array(optimistic), np.array(pessimistic)


@given(
    seeds,
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(1, 9),
    st.sampled_from([np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.int32]),
)
@settings(max_examples=200, deadline=None)
def test_ranks_equal_brute_force_under_many_ties(
    make_random_graph, make_tied_scores, table_scorer, seed, num_entities, num_relation_names, batch_size, dtype
):
    graph = make_random_graph(seed, num_entities, num_relation_names)
    table = make_tied_scores(seed, graph, dtype)
    ranks = rank_queries(table_scorer(table), graph, graph.test, batch_size)
    optimistic, pessimistic = brute_force_ranks(graph, table, graph.test)
    np.testing.assert_array_equal(ranks.optimistic, optimistic)
    np.testing.assert_array_equal(ranks.pessimistic, pessimistic)
    np.testing.assert_array_equal(ranks.realistic, 0.5 * (optimistic + pessimistic))


def test_constant_scorer_gets_the_expected_rank_of_chance(make_graph):
    for num_entities in range(1, 201):
        graph = make_graph(num_entities, 1, test=[(0, 0, num_entities - 1)])
        ranks = rank_queries(lambda q, n=num_entities: np.zeros((len(q), n)), graph, graph.test, 4)
        metrics = {policy: ranks.metrics(policy) for policy in POLICIES}
        assert metrics["realistic"]["mean_rank"] == (num_entities + 1) / 2
        assert metrics["realistic"]["mrr"] == 1 / ((num_entities + 1) / 2)
        assert metrics["optimistic"]["mrr"] == 1
        assert metrics["pessimistic"]["mrr"] == 1 / num_entities


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_shuffling_entity_ids_changes_no_rank(make_graph, make_random_graph, make_tied_scores, table_scorer, seed):
    graph = make_random_graph(seed)
    table = make_tied_scores(seed, graph)
    new_id = np.random.default_rng(seed).permutation(graph.num_entities)
    old_id = np.argsort(new_id)
    renamed = [np.stack([new_id[h], r, new_id[t]], axis=1) for h, r, t in (s.T for s in (graph.train, graph.valid, graph.test))]
    shuffled = make_graph(graph.num_entities, len(graph.relations), *renamed)
    before = rank_queries(table_scorer(table), graph, graph.test, 5)
    after = rank_queries(table_scorer(table[old_id][:, :, old_id]), shuffled, shuffled.test, 5)
    np.testing.assert_array_equal(before.optimistic, after.optimistic)
    np.testing.assert_array_equal(before.pessimistic, after.pessimistic)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_score_that_is_not_finite_always_raises_and_names_the_query(
    make_random_graph, make_tied_scores, table_scorer, bad, seed
):
    graph = make_random_graph(seed)
    table = make_tied_scores(seed, graph)
    rng = np.random.default_rng(seed)
    queries, _ = queries_of(graph.test, graph.num_relations)
    head, relation = queries[rng.integers(len(queries))]
    entity = rng.integers(graph.num_entities)  # known answers and the right answer included
    table[head, relation, entity] = bad
    with pytest.raises(ScoreError) as error:
        rank_queries(table_scorer(table), graph, graph.test, 5)
    names = len(graph.relations)
    query = f"('e{head}', 'r{relation}', ?)" if relation < names else f"(?, 'r{relation - names}', 'e{head}')"
    assert query in str(error.value)
    assert f"'e{entity}'" in str(error.value)
    assert str(bad) in str(error.value)


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (6,), (2, 3, 1)])
def test_scores_of_another_shape_raise(make_graph, shape):
    graph = make_graph(3, 1, test=[(0, 0, 1)])
    with pytest.raises(ScoreError, match=r"instead of \(2, 3\).*'e0', 'r0', \?"):
        rank_queries(lambda queries: np.zeros(shape), graph, graph.test, 4)


def test_scores_that_are_not_real_numbers_raise(make_graph):
    graph = make_graph(3, 1, test=[(0, 0, 1)])
    with pytest.raises(ScoreError, match="complex"):
        rank_queries(lambda queries: np.zeros((2, 3), dtype=complex), graph, graph.test, 4)


@pytest.mark.parametrize(
    ("triples", "batch_size"), [([], 1), ([(0, 0, 3)], 1), ([(0, 1, 0)], 1), ([(-1, 0, 0)], 1), ([(0, 0, 0)], 0)]
)
def test_requests_that_cannot_be_ranked_raise(make_graph, triples, batch_size):
    graph = make_graph(3, 1)
    with pytest.raises(DataError):
        rank_queries(lambda q: np.zeros((len(q), 3)), graph, np.array(triples, dtype=np.int32).reshape(-1, 3), batch_size)


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_filter_removes_all_known_facts_and_never_the_target(make_random_graph, make_tied_scores, table_scorer, seed):
    graph = make_random_graph(seed)
    facts, half = facts_of(graph), len(graph.relations)
    queries, answers = queries_of(graph.test, graph.num_relations)
    known = [
        {e for e in range(graph.num_entities) if is_known(facts, head, relation, e, half)}
        for head, relation in queries.tolist()
    ]
    ranks = rank_queries(lambda q: np.zeros((len(q), graph.num_entities)), graph, graph.test, 7)
    remaining = [graph.num_entities - len(others - {answer}) for others, answer in zip(known, answers, strict=True)]
    np.testing.assert_array_equal(ranks.pessimistic, remaining)  # every candidate ties, so this counts them

    # Neither lifting nor sinking the other known answers of a query may move its target.
    table = make_tied_scores(seed, graph)
    for query, others, answer, triple in zip(queries, known, answers, np.tile(graph.test, (2, 1)), strict=True):
        moved = table.copy()
        moved[*query, sorted(others - {answer})] = 9
        before = rank_queries(table_scorer(table), graph, triple[None], 2)
        after = rank_queries(table_scorer(moved), graph, triple[None], 2)
        side = int(query[1] >= half)
        assert before.optimistic[side] == after.optimistic[side]
        assert before.pessimistic[side] == after.pessimistic[side]


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_known_answers_are_the_facts_seen_from_both_ends(make_random_graph, seed):
    graph = make_random_graph(seed, sizes=(seed % 40, 3, 3))
    facts, half = facts_of(graph), len(graph.relations)
    queries = np.random.default_rng(seed).integers(0, (graph.num_entities, graph.num_relations), (20, 2))
    rows, entities = KnownAnswers.of_graph(graph).answers(queries.astype(np.int32))
    expected = [
        (row, entity)
        for row, (head, relation) in enumerate(queries.tolist())
        for entity in range(graph.num_entities)
        if is_known(facts, head, relation, entity, half)
    ]
    assert list(zip(rows.tolist(), entities.tolist(), strict=True)) == expected
    assert KnownAnswers.of_graph(graph).num_facts == len(facts)


def test_known_answers_of_nothing_and_of_one_split(make_graph):
    graph = make_graph(3, 1, train=[(0, 0, 1)], test=[(0, 0, 2)])
    queries = np.array([[0, 0], [2, 1]], dtype=np.int32)
    rows, entities = KnownAnswers.of_graph(graph, splits=("train",)).answers(queries)
    assert (rows.tolist(), entities.tolist()) == ([0], [1])
    rows, entities = KnownAnswers.of_graph(graph, splits=("valid",)).answers(queries)
    assert len(rows) == len(entities) == 0


def test_each_distinct_query_is_scored_once_and_batches_are_sorted_by_relation(
    make_random_graph, make_tied_scores, table_scorer
):
    graph = make_random_graph(0, num_entities=6, sizes=(10, 5, 60))
    scorer, progress = table_scorer(make_tied_scores(0, graph)), []
    rank_queries(scorer, graph, graph.test, 4, on_batch=lambda done, total: progress.append((done, total)))
    asked = np.concatenate(scorer.batches)
    queries, _ = queries_of(graph.test, graph.num_relations)
    assert sorted(map(tuple, asked.tolist())) == sorted(set(map(tuple, queries.tolist())))
    assert len(asked) < len(queries)
    assert (np.diff(asked[:, 1]) >= 0).all()
    assert {len(batch) for batch in scorer.batches[:-1]} == {4}
    assert asked.dtype == np.int32
    assert [total for _, total in progress] == [120] * len(scorer.batches)
    assert (np.diff([done for done, _ in progress]) > 0).all()
    assert progress[-1][0] == 120


def test_one_query_with_more_answers_than_a_batch(make_graph, table_scorer):
    graph = make_graph(50, 1, test=[(0, 0, tail) for tail in range(50)])
    ranks = rank_queries(table_scorer(np.ones((50, 2, 50))), graph, graph.test, 3)
    assert set(ranks.pessimistic[:50].tolist()) == {1}  # every other answer is known


def test_scores_that_cannot_be_written_are_ranked(make_graph):
    graph = make_graph(3, 1, train=[(0, 0, 2)], test=[(0, 0, 1)])
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    scores.setflags(write=False)  # as arrays of JAX are
    ranks = rank_queries(lambda queries: scores, graph, graph.test, 4)
    assert ranks.optimistic.tolist() == [1, 3]


@pytest.fixture(scope="module")
def random_rows(make_graph, table_scorer):
    """Ranks of 1,000 rows of tied scores, and the rows as PyKEEN takes them: NaN where an answer is filtered."""
    rng, size = np.random.default_rng(5), 1000
    answers = rng.integers(0, size, size)
    train = np.stack([rng.integers(0, size, 20_000), np.zeros(20_000), rng.integers(0, size, 20_000)], axis=1)
    test = np.stack([np.arange(size), np.zeros(size), answers], axis=1)
    graph = make_graph(size, 1, train=train, test=test)
    scores = rng.integers(0, 50, (size, size)).astype(np.float32)
    table = np.zeros((size, 2, size), dtype=np.float32)
    table[:, 0] = scores
    ranks = rank_queries(table_scorer(table), graph, graph.test, 64).take(np.arange(size))
    true_scores = scores[np.arange(size), answers][:, None]
    filtered = scores.copy()
    filtered[graph.train[:, 0], graph.train[:, 2]] = np.nan
    filtered[np.arange(size), answers] = true_scores[:, 0]
    return ranks, true_scores, filtered


def test_ranks_follow_the_formula_of_pykeen(random_rows):
    # Frozen from PyKEEN 1.11.1, pykeen.evaluation.ranks.Ranks.from_scores.
    ranks, true_scores, filtered = random_rows
    optimistic = (filtered > true_scores).sum(axis=1) + 1
    pessimistic = (filtered >= true_scores).sum(axis=1)
    np.testing.assert_array_equal(ranks.optimistic, optimistic)
    np.testing.assert_array_equal(ranks.pessimistic, pessimistic)
    np.testing.assert_array_equal(ranks.realistic, (optimistic + pessimistic) * 0.5)
    assert (optimistic < pessimistic).mean() > 0.9  # the rows are worth comparing


@pytest.mark.filterwarnings("ignore")  # of its imports
def test_ranks_agree_with_pykeen(random_rows):
    pykeen_ranks = pytest.importorskip("pykeen.evaluation.ranks")
    torch = pytest.importorskip("torch")
    ranks, true_scores, filtered = random_rows
    theirs = pykeen_ranks.Ranks.from_scores(torch.tensor(true_scores.tolist()), torch.tensor(filtered.tolist()))
    for policy in POLICIES:
        assert getattr(ranks, policy).tolist() == getattr(theirs, policy).tolist()


def test_metrics_by_hand():
    ranks = Ranks(np.array([1, 1, 3, 10]), np.array([1, 2, 3, 11]))
    assert ranks.metrics("realistic") == {
        "mrr": pytest.approx((1 + 1 / 1.5 + 1 / 3 + 1 / 10.5) / 4, abs=1e-15),
        "hits@1": 0.25,
        "hits@3": 0.75,
        "hits@10": 0.75,
        "mean_rank": 4.0,
    }
    assert ranks.metrics("optimistic")["hits@10"] == 1
    assert ranks.metrics("optimistic")["hits@1"] == 0.5
    assert ranks.metrics("pessimistic")["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 11) / 4, abs=1e-15)
    with pytest.raises(DataError, match="no queries"):
        ranks.take(np.zeros(4, dtype=bool)).metrics()


def test_samples_nest_and_follow_the_stated_order():
    triples = np.arange(300, dtype=np.int32).reshape(100, 3)
    order = random.Random(7).sample(range(100), 100)
    np.testing.assert_array_equal(sample_triples(triples, None, 7), triples[order])
    np.testing.assert_array_equal(sample_triples(triples, 1000, 7), triples[order])
    for size in (1, 10, 99):
        np.testing.assert_array_equal(sample_triples(triples, size, 7), triples[order[:size]])
    assert (sample_triples(triples, 50, 7) != sample_triples(triples, 50, 8)).any()
    assert sample_triples(triples[:0], 5, 7).shape == (0, 3)
    with pytest.raises(DataError, match="max_triples"):
        sample_triples(triples, 0, 7)


def test_half_links_by_hand(make_graph):
    # Tail 1 has a training fact of r0 as its tail; head 0 has one as its head; entity 2 has none of either.
    graph = make_graph(4, 2, train=[(0, 0, 1), (2, 1, 2)], test=[(3, 0, 1), (0, 0, 3), (2, 0, 2)])
    linked = half_links(graph, *queries_of(graph.test, graph.num_relations))
    assert linked.tolist() == [True, False, False, False, True, False]  # three tail queries, then three head queries
