"""Known answers against a dictionary of sets."""

import collections
import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from making import make_graph

from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.shapes import inverse_relation

ENTITIES, RELATIONS = 6, 4
facts = st.lists(st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS // 2 - 1), st.integers(0, ENTITIES - 1)))
ALL_QUERIES = np.array([(head, relation) for head in range(ENTITIES) for relation in range(RELATIONS)], np.int32)


def as_triples(rows):
    return np.array(rows, np.int32).reshape(-1, 3)


def answers_by_query(known, queries):
    """[answers] per query, in the order given."""
    rows, entities = known.answers(queries)
    return [entities[rows == row].tolist() for row in range(len(queries))]


@given(facts)
def test_answers_equal_brute_force_in_both_directions(rows):
    """R4: every known fact, repeated ones once, sorted; nothing else."""
    expected = collections.defaultdict(set)
    for head, relation, tail in rows:
        expected[head, relation].add(tail)
        expected[tail, inverse_relation(relation, RELATIONS)].add(head)
    known = KnownAnswers(as_triples(rows), ENTITIES, RELATIONS)
    assert answers_by_query(known, ALL_QUERIES) == [sorted(expected[tuple(query)]) for query in ALL_QUERIES.tolist()]
    assert known.num_facts == len(set(rows))


@given(st.lists(st.sampled_from(ALL_QUERIES.tolist())))
def test_queries_may_come_in_any_order_and_repeat(queries):
    known = KnownAnswers(as_triples([(0, 0, 1), (0, 0, 2), (3, 1, 0), (4, 1, 4)]), ENTITIES, RELATIONS)
    queries = np.array(queries, np.int32).reshape(-1, 2)
    rows, _ = known.answers(queries)
    assert (np.diff(rows) >= 0).all()
    assert answers_by_query(known, queries) == [answers_by_query(known, query[None])[0] for query in queries]


def test_splits_can_be_left_out():
    graph = dataclasses.replace(make_graph(4, 1, [(0, 0, 1)]), valid=as_triples([(0, 0, 2)]), test=as_triples([(0, 0, 3)]))
    query = np.array([[0, 0]])
    assert answers_by_query(KnownAnswers.of_graph(graph), query) == [[1, 2, 3]]
    assert answers_by_query(KnownAnswers.of_graph(graph, ("train",)), query) == [[1]]
