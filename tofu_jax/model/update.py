"""How a state takes in what it received: the same everywhere in the model."""

import flax.linen as nn
import jax


class ResidualUpdate(nn.Module):
    """state + ReLU(LayerNorm(linear of [state, received, …])).

    The linear map of the concatenation is a sum of one map per part, on rows without further axes: the same function at a
    third of the time and memory of a concatenation on the CPU.
    """

    width: int

    @nn.compact
    def __call__(self, state: jax.Array, *received: jax.Array) -> jax.Array:
        """Updates states.

        Args:
          state: [..., d].
          received: arrays of the same number of axes, the last of any width; leading axes may be 1 where `state` has more.

        Returns:
          [..., d].
        """
        total = nn.Dense(self.width, name="state")(_rows(state)).reshape(state.shape)
        for index, values in enumerate(received):
            mapped = nn.Dense(self.width, use_bias=False, name=f"received_{index}")(_rows(values))
            total += mapped.reshape(*values.shape[:-1], self.width)
        normed = nn.LayerNorm(epsilon=1e-5, name="norm")(_rows(total))
        return state + nn.relu(normed).reshape(state.shape)


def _rows(values: jax.Array) -> jax.Array:
    return values.reshape(-1, values.shape[-1])
