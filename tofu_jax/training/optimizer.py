"""AdamW with warm-up and cosine decay, and gradient clipping."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
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
    """The transformation; its state is a pytree of arrays, two long vectors each where it is made for `packed` parameters."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.scale_by_adam(),
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
        optax.scale_by_learning_rate(create_schedule(config, num_steps)),
    )


def decayed(params):
    """Which parameters weight decay shrinks: a tree of bool, True for the matrices of linear maps, False for all else."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key.endswith("kernel"), params)


def packed(params: Any) -> dict[str, jax.Array]:
    """Parameters, or gradients, as two vectors [.]: {"kernel": those that decay, "other": the others}.

    `decayed` holds for them too, by these names. A hundred small arrays would be a hundred small programs to compile
    and a hundred messages between devices.
    """
    parts: dict[str, list[jax.Array]] = {"kernel": [], "other": []}
    for leaf, decays in zip(jax.tree.leaves(params), jax.tree.leaves(decayed(params)), strict=True):
        parts["kernel" if decays else "other"].append(jnp.ravel(leaf))
    return {name: jnp.concatenate(leaves) for name, leaves in parts.items()}


def unpacked(vectors: dict[str, jax.Array], like: Any) -> Any:
    """The inverse of `packed`; like: a tree of arrays with the structure and shapes that are wanted."""
    used, leaves = dict.fromkeys(vectors, 0), []
    for leaf, decays in zip(jax.tree.leaves(like), jax.tree.leaves(decayed(like)), strict=True):
        name = "kernel" if decays else "other"
        leaves.append(vectors[name][used[name] : used[name] + leaf.size].reshape(leaf.shape))
        used[name] += leaf.size
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
