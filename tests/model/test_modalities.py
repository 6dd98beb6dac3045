"""Texts and images: leaving one out, taking it away, and that what they say counts."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from making import CODEBOOKS, MOST_FACTS, random_graph, random_tokens

from tofu_jax.model.fusion import MODALITIES
from tofu_jax.training.step import visible_nodes

SUBSETS = list(itertools.product([False, True], repeat=len(MODALITIES)))


@pytest.fixture(scope="module", params=range(3))
def case(request):
    """Graph, tokens, query relations [2], heads [2, 2]."""
    random = np.random.default_rng(request.param)
    graph = random_graph(random, 30, 4, MOST_FACTS)
    relations = random.choice(graph.num_relations, 2, replace=False).astype(np.int32)
    heads = random.integers(0, graph.num_entities, (2, 2), dtype=np.int32)
    return graph, random_tokens(random, graph), relations, heads


@pytest.mark.parametrize("seen", SUBSETS)
def test_masking_a_modality_is_its_absence(small_model, case, seen):
    """M1: dropout during training shows the model what it will see where a modality is missing; mentions go with texts."""
    graph, tokens, relations, heads = case
    inputs = small_model.inputs(graph, tokens, relations, heads)
    nodes = jax.tree.map(np.asarray, visible_nodes(inputs.graph.nodes, np.array([seen, seen])))
    facts = inputs.graph.edges["relation"] < graph.num_relations
    masked = inputs._replace(graph=inputs.graph._replace(nodes=nodes), edge_mask=inputs.edge_mask & (seen[0] | facts))
    absent = tokens
    for name, is_seen in zip(MODALITIES, seen, strict=True):
        absent = absent if is_seen else absent.without(name)
    expected = small_model.inputs(graph, absent, relations, heads)
    assert np.isfinite(small_model.scores(expected, np.float32)).all()
    small_model.assert_same_scores(masked, expected)


@pytest.mark.parametrize("name", MODALITIES)
def test_hiding_tokens_leaves_vectors_and_mentions(small_model, case, name):
    """What token dropout shows is a graph whose entities have vectors and no tokens; it is not that without the modality."""
    graph, tokens, relations, heads = case
    inputs = small_model.inputs(graph, tokens, relations, heads)
    modalities = np.array([[True, True], [other != name for other in MODALITIES]])
    hidden = inputs._replace(
        graph=inputs.graph._replace(nodes=jax.tree.map(np.asarray, visible_nodes(inputs.graph.nodes, modalities)))
    )
    directions = {f"{other}_direction": inputs.graph.nodes[f"{other}_direction"] for other in MODALITIES}
    mask = getattr(tokens, f"{name}_mask")
    absent = dataclasses.replace(tokens, **{f"{name}_ids": np.zeros(mask.shape, np.int32), f"{name}_mask": mask & False})
    expected = small_model.inputs(graph, absent, relations, heads)
    expected = expected._replace(graph=expected.graph._replace(nodes=expected.graph.nodes | directions))
    small_model.assert_same_scores(hidden, expected)
    without = small_model.inputs(graph, tokens.without(name), relations, heads)
    assert np.abs(small_model.scores(hidden) - small_model.scores(without)).max() > 1e-6


@pytest.mark.parametrize("name", MODALITIES)
def test_what_a_modality_says_changes_scores(small_model, case, name):
    """Not only whether an entity has texts or images counts: the same entities have them, with other ids."""
    graph, tokens, relations, heads = case
    ids, mask = getattr(tokens, f"{name}_ids"), getattr(tokens, f"{name}_mask")
    others = (ids + 1) % len(CODEBOOKS[name].vectors)
    changed = dataclasses.replace(tokens, **{f"{name}_ids": np.where(mask, others, 0).astype(np.int32)})
    before, after = (small_model.scores(small_model.inputs(graph, t, relations, heads)) for t in (tokens, changed))
    described = mask.any(axis=1)
    assert (np.abs(after - before).max(axis=(0, 1))[described] > 1e-6).all()


def test_text_of_a_neighbor_changes_the_score(small_model, case):
    """Content travels along edges (the modality experts), not only from an entity to its own score."""
    graph, tokens, relations, heads = case
    senders, _, receivers = graph.edges
    neighbor = next(s for s, r in zip(senders, receivers, strict=True) if s != r and s not in heads and r == heads[0, 0])
    ids, mask = tokens.text_ids.copy(), tokens.text_mask.copy()
    ids[neighbor], mask[neighbor] = (ids[neighbor] + 5) % 50, True
    changed = dataclasses.replace(tokens, text_ids=ids, text_mask=mask)
    before, after = (small_model.scores(small_model.inputs(graph, t, relations, heads)) for t in (tokens, changed))
    assert np.abs(after - before)[0, 0, heads[0, 0]] > 1e-6


@pytest.mark.parametrize("name", MODALITIES)
def test_order_of_tokens_does_not_matter(small_model, case, name):
    """The slots of an entity hold a set."""
    graph, tokens, relations, heads = case
    ids, mask = getattr(tokens, f"{name}_ids"), getattr(tokens, f"{name}_mask")
    order = np.random.default_rng(0).permuted(np.tile(np.arange(ids.shape[1]), (len(ids), 1)), axis=1)
    moved = {f"{name}_ids": np.take_along_axis(ids, order, 1), f"{name}_mask": np.take_along_axis(mask, order, 1)}
    assert not np.array_equal(moved[f"{name}_mask"], mask)
    first = small_model.inputs(graph, tokens, relations, heads)
    small_model.assert_same_scores(first, small_model.inputs(graph, dataclasses.replace(tokens, **moved), relations, heads))
