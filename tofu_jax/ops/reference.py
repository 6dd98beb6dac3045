"""The definition of `ops.relational`, message by message: what the other backends are tested and timed against."""

import jax
import jax.numpy as jnp

from tofu_jax.ops.edges import Edges


def swap(states: jax.Array) -> jax.Array:
    """Exchanges the two halves of the last axis."""
    first, second = jnp.split(states, 2, axis=-1)
    return jnp.concatenate([second, first], axis=-1)


def messages(states, present, scale, swap_scale, bias, edges: Edges) -> tuple[jax.Array, jax.Array]:
    """What each edge sends, [E, Q, H, d] (in float32 or wider), 0 where it sends nothing; and whether it does, [E, Q, H]."""
    wide = jnp.promote_types(states.dtype, jnp.float32)
    scale, swap_scale, bias = (values.astype(wide)[edges.relations][:, :, None] for values in (scale, swap_scale, bias))
    sent = states.astype(wide)[edges.senders]
    mask = edges.mask[:, None, None] if edges.mask.ndim == 1 else edges.mask[:, :, None]
    # Masked edges may stand anywhere and hold anything.
    visible = mask & (present[edges.senders] > 0)
    return jnp.where(visible[..., None], scale * sent + swap_scale * swap(sent) + bias, 0), visible


def forward(states, present, scale, swap_scale, bias, edges: Edges) -> tuple[jax.Array, jax.Array]:
    """`relational_sum`. Writes all [E, Q, H, d] messages to memory."""
    sent, visible = messages(states, present, scale, swap_scale, bias, edges)

    def by_receiver(values):
        return jax.ops.segment_sum(values, edges.receivers, len(states), indices_are_sorted=True).astype(states.dtype)

    return by_receiver(sent), by_receiver(visible.astype(sent.dtype))


def backward(states, present, scale, swap_scale, bias, edges: Edges, gradient) -> tuple[jax.Array, ...]:
    """Gradients for states, scale, swap_scale and bias."""

    def sums(*values):
        return forward(values[0], present, *values[1:], edges)[0]

    return jax.vjp(sums, states, scale, swap_scale, bias)[1](gradient)
