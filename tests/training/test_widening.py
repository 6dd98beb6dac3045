"""A wider model begins as the narrower one that it is made from, and then has more to learn with."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from making import CODEBOOKS, make_graph, random_params, random_tokens

from tofu_jax.errors import TrainingError
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference.pretrained import device_codebooks
from tofu_jax.model.messages import OPERATORS
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.training.mixture import BatchConfig, Mixture
from tofu_jax.training.step import batch_loss, query_arrays
from tofu_jax.training.widening import widened

NARROW = ModelConfig(width=8, layers=2, prompt_layers=1, relation_layers=1, fusion_heads=2)


def wider(config, times):
    return dataclasses.replace(config, width=times * config.width, fusion_heads=times * config.fusion_heads)


def moved_params(config):
    """Of a narrow model, with no bias at zero and no scale at one."""
    random = np.random.default_rng(1)
    return jax.tree.map(lambda x: (x + random.normal(scale=0.3, size=x.shape)).astype(np.float32), random_params(Tofu(config)))


def from_narrow(params, narrow, wide):
    return widened(params, random_params(Tofu(wide)), narrow, wide, seed=0)


@pytest.fixture(scope="module")
def loss_of():
    """loss_of(config) → a function of parameters: the loss and the scores of a batch."""
    random = np.random.default_rng(0)
    facts = [(random.integers(20), i % 3, random.integers(20)) for i in range(60)]
    graph = make_graph(20, 3, facts)
    graph = PreparedGraph.create(graph, random_tokens(random, graph), CODEBOOKS)
    batch = Mixture([graph], BatchConfig(relations=2, heads=2, examples=2), seed=0).batch(0)
    queries, codebooks = jax.tree.map(jnp.asarray, query_arrays(batch)), device_codebooks(CODEBOOKS)

    def loss_of(config):
        model, padded = Tofu(config), graph.padded.graph

        def loss(params):
            scores, _ = model.apply(params, padded, batch.edge_mask, codebooks, queries.prompts, queries.heads)
            total, counted = batch_loss(model, params, codebooks, padded, batch.edge_mask, jnp.ones((2, 2), bool), queries)
            return total / counted, scores

        return loss

    return loss_of


@pytest.mark.parametrize(
    ("times", "operators"), [(2, OPERATORS), pytest.param(3, ("rotation", "product"), marks=pytest.mark.slow)]
)
def test_a_widened_model_scores_as_before(loss_of, times, operators):
    narrow = dataclasses.replace(NARROW, operators=operators)
    wide = wider(narrow, times)
    params = moved_params(narrow)
    # The scores alone: the loss would be compiled, too.
    expected = jax.jit(lambda values: loss_of(narrow)(values)[1])(params)
    scores = jax.jit(lambda values: loss_of(wide)(values)[1])(from_narrow(params, narrow, wide))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_copies_learn_apart(loss_of):
    """Copies that were read alike would have equal gradients, and the wider model no more room than the narrow one."""
    wide = wider(NARROW, 2)
    gradient, _ = jax.jit(jax.grad(loss_of(wide), has_aux=True))(from_narrow(moved_params(NARROW), NARROW, wide))
    for path in (("structure_hidden", "bias"), ("join", "bias"), ("relation_encoder", "start"), ("prompt_encoder", "token")):
        values = gradient["params"]
        for key in path:
            values = values[key]
        values = np.asarray(values).reshape(-1, 2, 2, NARROW.width // 2)  # [.., half, copy, channel]
        different = np.abs(values[:, :, 0] - values[:, :, 1])
        assert different.max() > 0.05 * np.abs(values).max(), path


def test_the_seed_alone_decides():
    wide, params = wider(NARROW, 2), moved_params(NARROW)
    like = random_params(Tofu(wide))
    first, again, other = (jax.tree.leaves(widened(params, like, NARROW, wide, seed)) for seed in (0, 0, 1))
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


@pytest.mark.parametrize(
    "wide",
    [
        dataclasses.replace(NARROW, width=16),
        dataclasses.replace(wider(NARROW, 2), layers=3),
        dataclasses.replace(wider(NARROW, 2), operators=("product",)),
        dataclasses.replace(NARROW, width=4, fusion_heads=1),
    ],
    ids=["heads too wide", "other layers", "other messages", "narrower"],
)
def test_other_models_are_refused(wide):
    with pytest.raises(TrainingError, match=r"begin with is ModelConfig\(width=8.*asks for ModelConfig.*the same sizes"):
        widened({}, {}, NARROW, wide, seed=0)


def test_an_equal_model_is_left_alone():
    params = {"some": np.ones(3)}
    assert widened(params, {}, NARROW, dataclasses.replace(NARROW), seed=0) is params
