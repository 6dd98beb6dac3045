"""How often a step draws each graph of the mixture: uniform, by size or as listed, and moving from one to the other."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from tofu_jax.errors import TrainingError
from tofu_jax.shapes import Array


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """Shares of the graphs by step: a straight line from the first to the last, then the last.

    Attributes:
      last: float64 [graphs], adds up to 1.
      first: likewise; None: the last from the beginning.
      steps: at which the last are reached.
    """

    last: Array
    first: Array | None = None
    steps: int = 0

    def shares(self, step: int) -> Array:
        """Probability of each graph at a step, float64 [graphs]."""
        if self.first is None or step >= self.steps:
            return self.last
        return self.first + step / self.steps * (self.last - self.first)


def by_size(num_facts: Sequence[int], exponent: float) -> Array:
    """Shares ∝ (number of facts) ** exponent; 0: uniform."""
    weights = np.asarray(num_facts, np.float64) ** exponent
    return weights / weights.sum()


def create_curriculum(config: ConfigDict, num_facts: Sequence[int], source: Sequence[int]) -> Curriculum:
    """The curriculum of a configuration (`defaults.default_config`).

    Args:
      config: of the experiment.
      num_facts: of each graph of the mixture.
      source: for each of them, the position in config.graphs that it comes from: what is listed for a graph that was cut into
        sub-graphs is shared by these.

    Raises:
      TrainingError: weights are listed that do not fit the graphs.
    """
    last = _shares("graph_weights", config.graph_weights, config.graph_exponent, config, num_facts, source)
    if not config.curriculum_steps:
        return Curriculum(last)
    first = _shares("first_graph_weights", config.first_graph_weights, config.first_graph_exponent, config, num_facts, source)
    return Curriculum(last, first, config.curriculum_steps)


def _shares(name, listed, exponent, config, num_facts, source) -> Array:
    """Shares [graphs] by the list, or, where it is empty, by size."""
    if not listed:
        return by_size(num_facts, exponent)
    weights = np.asarray(listed, np.float64)
    if len(weights) != len(config.graphs) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum():
        raise TrainingError(
            f"config.{name} is {tuple(listed)}: give one number for each of the {len(config.graphs)} config.graphs, none below "
            "0 and not all of them 0, or leave it empty."
        )
    source = np.asarray(source)
    shares = weights[source] / np.bincount(source, minlength=len(weights))[source]
    return shares / shares.sum()
