"""Begins a wider model with what a narrower one knows: the same function, more room (Net2WiderNet, Chen et al. 2016)."""

import dataclasses
from typing import Any

import jax
import numpy as np

from tofu_jax.errors import TrainingError
from tofu_jax.model.tofu import ModelConfig
from tofu_jax.shapes import Array


def widened(params: Any, like: Any, config: ModelConfig, wide: ModelConfig, seed: int) -> Any:
    """Parameters of a wider model that scores as the narrower one does; of an equal one those that are given.

    Every channel is copied as often as the model becomes wider. What reads the copies divides its weight among them, by random
    shares, since copies that are read alike would learn alike for ever. Rotation pairs stay pairs, heads are copied whole.

    Args:
      params: of the narrower model, any tree of arrays of the form of `like`.
      like: parameters of the wider model; only their shapes are read.
      config: of the narrower model.
      wide: the same with a whole number of times its width and fusion heads.
      seed: of the shares.

    Returns:
      arrays with the shapes of `like`.

    Raises:
      TrainingError: `wide` is another model.
    """
    if wide == config:
        return params
    times = wide.width // config.width
    if wide != dataclasses.replace(config, width=times * config.width, fusion_heads=times * config.fusion_heads):
        raise TrainingError(
            f"The model to begin with is {config}, and config.model asks for {wide}. Give the same sizes, or a whole number of "
            "times the width and as many times the fusion_heads, and all else the same."
        )
    random = np.random.default_rng(seed)

    def widen(path: tuple, narrow: Array, wide: Array) -> Array:
        names, values = [key.key for key in path], np.asarray(narrow)
        changed = [axis for axis in range(values.ndim) if values.shape[axis] != wide.shape[axis]]
        last, copied = values.ndim - 1, {}
        for axis in changed:
            weights = len(config.operators) if axis == last and names[-3:-1] == ["messages", "relations"] else 0
            copied[axis] = _copied(values.shape[axis], wide.shape[axis], config.width // 2, weights)
            values = values.take(copied[axis], axis)
        # Of a kernel's axes, what it reads stands first; the last one is always written.
        if names[-1].endswith("kernel") and changed and changed[0] != last:
            values = values * _shares(random, values.shape, changed[0], copied[changed[0]])
        return values

    return jax.tree_util.tree_map_with_path(widen, params, like)


def _copied(narrow: int, wide: int, half: int, weights: int) -> Array:
    """For each position of a wide axis the position of the narrow axis that it copies.

    Channels j and j + d/2 are a pair, so that an axis consists of halves of d/2 channels, each copied for itself; attention
    heads are a part of their own. What `MessageMixture` maps relations to begins with `weights` numbers that nothing widens.
    """
    half = min(half, narrow)
    firsts = np.arange(weights, narrow, half)[:, None]
    channels = firsts + np.tile(np.arange(half), (wide - weights) // (narrow - weights))
    return np.concatenate([np.arange(weights), channels.reshape(-1)])


def _shares(random: np.random.Generator, shape: tuple[int, ...], axis: int, copied: Array) -> Array:
    """Random shares > 0 of the copies of each row along `axis`, for every result anew; they add up to 1."""
    drawn = np.moveaxis(random.exponential(size=shape), axis, 0)
    total = np.zeros((copied.max() + 1, *drawn.shape[1:]))
    np.add.at(total, copied, drawn)
    return np.moveaxis(drawn / total[copied], 0, axis).astype(np.float32)
