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
    messages = _messages(states[senders], present[senders], scale[relations], swap_scale[relations], bias[relations])
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
      states: x, [N, Q, H, d], or [N, 1, 1, d] for states that no query has a say in; d even.
      present: [N, Q, H] or [N, 1, 1] in the dtype of `states`, 1 where a node sends its bias, else 0.
      scale, swap_scale, bias: A, C, bias, [R, Q, d].
      edges: senders, relations, receivers int32 [E], sorted by receiver, and mask bool [E], False where an edge sends
        nothing. E should be a multiple of a large power of two, as buckets are.

    Returns:
      [N, Q, H, d] (H = 1 where the states have no query axis).
    """

    def add_chunk(total, chunk):
        senders, relations, receivers, mask = chunk
        messages = _messages(
            states[senders], present[senders], scale[relations], swap_scale[relations], bias[relations]
        )
        messages = jnp.where(mask[:, None, None, None], messages, 0)
        return total.at[receivers].add(messages, indices_are_sorted=True), None

    shape = (states.shape[0], scale.shape[1], *states.shape[2:])
    return jax.lax.scan(add_chunk, jnp.zeros(shape, states.dtype), _chunks(edges))[0]


def _forward(states, present, scale, swap_scale, bias, edges):
    return relational_sum(states, present, scale, swap_scale, bias, edges), (
        states,
        present,
        scale,
        swap_scale,
        bias,
        edges,
    )


def _backward(saved, gradient):
    states, present, scale, swap_scale, bias, edges = saved

    def add_chunk(totals, chunk):
        d_states, d_scale, d_swap_scale, d_bias = totals
        senders, relations, receivers, mask = chunk
        g = jnp.where(mask[:, None, None, None], gradient[receivers], 0)
        x = states[senders]
        to_sender = scale[relations][:, :, None] * g + swap(swap_scale[relations][:, :, None] * g)
        if states.shape[1] == 1:
            to_sender = to_sender.sum(1, keepdims=True)
        return (
            d_states.at[senders].add(to_sender),
            d_scale.at[relations].add((x * g).sum(2)),
            d_swap_scale.at[relations].add((swap(x) * g).sum(2)),
            d_bias.at[relations].add((present[senders][..., None] * g).sum(2)),
        ), None

    zeros = tuple(jnp.zeros_like(value) for value in (states, scale, swap_scale, bias))
    d_states, *d_coefficients = jax.lax.scan(add_chunk, zeros, _chunks(edges))[0]
    return d_states, jnp.zeros_like(present), *d_coefficients, None


relational_sum.defvjp(_forward, _backward)


def _messages(x: jax.Array, present: jax.Array, scale: jax.Array, swap_scale: jax.Array, bias: jax.Array) -> jax.Array:
    """The summand for gathered rows: x [e, Q, H, d], present [e, Q, H], coefficients [e, Q, d]."""
    scale, swap_scale, bias = scale[:, :, None], swap_scale[:, :, None], bias[:, :, None]
    return scale * x + swap_scale * swap(x) + bias * present[..., None]


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
    sent = jnp.where(mask[:, None, None], present[senders], 0)
    return jnp.minimum(present + jax.ops.segment_sum(sent, receivers, len(present), indices_are_sorted=True), 1)
