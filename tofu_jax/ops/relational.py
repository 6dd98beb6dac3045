"""The hot operation: for every query, sum over the edges into a node an affine function of the source's state.

    out[i, q, h] = Σ over edges (s, ρ, i):  A[ρ, q] ⊙ x[s, q, h] + C[ρ, q] ⊙ swap(x[s, q, h]) + bias[ρ, q] · present[s, q, h]

`swap` exchanges the two halves of a state, so the channels (j, j + d/2) form the pair that a rotation turns. Translation,
product and rotation messages, and any mixture of them with weights per relation and query, have this form (TOFU's mixture of
messages, collapsed before any edge is touched).

States are node-major, [N, Q, H, d], so that an edge reads one contiguous row.
"""

import jax
import jax.numpy as jnp

CHUNK_EDGES = 512  # a chunk's messages (1 MB at Q·H·d = 512) stay in cache


def swap(states: jax.Array) -> jax.Array:
    """Exchanges the two halves of the last axis."""
    first, second = jnp.split(states, 2, axis=-1)
    return jnp.concatenate([second, first], axis=-1)


def relational_sum_reference(
    states: jax.Array,
    present: jax.Array,
    scale: jax.Array,
    swap_scale: jax.Array,
    bias: jax.Array,
    edges: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
) -> jax.Array:
    """The definition, message by message; arguments as in `relational_sum`. Writes all [E, Q, H, d] messages to memory."""
    senders, relations, receivers, mask = edges
    scale, swap_scale, bias = (values[relations][:, :, None] for values in (scale, swap_scale, bias))
    sent = states[senders]
    messages = scale * sent + swap_scale * swap(sent) + bias * present[senders][..., None]
    messages = jnp.where(mask[:, None, None, None], messages, 0)
    return jax.ops.segment_sum(messages, receivers, states.shape[0], indices_are_sorted=True)


@jax.custom_vjp
def relational_sum(
    states: jax.Array,
    present: jax.Array,
    scale: jax.Array,
    swap_scale: jax.Array,
    bias: jax.Array,
    edges: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
) -> jax.Array:
    """Sums affine messages over incoming edges without ever holding more than CHUNK_EDGES of them (formula above).

    The gradients are those of the formula: with g the gradient of `out`, over edges (s, ρ, i),
    dx[s] = Σ A[ρ] ⊙ g[i] + swap(C[ρ] ⊙ g[i]), dA[ρ] = Σ x[s] ⊙ g[i], dC[ρ] = Σ swap(x[s]) ⊙ g[i],
    dbias[ρ] = Σ present[s] · g[i], the last three summed over h. `present` has no gradient.

    Args:
      states: x, [N, Q, H, d], d even.
      present: [N, Q, H] in the dtype of `states`, 1 where a node sends its bias, else 0.
      scale, swap_scale, bias: A, C, bias, [R, Q, d].
      edges: senders, relations, receivers int32 [E], sorted by receiver, and mask bool [E], False where an edge sends
        nothing. E should be a multiple of a large power of two, as buckets are.

    Returns:
      [N, Q, H, d].
    """
    rows, swapped, sends = _node_rows(states, present)
    scale, swap_scale, bias = (_relation_rows(values, states.shape) for values in (scale, swap_scale, bias))

    def add_chunk(total, chunk):
        s, r, i, mask = chunk
        messages = scale[r] * rows[s] + swap_scale[r] * swapped[s] + bias[r] * sends[s]
        return total.at[i].add(jnp.where(mask[:, None], messages, 0), indices_are_sorted=True), None

    return jax.lax.scan(add_chunk, jnp.zeros_like(rows), _chunks(edges))[0].reshape(states.shape)


def _forward(states, present, scale, swap_scale, bias, edges):
    saved = (states, present, scale, swap_scale, bias, edges)
    return relational_sum(*saved), saved


def _backward(saved, gradient):
    states, present, scale, swap_scale, _, edges = saved
    rows, swapped, sends = _node_rows(states, present)
    g, g_swapped, _ = _node_rows(gradient, present)
    scale = _relation_rows(scale, states.shape)
    # swap(C ⊙ g) = swap(C) ⊙ swap(g)
    swap_scale = _relation_rows(swap(swap_scale), states.shape)

    def add_chunk(totals, chunk):
        d_rows, d_scale, d_swap_scale, d_bias = totals
        s, r, i, mask = chunk
        g_i = jnp.where(mask[:, None], g[i], 0)
        g_swapped_i = jnp.where(mask[:, None], g_swapped[i], 0)
        return (
            d_rows.at[s].add(scale[r] * g_i + swap_scale[r] * g_swapped_i),
            d_scale.at[r].add(rows[s] * g_i),
            d_swap_scale.at[r].add(swapped[s] * g_i),
            d_bias.at[r].add(sends[s] * g_i),
        ), None

    zeros = (jnp.zeros_like(rows), *(jnp.zeros_like(scale),) * 3)
    d_rows, *d_coefficients = jax.lax.scan(add_chunk, zeros, _chunks(edges))[0]
    d_coefficients = (values.reshape(-1, *states.shape[1:]).sum(2) for values in d_coefficients)
    return d_rows.reshape(states.shape), jnp.zeros_like(present), *d_coefficients, None


relational_sum.defvjp(_forward, _backward)


def _node_rows(states: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """States, swapped states and `present` as [N, Q·H·d]: flat rows keep gathers and sums contiguous."""
    sends = jnp.broadcast_to(present[..., None], states.shape)
    return tuple(values.reshape(len(states), -1) for values in (states, swap(states), sends))


def _relation_rows(coefficients: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """[R, Q, d] coefficients, repeated for every head, as [R, Q·H·d]."""
    repeated = jnp.broadcast_to(coefficients[:, :, None], (len(coefficients), *shape[1:]))
    return repeated.reshape(len(coefficients), -1)


def _chunks(edges: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Splits the edge axis into [E / size, size], size the largest power of two that divides E, or E where it is small."""
    num_edges = len(edges[0])
    size = num_edges if num_edges <= CHUNK_EDGES else min(CHUNK_EDGES, num_edges & -num_edges)
    return tuple(values.reshape(-1, size) for values in edges)


def reachable(present: jax.Array, edges: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> jax.Array:
    """Which nodes are present or have an incoming edge from a node that is.

    Args:
      present: [N, Q, H] of 0 and 1.
      edges: as in `relational_sum`.

    Returns:
      [N, Q, H] of 0 and 1, the same dtype.
    """
    senders, _, receivers, mask = edges
    rows = jax.lax.stop_gradient(present).reshape(len(present), -1)
    sent = jnp.where(mask[:, None], rows[senders], 0)
    reached = jax.ops.segment_sum(sent, receivers, len(present), indices_are_sorted=True)
    return jnp.minimum(rows + reached, 1).reshape(present.shape)
