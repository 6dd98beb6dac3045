"""Structural colours depend on structure alone."""

import numpy as np
from hypothesis import given
from making import graphs, joined, make_graph, random_graph, renumbered

from tofu_jax.graphs.structural_colors import structural_colors
from tofu_jax.shapes import inverse_relation


@given(graphs())
def test_colors_move_with_the_ids(drawn):
    """S1, S2, S3: new ids of entities and relations, new names and another order of the facts."""
    random, graph = drawn
    entities, relations = random.permutation(graph.num_entities), random.permutation(len(graph.relations))
    other = renumbered(graph, entities, relations, facts=random.permutation(len(graph.train)))
    (entity_colors, relation_colors), (other_entity, other_relation) = structural_colors(graph), structural_colors(other)
    np.testing.assert_array_equal(other_entity[entities], entity_colors)
    both = np.concatenate([relations, inverse_relation(relations, graph.num_relations)])
    np.testing.assert_array_equal(other_relation[both], relation_colors)


@given(graphs())
def test_a_disconnected_component_with_its_own_relations_changes_no_color(drawn):
    """S4."""
    random, graph = drawn
    names = len(graph.relations)
    both = joined(graph, random_graph(random, 15, 2, 8))
    (entity_colors, relation_colors), (joined_entity, joined_relation) = structural_colors(graph), structural_colors(both)
    np.testing.assert_array_equal(joined_entity[: graph.num_entities], entity_colors)
    kept = np.concatenate([np.arange(names), both.num_relations // 2 + np.arange(names)])
    np.testing.assert_array_equal(joined_relation[kept], relation_colors)


def test_twins_share_a_color_and_others_differ():
    """In a star the leaves are alike; hub, leaves and an isolated entity are not."""
    colors, _ = structural_colors(make_graph(5, 1, [(0, 0, leaf) for leaf in (1, 2, 3)]))
    assert colors[1] == colors[2] == colors[3]
    assert len({colors[0], colors[1], colors[4]}) == 3


def test_direction_of_a_fact_is_seen():
    entities, relations = structural_colors(make_graph(3, 1, [(0, 0, 1), (0, 0, 2)]))
    assert entities[0] != entities[1]
    assert relations[0] != relations[1]
