"""`ops.relational` for any device.

Edges come in rows of one receiver (`edges.Rows`), so a row is summed while its messages are made and memory sees one addition
for up to ROW of them. A scan over chunks of rows keeps what exists at a time in cache. Gradients do the same by sender and by
relation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tofu_jax.ops.edges import ROW, Edges, Rows
from tofu_jax.ops.reference import swap

CHUNK_ROWS = 256


def forward(states, present, scale, swap_scale, bias, edges: Edges) -> tuple[jax.Array, jax.Array]:
    """`relational_sum`."""
    shape = states.shape
    x, x_swapped, sends = _node_rows(states, present)
    scale, swap_scale, bias = (_relation_rows(values, shape) for values in (scale, swap_scale, bias))
    counts = present.reshape(len(present), -1)

    def messages(edge, visible):
        s, r = edges.senders[edge], edges.relations[edge]
        sent = scale[r] * x[s] + swap_scale[r] * x_swapped[s] + bias[r] * sends[s]
        return jnp.where(_wide(visible, shape), sent, 0), jnp.where(_narrow(visible, shape), counts[s], 0)

    total, arrived = _sum_rows(messages, (x, counts), len(states), edges.receiver_rows, edges.mask)
    return total.reshape(shape), arrived.reshape(present.shape)


def backward(states, present, scale, swap_scale, bias, edges: Edges, gradient) -> tuple[jax.Array, ...]:
    """Gradients for states, scale, swap_scale and bias."""
    shape = states.shape
    x, x_swapped, sends = _node_rows(states, present)
    g, g_swapped = gradient.reshape(x.shape), swap(gradient).reshape(x.shape)
    rows_scale = _relation_rows(scale, shape)
    # swap(C ⊙ g) = swap(C) ⊙ swap(g)
    rows_swap_scale = _relation_rows(swap(swap_scale), shape)

    def to_sender(edge, visible):
        r, i = edges.relations[edge], edges.receivers[edge]
        return (jnp.where(_wide(visible, shape), rows_scale[r] * g[i] + rows_swap_scale[r] * g_swapped[i], 0),)

    def to_relation(edge, visible):
        s, i = edges.senders[edge], edges.receivers[edge]
        received = jnp.where(_wide(visible, shape), g[i], 0)
        return x[s] * received, x_swapped[s] * received, sends[s] * received

    (d_x,) = _sum_rows(to_sender, (x,), len(states), edges.sender_rows, edges.mask)
    d_coefficients = _sum_rows(to_relation, (x, x, x), len(scale), edges.relation_rows, edges.mask)
    d_coefficients = (values.reshape(-1, *shape[1:]).sum(2).astype(scale.dtype) for values in d_coefficients)
    return jnp.where(present[..., None] > 0, d_x.reshape(shape), 0), *d_coefficients


def _sum_rows(messages: Callable, like: tuple, num_owners: int, rows: Rows, mask: jax.Array) -> tuple[jax.Array, ...]:
    """Sums messages by the owner of their row, in float32 at least.

    Args:
      messages: (edge int32 [C], visible bool [C, 1 or Q]) → arrays [C, .], zero where not visible.
      like: arrays [., .] of the width and type of the sums.
      num_owners: how many there are.
      rows, mask: of the edges.
    """
    zeros = tuple(jnp.zeros((num_owners, v.shape[1]), jnp.promote_types(v.dtype, jnp.float32)) for v in like)
    num_edges, num_rows = len(mask), len(rows.owner)
    if not num_edges or not num_rows:
        return tuple(total.astype(v.dtype) for total, v in zip(zeros, like, strict=True))
    mask = mask.reshape(num_edges, -1)
    num_chunks = -(-num_rows // CHUNK_ROWS)
    size = -(-num_rows // num_chunks)
    missing = num_chunks * size - num_rows
    owner = jnp.pad(rows.owner, (0, missing), mode="edge").reshape(num_chunks, size)
    edge = jnp.pad(rows.edge, ((0, missing), (0, 0)), constant_values=num_edges).reshape(num_chunks, size, ROW)

    def add_chunk(totals, chunk):
        owner, edge = chunk
        sums = (0,) * len(totals)
        for column in range(ROW):  # written out, so that a message is made where it is summed
            position = jnp.minimum(edge[:, column], num_edges - 1)
            visible = mask[position] & (edge[:, column] < num_edges)[:, None]
            found = messages(position, visible)
            sums = tuple(a + b.astype(t.dtype) for a, b, t in zip(sums, found, totals, strict=True))
        return tuple(t.at[owner].add(s, indices_are_sorted=True) for t, s in zip(totals, sums, strict=True)), None

    totals = jax.lax.scan(add_chunk, zeros, (owner, edge))[0]
    return tuple(total.astype(v.dtype) for total, v in zip(totals, like, strict=True))


def _node_rows(states, present):
    """States of nodes that send, the same swapped, and who sends, as [N, Q·H·d]: flat rows keep gathers contiguous."""
    states = jnp.where(present[..., None] > 0, states, 0)
    sends = jnp.broadcast_to(present[..., None], states.shape)
    return tuple(values.reshape(len(states), -1) for values in (states, swap(states), sends))


def _relation_rows(coefficients, shape):
    """[R, Q, d] coefficients, repeated for every head, as [R, Q·H·d]."""
    repeated = jnp.broadcast_to(coefficients[:, :, None], (len(coefficients), *shape[1:]))
    return repeated.reshape(len(coefficients), -1)


def _narrow(visible, shape):
    """[C, 1 or Q] as [C, 1 or Q·H]."""
    return visible if visible.shape[1] == 1 else jnp.repeat(visible, shape[2], axis=1)


def _wide(visible, shape):
    """[C, 1 or Q] as [C, 1 or Q·H·d]."""
    return visible if visible.shape[1] == 1 else jnp.repeat(visible, shape[2] * shape[3], axis=1)
