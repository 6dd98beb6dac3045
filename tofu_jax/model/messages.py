"""Mixture of messages, collapsed: K operators on a sender's state become one affine map per relation and query."""

import itertools
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
        sizes = {"translation": width, "product": width, "rotation": width // 2}
        unknown = [name for name in self.operators if name not in sizes]
        if unknown:
            raise ValueError(f"Unknown message operators {unknown}; choose among {', '.join(OPERATORS)}.")
        # One linear map for everything that depends on ρ; [r_ρ ‖ r_q] never has to be written down.
        ends = list(itertools.accumulate([len(self.operators), *(sizes[name] for name in self.operators)]))
        mapped = nn.Dense(ends[-1], name="relations")(relations)
        logits, *parameters = jnp.split(mapped, ends[:-1], axis=-1)
        logits += nn.Dense(len(self.operators), use_bias=False, name="query")(query)
        weights = nn.softmax(logits)

        scale = swap_scale = bias = jnp.zeros_like(relations)
        for index, (operator, parameter) in enumerate(zip(self.operators, parameters, strict=True)):
            weight = weights[..., index, None]
            if operator == "translation":
                scale += weight
                bias += weight * parameter
            elif operator == "product":
                scale += weight * parameter
            else:
                cos, sin = jnp.cos(parameter), jnp.sin(parameter)
                scale += weight * jnp.concatenate([cos, cos], axis=-1)
                swap_scale += weight * jnp.concatenate([-sin, sin], axis=-1)
        return Coefficients(scale, swap_scale, bias)
