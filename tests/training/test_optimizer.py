"""G3 and the schedule: which parameters decay, how the learning rate moves, and that large gradients are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from making import CODEBOOKS

from tofu_jax.inference.pretrained import parameter_shapes
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.training.optimizer import OptimizerConfig, create_optimizer, create_schedule, decayed, packed, unpacked


@pytest.fixture(scope="module")
def params():
    model = Tofu(ModelConfig(width=4, layers=1, prompt_layers=1, relation_layers=1, fusion_heads=2))
    return parameter_shapes(model, CODEBOOKS)


def test_schedule():
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=10)
    rates = np.array([create_schedule(config, 100)(step) for step in range(121)])
    np.testing.assert_allclose(rates[:11], np.linspace(0, 0.1, 11), rtol=1e-5, atol=1e-9)
    assert (np.diff(rates[10:101]) < 0).all()
    # A cosine: halfway between the two ends after half of the way.
    np.testing.assert_allclose(rates[55], (0.1 + 0.001) / 2, rtol=1e-5)
    np.testing.assert_allclose(rates[100:], 0.001, rtol=1e-5)


def test_warm_up_takes_at_most_half_of_a_short_run():
    rates = [float(create_schedule(OptimizerConfig(learning_rate=1.0, warmup_steps=50), 8)(step)) for step in range(9)]
    assert int(np.argmax(rates)) == 4
    assert rates[4] == pytest.approx(1.0)
    assert all(np.isfinite(create_schedule(OptimizerConfig(), 1)(step)) for step in range(3))


def test_matrices_of_linear_maps_decay_and_nothing_else_does(params):
    """Every parameter falls under one of the two rules, by its name; a new name has to be sorted in here."""
    flags = {path[-1].key: flag for path, flag in jax.tree_util.tree_leaves_with_path(decayed(params))}
    matrices = {"kernel", "state_kernel", "received_kernel"}
    assert {name for name, flag in flags.items() if flag} == matrices
    gates = {"head_gate", "entity_gate", "unreached_score", "sharpness"}
    vectors = {
        "bias",
        "scale",
        "shift",
        "null",
        "summary",
        "text_vector",
        "image_vector",
        "token",
        "relation",
        "start",
        "meta",
        "neighbor",
    }
    assert flags.keys() == matrices | gates | vectors


def test_packed_parameters_come_back_each_in_its_place(params):
    random = np.random.default_rng(0)
    values = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape), leaf.dtype), params)
    vectors = packed(values)
    leaves, flags = jax.tree.leaves(values), jax.tree.leaves(decayed(params))
    assert vectors["kernel"].size == sum(leaf.size for leaf, decays in zip(leaves, flags, strict=True) if decays)
    assert vectors["other"].size == sum(leaf.size for leaf in leaves) - vectors["kernel"].size
    found = unpacked(vectors, params)
    assert jax.tree.structure(found) == jax.tree.structure(values)
    jax.tree.map(np.testing.assert_array_equal, found, values)


@pytest.mark.parametrize("form", [lambda params: params, packed])
def test_decay_shrinks_matrices_alone(form):
    tree = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    optimizer = create_optimizer(OptimizerConfig(learning_rate=0.1, warmup_steps=0, weight_decay=0.5), 10)
    params = form(tree)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    updates = updates if params is tree else unpacked(updates, tree)
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-5)
    np.testing.assert_array_equal(updates["bias"], 0)


def test_large_gradients_are_cut_to_the_norm():
    """Adam's moments see the clipped gradient: three directions of equal size share the norm."""
    params = {"a": jnp.zeros((1, 2)), "b": jnp.zeros(1)}
    optimizer = create_optimizer(OptimizerConfig(clip_norm=0.5), 10)
    for size, norm in ((1e6, 0.5), (1e-3, 1e-3 * 3**0.5)):
        gradients = jax.tree.map(lambda value, size=size: jnp.full_like(value, size), params)
        _, state = optimizer.update(gradients, optimizer.init(params), params)
        moments = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state) if ".mu" in jax.tree_util.keystr(path)]
        found = np.sqrt(sum(float((leaf**2).sum()) for leaf in moments)) / 0.1  # 1 - Adam's beta 1
        assert found == pytest.approx(norm, rel=1e-4)
