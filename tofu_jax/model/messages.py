"""Mixture of messages, collapsed: K operators on a sender's state become one affine map per relation and query."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

OPERATORS = ("translation", "product", "rotation")


class Coefficients(NamedTuple):
    """A, C and bias of `ops.relational`, [R, Q, d] each."""

    scale: jax.Array
    swap_scale: jax.Array
    bias: jax.Array


class MessageMixture(nn.Module):
    """Weights π[ρ, q] over operators and their collapse (TOFU, mixture-of-message fusion).

    translation x + t_ρ, product x ⊙ p_ρ, rotation of the channel pairs (j, j + d/2) by angles θ_ρ; π is a softmax of a linear
    map of [r_ρ ‖ r_q]. The weights depend on relation and query, never on the edge: that is what lets the mixture collapse.
    """

    operators: tuple[str, ...] = OPERATORS

    @nn.compact
    def __call__(self, relations: jax.Array, query: jax.Array) -> Coefficients:
        """Collapses the mixture.

        Args:
          relations: r, states of the relation types [R, Q, d].
          query: r_q, state of the query relation [Q, d].

        Returns:
          Coefficients [R, Q, d].
        """
        width = relations.shape[-1]
        pair = jnp.concatenate([relations, jnp.broadcast_to(query, relations.shape)], axis=-1)
        weights = nn.softmax(nn.Dense(len(self.operators), name="weights")(pair))
        scale = swap_scale = bias = jnp.zeros_like(relations)
        for index, operator in enumerate(self.operators):
            weight = weights[..., index, None]
            if operator == "translation":
                scale += weight
                bias += weight * nn.Dense(width, name="translation")(relations)
            elif operator == "product":
                scale += weight * nn.Dense(width, name="product")(relations)
            elif operator == "rotation":
                angle = nn.Dense(width // 2, name="rotation")(relations)
                cos, sin = jnp.cos(angle), jnp.sin(angle)
                scale += weight * jnp.concatenate([cos, cos], axis=-1)
                swap_scale += weight * jnp.concatenate([-sin, sin], axis=-1)
            else:
                raise ValueError(f"Unknown message operator {operator!r}; choose among {', '.join(OPERATORS)}.")
        return Coefficients(scale, swap_scale, bias)
