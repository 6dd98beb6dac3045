"""`ops.relational` for any device: a scan over chunks of edges, so that only a chunk's messages exist at a time."""

import jax
import jax.numpy as jnp

from tofu_jax.ops.edges import Edges
from tofu_jax.ops.reference import swap

CHUNK_EDGES = 512  # a chunk's messages (1 MB at Q·H·d = 512) stay in cache


def forward(states, present, scale, swap_scale, bias, edges: Edges) -> tuple[jax.Array, jax.Array]:
    """`relational_sum`."""
    shape = states.shape
    rows, swapped, sends = _node_rows(states, present)
    scale, swap_scale, bias = (_relation_rows(values, shape) for values in (scale, swap_scale, bias))
    counts = present.reshape(len(present), -1)

    def add_chunk(totals, chunk):
        total, arrived = totals
        s, r, i, mask = chunk
        visible = _visible(mask, shape)
        messages = scale[r] * rows[s] + swap_scale[r] * swapped[s] + bias[r] * sends[s]
        total = total.at[i].add(jnp.where(_wide(visible, shape), messages, 0), indices_are_sorted=True)
        arrived = arrived.at[i].add(jnp.where(visible, counts[s], 0), indices_are_sorted=True)
        return (total, arrived), None

    zeros = (jnp.zeros_like(rows, dtype=_wide_type(rows)), jnp.zeros_like(counts, dtype=_wide_type(counts)))
    total, arrived = jax.lax.scan(add_chunk, zeros, _chunks(edges))[0]
    return total.reshape(shape).astype(states.dtype), arrived.reshape(present.shape).astype(present.dtype)


def backward(states, present, scale, swap_scale, bias, edges: Edges, gradient) -> tuple[jax.Array, ...]:
    """Gradients for states, scale, swap_scale and bias."""
    shape = states.shape
    rows, swapped, sends = _node_rows(states, present)
    g, g_swapped, _ = _node_rows(gradient, None)
    scale = _relation_rows(scale, shape)
    # swap(C ⊙ g) = swap(C) ⊙ swap(g)
    swap_scale = _relation_rows(swap(swap_scale), shape)

    def add_chunk(totals, chunk):
        d_rows, d_scale, d_swap_scale, d_bias = totals
        s, r, i, mask = chunk
        visible = _wide(_visible(mask, shape), shape)
        g_i = jnp.where(visible, g[i], 0)
        g_swapped_i = jnp.where(visible, g_swapped[i], 0)
        return (
            d_rows.at[s].add(scale[r] * g_i + swap_scale[r] * g_swapped_i),
            d_scale.at[r].add(rows[s] * g_i),
            d_swap_scale.at[r].add(swapped[s] * g_i),
            d_bias.at[r].add(sends[s] * g_i),
        ), None

    zeros = tuple(jnp.zeros_like(values, dtype=_wide_type(values)) for values in (rows, scale, scale, scale))
    d_rows, *d_coefficients = jax.lax.scan(add_chunk, zeros, _chunks(edges))[0]
    d_coefficients = (values.reshape(-1, *shape[1:]).sum(2).astype(scale.dtype) for values in d_coefficients)
    d_states = jnp.where(present[..., None] > 0, d_rows.reshape(shape), 0)
    return d_states.astype(states.dtype), *d_coefficients


def _wide_type(values):
    """What values are summed in."""
    return jnp.promote_types(values.dtype, jnp.float32)


def _node_rows(states, present):
    """States of nodes that send, the same swapped, and who sends, as [N, Q·H·d]: flat rows keep gathers contiguous."""
    if present is not None:
        states = jnp.where(present[..., None] > 0, states, 0)
    sends = None if present is None else jnp.broadcast_to(present[..., None], states.shape).reshape(len(states), -1)
    return states.reshape(len(states), -1), swap(states).reshape(len(states), -1), sends


def _relation_rows(coefficients, shape):
    """[R, Q, d] coefficients, repeated for every head, as [R, Q·H·d]."""
    repeated = jnp.broadcast_to(coefficients[:, :, None], (len(coefficients), *shape[1:]))
    return repeated.reshape(len(coefficients), -1)


def _visible(mask, shape):
    """A chunk's mask [edges, 1 or Q] as [edges, 1 or Q·H]."""
    return mask if mask.shape[1] == 1 else jnp.repeat(mask, shape[2], axis=1)


def _wide(visible, shape):
    """[edges, 1 or Q·H] as [edges, 1 or Q·H·d]."""
    return visible if visible.shape[1] == 1 else jnp.repeat(visible, shape[3], axis=1)


def _chunks(edges: Edges) -> tuple[jax.Array, ...]:
    """Splits the edge axis into [E / size, size], size the largest power of two that divides E, or E where it is small."""
    num_edges = len(edges.senders)
    size = max(num_edges, 1) if num_edges <= CHUNK_EDGES else min(CHUNK_EDGES, num_edges & -num_edges)
    mask = edges.mask[:, None] if edges.mask.ndim == 1 else edges.mask
    values = (edges.senders, edges.relations, edges.receivers, mask)
    return tuple(v.reshape(num_edges // size, size, *v.shape[1:]) for v in values)
