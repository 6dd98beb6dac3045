"""D3 and S7: a batch is a function of (seed, step), and what is asked for is hidden from the message graph."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import CODEBOOKS, make_graph, random_graph, random_tokens

from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.graphs.relation_types import Overlap
from tofu_jax.shapes import inverse_relation
from tofu_jax.training.curriculum import Curriculum, by_size
from tofu_jax.training.mixture import BatchConfig, Mixture

CONFIG = BatchConfig(relations=3, heads=2, examples=2, relation_masking=0.8, modality_dropout=0.5, token_dropout=0.3)


def prepare(graph):
    return PreparedGraph.create(graph, random_tokens(np.random.default_rng(0), graph), CODEBOOKS)


def two_graphs():
    return [prepare(random_graph(np.random.default_rng(seed), 9 + seed, 4, 8)) for seed in (0, 1)]


def fingerprint(batch):
    """All that a batch holds, as one number."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.tree.map(np.asarray, vars(batch) | {"prompts": vars(batch.prompts)})):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes())
    return digest.hexdigest()


def edges_of(prepared):
    """Padded edges [E, 3] as (sender, relation, receiver)."""
    graph = prepared.padded.graph
    return np.stack([graph.senders, graph.edges["relation"], graph.receivers], axis=1)


def asked_edges(batch, names):
    """Facts asked for, and their inverses, {(sender, relation, receiver)}."""
    return {
        edge
        for row, relation in enumerate(batch.prompts.relation.tolist())
        for head, answer in zip(batch.heads[row].tolist(), batch.answers[row].tolist(), strict=True)
        for edge in ((head, relation, answer), (answer, (relation + names) % (2 * names), head))
    }


@pytest.fixture(scope="module")
def graphs():
    return two_graphs()


@pytest.fixture(scope="module")
def mixture(graphs):
    return Mixture(graphs, CONFIG, seed=3)


@settings(max_examples=50)
@given(steps=st.lists(st.integers(0, 10**9), min_size=1, max_size=4))
def test_a_batch_does_not_depend_on_what_was_drawn_before(graphs, mixture, steps):
    fresh = {step: fingerprint(Mixture(graphs, CONFIG, seed=3).batch(step)) for step in steps}
    for step in reversed(steps):
        assert fingerprint(mixture.batch(step)) == fresh[step]


def test_seeds_and_steps_differ(graphs, mixture):
    found = {fingerprint(mixture.batch(step)) for step in range(30)}
    found |= {fingerprint(Mixture(graphs, CONFIG, seed=4).batch(step)) for step in range(30)}
    assert len(found) == 60


def test_the_same_batch_in_another_process(mixture, in_new_process):
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("mixture_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
mixture = module.Mixture(module.two_graphs(), module.CONFIG, seed=3)
print(*(module.fingerprint(mixture.batch(step)) for step in (1000, 5, 0)))
"""
    done = in_new_process(code, __file__, PYTHONHASHSEED="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [fingerprint(mixture.batch(step)) for step in (1000, 5, 0)]


def test_both_graphs_and_all_shapes_come_up(graphs, mixture):
    batches = [mixture.batch(step) for step in range(60)]
    assert {batch.graph for batch in batches} == {0, 1}
    assert {tuple(batch.modalities[0]) for batch in batches} == {(a, b) for a in (False, True) for b in (False, True)}
    for batch in batches:
        prepared = graphs[batch.graph]
        assert batch.heads.shape == batch.answers.shape == (3, 2)
        assert batch.candidates.shape == (3, 2, len(prepared.padded.entity_mask))
        assert batch.edge_mask.shape == prepared.padded.graph.senders.shape
        assert batch.prompts.nodes.shape[:2] == (3, 2)
        assert len(set(batch.prompts.relation.tolist())) == 3  # distinct where there are enough


@settings(max_examples=60)
@given(step=st.integers(0, 10**6))
def test_queries_are_facts_that_the_message_graph_does_not_show(graphs, mixture, step):
    """S7: neither the fact asked for nor its inverse carries a message, in either direction of asking."""
    batch = mixture.batch(step)
    prepared = graphs[batch.graph]
    relations = prepared.graph.num_relations
    edges = edges_of(prepared)[batch.edge_mask]
    visible = set(map(tuple, edges[edges[:, 1] < relations].tolist()))
    everything = set(map(tuple, np.stack(prepared.graph.edges, axis=1).tolist()))
    for row, relation in enumerate(batch.prompts.relation.tolist()):
        for head, answer in zip(batch.heads[row].tolist(), batch.answers[row].tolist(), strict=True):
            assert (head, relation, answer) in everything
            assert (head, relation, answer) not in visible
            assert (answer, inverse_relation(relation, relations), head) not in visible
    assert visible < everything  # no padding either


@settings(max_examples=60)
@given(step=st.integers(0, 10**6))
def test_what_is_known_of_relations_does_not_show_what_is_asked_for(graphs, mixture, step):
    """No example is asked for, and types overlap as they do in the graph without the facts asked for."""
    batch = mixture.batch(step)
    prepared = graphs[batch.graph]
    names = len(prepared.graph.relations)
    edges = [tuple(edge) for edge in edges_of(prepared)[prepared.padded.edge_mask()].tolist()]
    asked = asked_edges(batch, names)
    left = np.array([edge for edge in edges if edge not in asked])
    expected = Overlap(*left.T, batch.overlap.shape[-1]).shares()
    np.testing.assert_array_equal(batch.overlap, np.stack([expected, np.zeros_like(expected)]))
    for row, column in np.ndindex(batch.prompts.example_mask.shape):
        nodes, token = (getattr(batch.prompts, name)[row, column] for name in ("nodes", "token"))
        u, v = (nodes[:2][distance == 0][0] for distance in np.divmod(token[:2], NUM_HOPS + 1))
        exists = batch.prompts.node_mask[row, column].any()
        assert batch.prompts.example_mask[row, column] == (exists and (u, batch.prompts.relation[row], v) not in asked)


@settings(max_examples=60)
@given(step=st.integers(0, 10**6))
def test_a_query_relation_asks_for_half_of_its_facts_at_most(graphs, mixture, step):
    batch = mixture.batch(step)
    train = graphs[batch.graph].graph.train
    for row, relation in enumerate(batch.prompts.relation % len(graphs[batch.graph].graph.relations)):
        asked = set(zip(batch.heads[row].tolist(), batch.answers[row].tolist(), strict=True))
        assert len(asked) == np.clip((train[:, 1] == relation).sum() // 2, 1, 2)


@settings(max_examples=60)
@given(step=st.integers(0, 10**6))
def test_whole_relations_are_masked_but_never_the_ones_asked_for(graphs, mixture, step):
    batch = mixture.batch(step)
    prepared = graphs[batch.graph]
    names = len(prepared.graph.relations)
    asked = asked_edges(batch, names)
    real = np.arange(len(batch.edge_mask)) < len(prepared.padded.edge_position)
    hidden = [tuple(edge) for edge in edges_of(prepared)[real & ~batch.edge_mask].tolist() if edge[1] < 2 * names]
    masked = {relation % names for _, relation, _ in set(hidden) - asked}
    assert not masked & {relation % names for relation in batch.prompts.relation.tolist()}
    for relation in masked:  # both directions and every fact of it
        count = (prepared.graph.train[:, 1] == relation).sum()
        assert sum(edge[1] % names == relation for edge in hidden) == 2 * count


def test_mentions_are_seen_or_hidden_all_at_once_and_never_without_texts(graphs, mixture):
    shares = set()
    for batch in map(mixture.batch, range(60)):
        prepared = graphs[batch.graph]
        mentions = (edges_of(prepared)[:, 1] >= prepared.graph.num_relations) & prepared.padded.edge_mask()
        shares.add((bool(batch.modalities[0, 0]), batch.edge_mask[mentions].mean()))
    assert shares == {(True, 1.0), (True, 0.0), (False, 0.0)}


def test_tokens_are_seen_or_hidden_where_their_vectors_are_seen(graphs, mixture):
    """Of texts and of images each on its own."""
    seen = np.stack([mixture.batch(step).modalities for step in range(400)])
    vectors, tokens = seen[:, 0], seen[:, 1]
    assert not (tokens & ~vectors).any()
    assert tokens[vectors].mean() == pytest.approx(0.7, abs=0.1)
    both = tokens[vectors.all(axis=1)]
    assert (both[:, 0] != both[:, 1]).any()
    always = Mixture(graphs, dataclasses.replace(CONFIG, token_dropout=0), seed=3)
    assert all((seen[0] == seen[1]).all() for seen in (always.batch(step).modalities for step in range(30)))


def test_masking_is_on_and_can_be_turned_off(graphs, mixture):
    def shown(mixture, step):
        batch = mixture.batch(step)
        return batch.edge_mask.sum() / len(graphs[batch.graph].padded.edge_position)

    assert np.mean([shown(mixture, step) for step in range(40)]) < 0.75
    unmasked = Mixture(graphs, BatchConfig(1, 1, 1, relation_masking=0, modality_dropout=0), seed=0)
    for step in range(10):
        batch = unmasked.batch(step)
        assert batch.edge_mask.sum() == len(graphs[batch.graph].padded.edge_position) - 2
        assert batch.modalities.all()


@settings(max_examples=60)
@given(step=st.integers(0, 10**6))
def test_candidates_are_the_answer_and_whatever_is_not_known_to_be_right(graphs, mixture, step):
    batch = mixture.batch(step)
    graph = graphs[batch.graph].graph
    edges = np.stack(graph.edges, axis=1)
    for row, relation in enumerate(batch.prompts.relation):
        for column in range(2):
            head, answer = batch.heads[row, column], batch.answers[row, column]
            known = edges[(edges[:, 0] == head) & (edges[:, 1] == relation), 2]
            expected = set(range(graph.num_entities)) - set(known.tolist()) | {int(answer)}
            assert set(np.flatnonzero(batch.candidates[row, column]).tolist()) == expected


@pytest.mark.parametrize(
    "facts",
    [
        [(0, 0, 1)],  # one fact, one relation: fewer than any number that is drawn
        [(0, 0, 0)],  # a self loop
        [(0, 0, 1), (1, 0, 0)],  # a fact and the same fact backwards
        [(0, 2, 1), (1, 2, 2)],  # relations without training facts
    ],
)
def test_small_graphs(facts):
    graph = prepare(make_graph(3, max(relation for _, relation, _ in facts) + 1, facts))
    mixture = Mixture([graph], BatchConfig(relations=4, heads=4, examples=3), seed=0)
    for step in range(5):
        batch = mixture.batch(step)
        assert batch.heads.shape == (4, 4)
        assert batch.candidates[np.arange(4)[:, None], np.arange(4), batch.answers].all()
        assert set(batch.prompts.relation % len(graph.graph.relations)) == {facts[0][1]}
        assert batch.prompts.example_mask.any(axis=1).all() or len(facts) < 3


def test_graphs_are_drawn_by_size_to_the_exponent():
    graphs = [prepare(make_graph(20, 1, [(h, 0, t) for h in range(n) for t in range(4)])) for n in (1, 16)]
    by_exponent = {}
    for exponent in (0.0, 0.5, 1.0):
        shares = by_size([len(g.graph.train) for g in graphs], exponent)
        mixture = Mixture(graphs, BatchConfig(1, 1, 1), seed=0, curriculum=Curriculum(shares))
        by_exponent[exponent] = np.mean([mixture.batch(step).graph for step in range(400)])
    assert by_exponent[0.0] == pytest.approx(1 / 2, abs=0.08)
    assert by_exponent[0.5] == pytest.approx(4 / 5, abs=0.08)
    assert by_exponent[1.0] == pytest.approx(16 / 17, abs=0.05)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_draw_disjoint_parts_of_one_batch(graphs, processes):
    """D4: together they are what one process draws, in the same order."""
    config = dataclasses.replace(CONFIG, relations=4)
    whole = Mixture(graphs, config, seed=3)
    mixtures = [Mixture(graphs, config, seed=3, part=(i, processes)) for i in range(processes)]
    for step in range(6):
        expected, parts = whole.batch(step), [mixture.batch(step) for mixture in mixtures]
        for name in ("heads", "answers", "candidates"):
            np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(expected, name))
        for field in dataclasses.fields(expected.prompts):
            together = np.concatenate([getattr(part.prompts, field.name) for part in parts])
            np.testing.assert_array_equal(together, getattr(expected.prompts, field.name))
        for part in parts:
            assert part.graph == expected.graph
            np.testing.assert_array_equal(part.edge_mask, expected.edge_mask)
            np.testing.assert_array_equal(part.overlap, expected.overlap)
            np.testing.assert_array_equal(part.modalities, expected.modalities)


def test_each_graph_has_its_number_of_heads(graphs):
    mixture = Mixture(graphs, CONFIG, seed=3, heads=(1, 4))
    for batch in map(mixture.batch, range(10)):
        assert batch.heads.shape == batch.answers.shape == batch.candidates.shape[:2] == (3, (1, 4)[batch.graph])
