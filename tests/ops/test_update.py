"""`ops.update`: the C++ and the plain version are the same function, in values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tofu_jax.ops import cpu
from tofu_jax.ops.update import UpdateParameters, residual_update

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
BOTH = [pytest.param("cpu", marks=pytest.mark.skipif(not cpu.available(), reason="the C++ was not built")), "xla"]


def random_inputs(rows, width, per_offset, dtype=np.float64, seed=0):
    """Arguments of `residual_update`; every third row is not kept. per_offset 0: no offset."""
    random = np.random.default_rng(seed)

    def draw(*shape):
        return random.standard_normal(shape).astype(dtype)

    offset = draw(rows // per_offset, width) if per_offset else np.zeros((0, width), dtype)
    keep = (np.arange(rows) % 3 > 0).astype(dtype)
    parameters = UpdateParameters(*draw(2, width, width), *draw(3, width))
    return draw(rows, width), draw(rows, width), offset, keep, parameters


def value_and_gradients(backend, inputs, gradient):
    with jax.enable_x64(inputs[0].dtype == np.float64):

        def weighted(states, received, offset, keep, parameters):
            out = residual_update(states, received, offset, keep, parameters, backend)
            return (out * gradient).sum(), out

        (_, out), gradients = jax.jit(jax.value_and_grad(weighted, (0, 1, 2, 4), has_aux=True))(*inputs)
        return jax.tree.map(np.asarray, (out, gradients))


@pytest.mark.skipif(not cpu.available(), reason="the C++ was not built")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("rows", "width", "per_offset"),
    [(1, 8, 0), (7, 16, 0), (12, 8, 3), (5_000, 32, 5_000), (4_004, 32, 4), (2_000, 64, 1), (30, 10, 3), (0, 8, 0)],
)
def test_both_versions_are_the_same(rows, width, per_offset, dtype):
    inputs = random_inputs(rows, width, per_offset, dtype)
    gradient = np.random.default_rng(1).standard_normal((rows, width)).astype(dtype)
    found, expected = (value_and_gradients(backend, inputs, gradient) for backend in ("cpu", "xla"))
    for a, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == dtype
        scale = max(np.abs(e).max(initial=0), 1)
        np.testing.assert_allclose(a, e, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("backend", BOTH)
def test_the_formula(backend):
    x, m, offset, keep, p = inputs = random_inputs(12, 8, 3)
    total = x @ p.state + m @ p.received + p.bias + np.repeat(offset, 3, axis=0)
    normed = (total - total.mean(axis=1, keepdims=True)) / np.sqrt(total.var(axis=1, keepdims=True) + 1e-5)
    expected = np.where(keep[:, None], x + np.maximum(normed * p.scale + p.shift, 0), 0)
    np.testing.assert_allclose(value_and_gradients(backend, inputs, 1.0)[0], expected, atol=1e-12)


@pytest.mark.parametrize("backend", BOTH)
def test_what_is_not_kept_has_no_influence(backend):
    """P2: garbage in rows that are not kept reaches neither values nor gradients."""
    states, received, offset, keep, parameters = random_inputs(40, 8, 1)
    gradient = np.ones_like(states)
    clean = value_and_gradients(backend, (states, received, offset, keep, parameters), gradient)
    for values in (states, received, offset):
        values[keep == 0] = 1e200
    garbage = value_and_gradients(backend, (states, received, offset, keep, parameters), gradient)
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(garbage), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not clean[0][keep == 0].any()


@pytest.mark.parametrize("backend", BOTH)
def test_bfloat16(backend):
    inputs = random_inputs(64, 8, 4)
    exact, _ = value_and_gradients(backend, inputs, 1.0)
    rounded, gradients = value_and_gradients(backend, jax.tree.map(lambda v: jnp.asarray(v, jnp.bfloat16), inputs), 1.0)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves((rounded, gradients)))
    np.testing.assert_allclose(rounded.astype(np.float64), exact, rtol=0.05, atol=0.1)
