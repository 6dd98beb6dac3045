"""What the scores must not depend on: ids, names, order, other components. Random graphs of 2 to 60 entities, 100 each."""

import contextlib
import dataclasses

import chex
import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from making import (
    CODEBOOKS,
    graphs,
    joined,
    joined_tokens,
    make_graph,
    random_graph,
    random_tokens,
    renumbered,
    renumbered_tokens,
)

from tofu_jax.evaluation.ranking import rank_queries
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.structural_colors import structural_colors
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.shapes import inverse_relation

QUERIES, HEADS = 2, 2
symmetry = settings(max_examples=100)


def random_queries(random, graph):
    """Query relations [Q], inverses included, and heads [Q, H]."""
    relations = random.integers(0, graph.num_relations, QUERIES, dtype=np.int32)
    return relations, random.integers(0, graph.num_entities, (QUERIES, HEADS), dtype=np.int32)


def with_inverses(names, num_relations):
    """A permutation of relation names [R/2] as one of relations [R]."""
    return np.concatenate([names, inverse_relation(names, num_relations)]).astype(np.int32)


@symmetry
@given(drawn=graphs())
def test_scores_move_with_the_ids_of_entities(small_model, drawn):
    """S1."""
    random, graph = drawn
    tokens, (relations, heads) = random_tokens(random, graph), random_queries(random, graph)
    entities = random.permutation(graph.num_entities).astype(np.int32)
    other, other_tokens = renumbered(graph, entities=entities), renumbered_tokens(tokens, entities)
    first = small_model.inputs(graph, tokens, relations, heads)
    second = small_model.inputs(other, other_tokens, relations, entities[heads])
    small_model.assert_same_scores(first, second, entities)


@symmetry
@given(drawn=graphs())
def test_scores_do_not_depend_on_the_ids_of_relations(small_model, drawn):
    """S2: inverses move along."""
    random, graph = drawn
    tokens, (relations, heads) = random_tokens(random, graph), random_queries(random, graph)
    names = random.permutation(len(graph.relations))
    first = small_model.inputs(graph, tokens, relations, heads)
    moved = with_inverses(names, graph.num_relations)[relations]
    small_model.assert_same_scores(first, small_model.inputs(renumbered(graph, relations=names), tokens, moved, heads))


@settings(max_examples=50)
@given(drawn=graphs())
def test_scores_do_not_depend_on_which_direction_of_a_relation_has_the_name(small_model, drawn):
    """S2: "capital of" and "has capital" are one relation, written down in one direction or the other."""
    random, graph = drawn
    tokens, (relations, heads) = random_tokens(random, graph), random_queries(random, graph)
    turned = random.random(len(graph.relations)) < 0.5
    train = np.where(turned[graph.train[:, 1], None], graph.train[:, ::-1], graph.train)
    other = make_graph(graph.num_entities, len(graph.relations), train)
    asked = np.where(turned[relations % len(turned)], inverse_relation(relations, graph.num_relations), relations)
    first = small_model.inputs(graph, tokens, relations, heads)
    small_model.assert_same_scores(first, small_model.inputs(other, tokens, asked.astype(np.int32), heads))


@symmetry
@given(drawn=graphs())
def test_scores_do_not_depend_on_the_order_of_facts(small_model, drawn):
    """S3."""
    random, graph = drawn
    tokens, (relations, heads) = random_tokens(random, graph), random_queries(random, graph)
    other = renumbered(graph, facts=random.permutation(len(graph.train)))
    first = small_model.inputs(graph, tokens, relations, heads)
    small_model.assert_same_scores(first, small_model.inputs(other, tokens, relations, heads))


@symmetry
@given(drawn=graphs(), extra_entities=st.integers(1, 20), extra_names=st.integers(1, 3), described=st.booleans())
def test_scores_do_not_depend_on_a_disconnected_component_with_its_own_relations(
    small_model, drawn, extra_entities, extra_names, described
):
    """S4: what happens elsewhere, over other relations, changes nothing.

    The model has two global terms: what texts and images of the graph have in common (`directions`), and how often facts and
    mentions join the same entities. They are gone where the component has no tokens, or where content is worth nothing and its
    texts name nobody.
    """
    random, graph = drawn
    tokens, (relations, heads) = random_tokens(random, graph), random_queries(random, graph)
    component = random_graph(random, extra_entities, extra_names, 8)
    both, extra = joined(graph, component), random_tokens(random, component)
    extra = dataclasses.replace(extra, mentions=extra.mentions[:0])
    if not described:
        extra = extra.without("text").without("image")
    both_tokens = joined_tokens(tokens, extra)
    names = len(graph.relations)
    asked = np.where(relations < names, relations, relations - names + len(both.relations)).astype(np.int32)
    first = small_model.inputs(graph, tokens, relations, heads)
    second = small_model.inputs(both, both_tokens, asked, heads)
    with small_model.without_content() if described else contextlib.nullcontext():
        small_model.assert_same_scores(first, second, slice(graph.num_entities))


def test_a_renamed_copy_of_a_graph_gets_the_same_ranks(small_model):
    """S5, end to end: all entities and relations have new names and numbers, the lines another order; prompts are cut."""
    random = np.random.default_rng(0)
    graph = random_graph(random, 120, 6, 250)
    tokens = random_tokens(random, graph)
    # Where two entities are alike in structure but not in tokens, the choice of examples may depend on the order.
    assert len(set(structural_colors(graph)[0].tolist())) == graph.num_entities, "no two entities are alike in this graph"
    entities, names = random.permutation(graph.num_entities), random.permutation(len(graph.relations))
    order = random.permutation(len(graph.train))
    copy = renumbered(graph, entities, names, order)
    params = jax.tree.map(np.float32, small_model.params)
    scorers = [
        ModelScorer(small_model.model, params, small_model.codebooks, PreparedGraph.create(g, t, CODEBOOKS), num_examples=3)
        for g, t in ((graph, tokens), (copy, renumbered_tokens(tokens, entities)))
    ]

    asked = np.sort(random.choice(len(graph.train), 60, replace=False))
    same_facts = np.argsort(order)[asked]
    ranks, copied_ranks = (
        rank_queries(scorer, g, g.train[rows], batch_size=32)
        for scorer, g, rows in ((scorers[0], graph, asked), (scorers[1], copy, same_facts))
    )
    np.testing.assert_array_equal(copied_ranks.optimistic, ranks.optimistic)
    np.testing.assert_array_equal(copied_ranks.pessimistic, ranks.pessimistic)
    assert len(set(ranks.optimistic.tolist())) > 10, "the ranks differ among queries, so there is something to compare"

    queries = graph.train[asked][:, :2]
    moved = np.stack([entities[queries[:, 0]], names[queries[:, 1]]], axis=1).astype(np.int32)
    scores = scorers[0](queries)
    np.testing.assert_allclose(scorers[1](moved)[:, entities], scores, rtol=0, atol=1e-4 * np.abs(scores).max())


def test_no_parameter_belongs_to_an_entity_or_a_relation(small_model):
    """S6: the parameters for graphs of any size have the shapes of the parameters for the smallest graph."""
    random = np.random.default_rng(0)
    for num_entities, names in ((3, 1), (17, 4), (60, 9)):
        graph = random_graph(random, num_entities, names, 5)
        tokens = random_tokens(random, graph)
        inputs = small_model.inputs(graph, tokens, *random_queries(random, graph), num_entities=0, num_edges=0, num_relations=0)
        arguments = inputs.graph, inputs.edge_mask, small_model.codebooks, inputs.prompts, inputs.heads
        shapes = jax.eval_shape(small_model.model.init, jax.random.key(0), *arguments)
        chex.assert_trees_all_equal_shapes_and_dtypes(shapes, small_model.initial)


@given(st.integers(1, 1_000), st.lists(st.integers(0, 1_999)))
def test_inverse_of_the_inverse_is_the_relation(names, ids):
    """S7: an involution without fixed points, on single ids and on arrays."""
    relations = np.array(ids, np.int64) % (2 * names)
    inverse = inverse_relation(relations, 2 * names)
    np.testing.assert_array_equal(inverse_relation(inverse, 2 * names), relations)
    assert ((inverse < names) != (relations < names)).all()
    assert [inverse_relation(r, 2 * names) for r in relations.tolist()] == inverse.tolist()


@given(graphs())
def test_edges_come_with_their_inverses(drawn):
    """S7: edge i and edge i + F are inverses of one another."""
    _, graph = drawn
    senders, relations, receivers = (column.reshape(2, -1) for column in graph.edges)
    np.testing.assert_array_equal(senders[0], receivers[1])
    np.testing.assert_array_equal(receivers[0], senders[1])
    np.testing.assert_array_equal(inverse_relation(relations, graph.num_relations), relations[::-1])
