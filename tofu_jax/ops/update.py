"""How a state takes in what it received, everywhere in the model.

    out = x + ReLU(LayerNorm(x W + m U + bias + offset) ⊙ scale + shift)    where keep > 0, else 0

On CPUs one C++ pass over the rows, which computes no row that is not kept (compiled/update.cc); elsewhere XLA's.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

EPSILON = 1e-5  # of the LayerNorm; compiled/update.cc has the same
_WIDTHS = (8, 16, 32, 64)  # that the C++ is compiled for
_MOST_PARTS = 16
_ROWS_PER_PART = 1024


class UpdateParameters(NamedTuple):
    """W, U [d, d] and bias, scale, shift [d]."""

    state: jax.Array
    received: jax.Array
    bias: jax.Array
    scale: jax.Array
    shift: jax.Array


def residual_update(
    states: jax.Array, received: jax.Array, offset: jax.Array, keep: jax.Array, parameters: UpdateParameters, backend: str
) -> jax.Array:
    """Updates rows (formula above).

    Args:
      states, received: x, m, [rows, d].
      offset: [rows / n, d]: one row for n consecutive rows of x; or [0, d], none.
      keep: [rows] of 0 and 1 in the dtype of `states`. It has no gradient.
      parameters: in the dtype of `states`.
      backend: of `ops.relational`.

    Returns:
      [rows, d].
    """
    compiled = backend == "cpu" and states.shape[1] in _WIDTHS
    return (_compiled if compiled else _plain)(states, received, offset, keep, parameters)


def _plain(states, received, offset, keep, parameters):
    p = parameters
    total = states @ p.state + received @ p.received + p.bias
    if len(offset):
        total = (total.reshape(len(offset), -1, total.shape[1]) + offset[:, None]).reshape(total.shape)
    centred = total - total.mean(axis=1, keepdims=True)
    normed = centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=1, keepdims=True) + EPSILON)
    # Where a row is not kept its gradient has to be zero, not 0 · ∞.
    return jnp.where(keep[:, None] > 0, states + jax.nn.relu(normed * p.scale + p.shift), 0)


@jax.custom_vjp
def _compiled(states, received, offset, keep, parameters):
    result = jax.ShapeDtypeStruct(states.shape, states.dtype)
    return jax.ffi.ffi_call("tofu_update", result)(states, received, offset, keep, *parameters)


def _forward(*values):
    return _compiled(*values), values


def _backward(saved, gradient):
    states, received, offset, keep, parameters = saved
    rows = len(states)
    num_parts = min(max(rows // _ROWS_PER_PART, 1), _MOST_PARTS)
    sizes = [p.size for p in parameters]
    parts = jax.ShapeDtypeStruct((num_parts, sum(sizes)), jnp.promote_types(states.dtype, jnp.float32))
    results = (*(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in (states, received, offset)), parts)
    call = jax.ffi.ffi_call("tofu_update_gradient", results)
    *d_inputs, parts = call(states, received, offset, keep, *parameters, gradient)
    summed = jnp.split(parts.sum(axis=0).astype(states.dtype), list(itertools.accumulate(sizes[:-1])))
    d_parameters = UpdateParameters(*(total.reshape(p.shape) for total, p in zip(summed, parameters, strict=True)))
    return *d_inputs, jnp.zeros_like(keep), d_parameters


_compiled.defvjp(_forward, _backward)
