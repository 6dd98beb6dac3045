"""How a state takes in what it received: the same everywhere in the model."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.ops.relational import active_backend
from tofu_jax.ops.update import UpdateParameters, residual_update


class ResidualUpdate(nn.Module):
    """state + ReLU(LayerNorm(linear of [state, received, shared])).

    The linear map of the concatenation is a sum of one map per part: the same function without writing it down.
    """

    width: int

    @nn.compact
    def __call__(
        self, state: jax.Array, received: jax.Array, shared: jax.Array | None = None, keep: jax.Array | None = None
    ) -> jax.Array:
        """Updates states.

        Args:
          state, received: [..., d].
          shared: [..., 1, d], the same for all that differ in the last axis but one; None for nothing.
          keep: [...] of 0 and 1, where there is a result, which else is 0; None for everywhere.

        Returns:
          [..., d].
        """
        matrix, size = nn.initializers.lecun_normal(), (self.width, self.width)
        parameters = UpdateParameters(
            state=self.param("state_kernel", matrix, size),
            received=self.param("received_kernel", matrix, size),
            bias=self.param("bias", nn.initializers.zeros, (self.width,)),
            scale=self.param("scale", nn.initializers.ones, (self.width,)),
            shift=self.param("shift", nn.initializers.zeros, (self.width,)),
        )
        if shared is None:
            offset = jnp.zeros((0, self.width), state.dtype)
        else:
            offset = nn.Dense(self.width, use_bias=False, name="shared")(shared).reshape(-1, self.width)
        keep = jnp.ones(state.shape[:-1], state.dtype) if keep is None else keep
        rows = (state.reshape(-1, self.width), received.reshape(-1, self.width))
        return residual_update(*rows, offset, keep.reshape(-1), parameters, active_backend()).reshape(state.shape)
