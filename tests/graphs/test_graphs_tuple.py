"""Padding: what goes into a GraphsTuple comes out again, and removed facts are gone in both directions."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import CODEBOOKS, graphs, make_graph, random_graph, random_tokens

from tofu_jax.graphs.graphs_tuple import bucket_size, pad_graph, shared_sizes
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.relation_types import NUM_MENTION_TYPES, directed_links
from tofu_jax.shapes import inverse_relation
from tofu_jax.training.mixture import BatchConfig, Mixture

VECTORS = {name: codebook.vectors for name, codebook in CODEBOOKS.items()}


def directed_edges(padded, mask):
    """The unmasked edges of a padded graph as sorted (sender, relation, receiver)."""
    edges = np.stack([padded.graph.senders, padded.graph.edges["relation"], padded.graph.receivers], axis=1)
    return sorted(map(tuple, edges[mask].tolist()))


def both_directions(facts, num_relations):
    """Each fact and its inverse as sorted (sender, relation, receiver)."""
    forward = [tuple(fact) for fact in facts.tolist()]
    return sorted(forward + [(tail, inverse_relation(relation, num_relations), head) for head, relation, tail in forward])


def test_bucket_holds_the_size_and_wastes_at_most_a_quarter():
    buckets = [bucket_size(size) for size in range(1, 5_000)]
    assert all(size <= bucket <= max(8, 1.25 * size) for size, bucket in enumerate(buckets, start=1))
    assert buckets == sorted(buckets)
    assert bucket_size(0) == 8


def test_buckets_are_their_own_buckets_and_four_an_octave():
    """P3: so few different sizes that the number of compiled programs stays small."""
    buckets = {bucket_size(size) for size in range(1, 2**16)}
    assert all(bucket_size(bucket) == bucket for bucket in buckets)
    assert len(buckets) <= 4 * 13 + 1


@given(graphs())
def test_padded_graph_holds_the_same_edges_and_tokens(drawn):
    random, graph = drawn
    tokens = random_tokens(random, graph)
    padded = pad_graph(graph, tokens, VECTORS)
    arrays = padded.graph

    assert directed_edges(padded, padded.edge_mask(mentions=False)) == both_directions(graph.train, graph.num_relations)
    edges = np.stack([arrays.senders, arrays.edges["relation"], arrays.receivers])
    np.testing.assert_array_equal(edges[:, padded.edge_position], np.stack(directed_links(graph, tokens.mentions)))
    assert (np.diff(arrays.receivers) >= 0).all()
    # Padding edges must not touch a real entity: nothing but the mask would tell them from edges.
    assert (edges[[0, 2]][:, ~padded.edge_mask()] >= graph.num_entities).all()

    np.testing.assert_array_equal(np.flatnonzero(padded.entity_mask), np.arange(graph.num_entities))
    for name in CODEBOOKS:
        ids, mask = (getattr(tokens, f"{name}_{part}") for part in ("ids", "mask"))
        padded_mask = arrays.nodes[f"{name}_mask"]
        np.testing.assert_array_equal(padded_mask[: graph.num_entities], mask)
        assert not padded_mask[graph.num_entities :].any()
        decoded = arrays.globals[f"{name}_vocabulary"][0][arrays.nodes[f"{name}_ids"][: graph.num_entities]]
        np.testing.assert_array_equal(decoded[mask], ids[mask])


@given(graphs(most_entities=12), st.integers(0, 300), st.integers(0, 300), st.integers(0, 60))
def test_least_sizes_are_respected_and_every_size_is_a_bucket(drawn, num_entities, num_edges, num_relations):
    random, graph = drawn
    tokens = random_tokens(random, graph)
    padded = pad_graph(graph, tokens, VECTORS, num_entities, num_edges, num_relations)
    sizes = {
        len(padded.entity_mask): max(num_entities, graph.num_entities + 1),
        len(padded.graph.senders): max(num_edges, 2 * (len(graph.train) + len(tokens.mentions))),
        padded.graph.globals["relation_graph"].shape[-1]: max(num_relations, graph.num_relations + NUM_MENTION_TYPES),
    }
    for size, least in sizes.items():
        assert size == bucket_size(least)


@given(graphs(), st.data())
def test_edge_mask_removes_exactly_the_facts_and_their_inverses(drawn, data):
    """S7: no leak of a removed fact, no loss of another."""
    random, graph = drawn
    removed = data.draw(st.lists(st.integers(0, len(graph.train) - 1), max_size=5))
    padded = pad_graph(graph, random_tokens(random, graph), VECTORS)
    kept = np.delete(graph.train, removed, axis=0)
    expected = both_directions(kept, graph.num_relations)
    assert directed_edges(padded, padded.edge_mask(np.array(removed, np.int64), mentions=False)) == expected


@pytest.mark.parametrize("masking", [0.0, 0.9])
def test_no_training_step_sees_the_facts_that_it_asks_for(masking):
    """S7: 0 leaks, forward and backward, whatever else a step drops."""
    random = np.random.default_rng(0)
    graph = random_graph(random, 20, 5, 30)
    prepared = PreparedGraph.create(graph, random_tokens(random, graph), CODEBOOKS)
    mixture = Mixture([prepared], BatchConfig(relation_masking=masking), seed=1)
    for batch in map(mixture.batch, range(30)):
        seen = set(directed_edges(prepared.padded, batch.edge_mask))
        asked = np.broadcast_arrays(batch.heads, batch.prompts.relation[:, None], batch.answers)
        for head, relation, answer in zip(*(column.ravel().tolist() for column in asked), strict=True):
            assert (head, relation, answer) not in seen
            assert (answer, inverse_relation(relation, graph.num_relations), head) not in seen


def test_graph_without_facts_can_be_padded():
    graph = make_graph(3, 1, [])
    padded = pad_graph(graph, random_tokens(np.random.default_rng(0), graph), VECTORS)
    assert not padded.edge_mask(mentions=False).any()
    assert not padded.graph.globals["relation_graph"].any()


def test_graphs_of_about_one_size_share_a_bucket():
    random = np.random.default_rng(0)
    sizes = {"large": (60, 9), "about as large": (50, 8), "small": (12, 2)}  # entities, facts per relation
    made = [random_graph(random, n, 4, facts) for n, facts in sizes.values()]
    made[0], made[1] = sorted(made[:2], key=lambda graph: -len(graph.train))
    tokens = [random_tokens(random, graph) for graph in made]
    shared = shared_sizes(made, tokens)
    assert shared[0] == shared[1]
    shapes = [
        [np.shape(leaf) for leaf in jax.tree.leaves(pad_graph(graph, token, VECTORS, **size).graph)]
        for graph, token, size in zip(made, tokens, shared, strict=True)
    ]
    assert shapes[0] == shapes[1] != shapes[2]
