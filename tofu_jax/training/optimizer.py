"""AdamW with warm-up and cosine decay, and gradient clipping."""

import dataclasses
import functools

import jax
import optax


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Settings of the optimizer.

    Attributes:
      learning_rate: at the end of the warm-up.
      warmup_steps: linear from 0.
      weight_decay: on the matrices of linear maps; biases, norms, gates and learned vectors are not decayed.
      clip_norm: gradients are scaled down to this global norm.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 1e-4
    clip_norm: float = 1.0


def create_schedule(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then cosine decay to a hundredth at `num_steps`."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=min(config.warmup_steps, num_steps // 2),
        decay_steps=num_steps,
        end_value=config.learning_rate / 100,
    )


@functools.cache  # the same settings, the same object: a training step that is compiled for it can be used again
def create_optimizer(config: OptimizerConfig, num_steps: int) -> optax.GradientTransformation:
    """The transformation; its state is a pytree of arrays."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.flatten(optax.scale_by_adam()),  # one long vector compiles and runs faster than a hundred small arrays
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
        optax.scale_by_learning_rate(create_schedule(config, num_steps)),
    )


def decayed(params):
    """Which parameters weight decay shrinks: a tree of bool, True for the matrices of linear maps, False for all else."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key.endswith("kernel"), params)
