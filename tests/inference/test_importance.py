"""The importance of edges is the gradient that it claims to be: against finite differences of an independent sum."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from making import CODEBOOKS, make_graph, random_tokens

from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference.importance import edge_importance
from tofu_jax.inference.pretrained import device_codebooks, parameter_shapes
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.model import graph_encoder
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.ops.reference import swap

MODEL = Tofu(ModelConfig(width=8, layers=3, prompt_layers=1, relation_layers=1, fusion_heads=2))
HEAD, RELATION, TAIL = 0, 1, 4
# 0 and 4 are joined over 1, 2, 3 and directly; 5 hangs on 4; 6 and 7 are elsewhere.
FACTS = [(0, 0, 1), (1, 1, 4), (0, 2, 2), (2, 0, 3), (4, 1, 3), (0, 2, 4), (4, 2, 5), (6, 1, 7), (1, 2, 2)]
MENTIONS = np.array([(0, 3), (5, 4)], np.int32)
STEP = 1e-6


def weighted_sum(weights):
    """`relational_sum` written anew, with a weight for each edge; modality messages keep weight 1."""

    def summed(states, present, scale, swap_scale, bias, edges, backend=None):
        of_modalities = states.shape[1] != 1
        own = jnp.ones(len(edges.senders)) if of_modalities else weights
        r, s = edges.relations, edges.senders
        sent = scale[r][:, :, None] * states[s] + swap_scale[r][:, :, None] * swap(states[s]) + bias[r][:, :, None]
        visible = present[s] * edges.mask[:, None, None]
        zeros = jnp.zeros_like(states)
        total = zeros.at[edges.receivers].add(sent * (visible * own[:, None, None])[..., None])
        return total, zeros[..., 0].at[edges.receivers].add(visible)

    return summed


@pytest.fixture(scope="module")
def made():
    """Scorer in float64 with random parameters, and the arguments of one query."""
    with jax.enable_x64(True):
        random = np.random.default_rng(8)
        shapes = parameter_shapes(MODEL, CODEBOOKS)
        params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape) / 2, shapes)
        graph = make_graph(8, 3, FACTS)
        tokens = dataclasses.replace(random_tokens(random, graph), mentions=MENTIONS)
        prepared = PreparedGraph.create(graph, tokens, CODEBOOKS)
        codebooks = {name: values.astype(np.float64) for name, values in device_codebooks(CODEBOOKS).items()}
        scorer = ModelScorer(MODEL, params, codebooks, prepared, 2)
        yield scorer, scorer.arguments(HEAD, RELATION)


@pytest.fixture(scope="module")
def found(made):
    scorer, arguments = made
    return edge_importance(MODEL, scorer.params, arguments, TAIL, 8)


def test_the_sum_over_layers_is_the_derivative_by_the_weight_of_an_edge(made, found):
    scorer, arguments = made
    mask = np.asarray(arguments[1])

    def score(weights):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(graph_encoder, "relational_sum", weighted_sum(weights))
            scores, _ = MODEL.apply(scorer.params, *arguments, method=Tofu.score)
        return scores[0, 0, TAIL]

    score, ones = jax.jit(score), np.ones(len(mask))
    steps = STEP * np.eye(len(mask))[mask]
    expected = [float(score(ones + step) - score(ones - step)) / (2 * STEP) for step in steps]
    np.testing.assert_allclose(found.edges.sum(axis=0)[mask], expected, atol=1e-7)
    assert (np.abs(expected) > 1e-3).sum() > 5
    # What modality messages carry is not what the weights are about, so the score itself must be the model's.
    assert float(score(ones)) == pytest.approx(float(scorer.score_without(HEAD, RELATION, None)[TAIL]), rel=1e-6)


def test_each_layer_by_itself(made, found):
    """Nudging the sum at a receiver by a part of a message changes the score as the importance says."""
    scorer, arguments = made
    graph, mask = scorer.graph.padded.graph, np.asarray(arguments[1])
    run = jax.jit(
        lambda nudge: MODEL.apply(
            {**scorer.params, "nudges": {"graph_encoder": {"layers": {"received": nudge}}}},
            *arguments,
            method=Tofu.score,
            mutable=["intermediates"],
        )
    )
    nudge = np.zeros((3, len(scorer.graph.padded.entity_mask), 1, 1, 8))
    (scores, _), stored = run(nudge)
    (sent,) = stored["intermediates"]["graph_encoder"]["layers"]["sent"]
    for layer, edge in itertools.product(range(3), np.flatnonzero(mask).tolist()):
        sender, receiver, relation = graph.senders[edge], graph.receivers[edge], graph.edges["relation"][edge]
        a, c, bias = (np.asarray(values)[layer, relation, 0] for values in sent.coefficients)
        state, reached = np.asarray(sent.states)[layer, sender, 0, 0], np.asarray(sent.reached)[layer, sender, 0, 0]
        nudged = nudge.copy()
        nudged[layer, receiver, 0, 0] = STEP * reached * (a * state + c * np.roll(state, 4) + bias)
        difference = (run(nudged)[0][0][0, 0, TAIL] - scores[0, 0, TAIL]) / STEP
        assert found.edges[layer, edge] == pytest.approx(float(difference), abs=1e-5)


def test_edges_on_no_path_have_none(made, found):
    graph = made[0].graph.padded.graph
    mask = np.asarray(made[1][1])
    used = np.flatnonzero(np.abs(found.edges).max(axis=0))
    assert mask[used].all()
    assert not {6, 7} & {*graph.senders[used].tolist(), *graph.receivers[used].tolist()}
    # At the first layer only the head sends, at the last only into the tail.
    assert set(graph.senders[np.flatnonzero(found.edges[0])].tolist()) == {HEAD}
    assert set(graph.receivers[np.flatnonzero(found.edges[-1])].tolist()) == {TAIL}


def test_parts_add_up_to_the_score(made, found):
    scores = made[0].score_without(HEAD, RELATION, None)
    assert sum(own for own, _ in found.parts.values()) == pytest.approx(float(scores[TAIL]), rel=1e-6)
    assert sum(mean for _, mean in found.parts.values()) == pytest.approx(float(scores.mean()), rel=1e-5)


def test_an_entity_that_no_message_reaches(made):
    scorer, arguments = made
    alone = edge_importance(MODEL, scorer.params, arguments, 6, 8)
    assert found_nothing(alone)
    removed = scorer.arguments(HEAD, RELATION, np.arange(len(FACTS) + len(MENTIONS)))
    assert found_nothing(edge_importance(MODEL, scorer.params, removed, TAIL, 8))


def found_nothing(importance):
    return not importance.reached and not importance.edges.any()
