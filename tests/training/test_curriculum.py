"""Shares of the graphs: by size, as listed, and on the way from one to the other."""

import numpy as np
import pytest

from tofu_jax.errors import TrainingError
from tofu_jax.training.curriculum import create_curriculum
from tofu_jax.training.defaults import default_config

FACTS, SOURCE = (100, 400, 400), (0, 1, 1)  # the second graph of the configuration was cut in two


def shares(step=0, **settings):
    config = default_config()
    config.graphs = ("a", "b")
    config.update(settings)
    return create_curriculum(config, FACTS, SOURCE).shares(step).tolist()


def test_by_size():
    assert shares(graph_exponent=0.0) == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert shares(graph_exponent=0.5) == pytest.approx([1 / 5, 2 / 5, 2 / 5])
    assert shares(graph_exponent=1.0) == pytest.approx([1 / 9, 4 / 9, 4 / 9])


def test_as_listed_and_shared_by_the_sub_graphs_of_a_graph():
    assert shares(graph_weights=(3.0, 1.0)) == pytest.approx([3 / 4, 1 / 8, 1 / 8])
    assert shares(graph_weights=(0.0, 1.0)) == pytest.approx([0, 1 / 2, 1 / 2])


@pytest.mark.parametrize("weights", [(1.0,), (1.0, -1.0), (0.0, 0.0), (1.0, float("nan"))])
def test_lists_that_do_not_fit(weights):
    with pytest.raises(TrainingError, match=r"config\.graph_weights is .*one number for each of the 2 config\.graphs"):
        shares(graph_weights=weights)
    with pytest.raises(TrainingError, match=r"config\.first_graph_weights"):
        shares(first_graph_weights=weights, curriculum_steps=1)


def test_a_curriculum_is_a_straight_line_and_then_stays():
    settings = {"curriculum_steps": 10, "first_graph_weights": (1.0, 0.0), "graph_exponent": 0.0}
    for step, first in ((0, 1.0), (5, 2 / 3), (10, 1 / 3), (1000, 1 / 3)):
        found = shares(step, **settings)
        assert found[0] == pytest.approx(first)
        assert np.sum(found) == pytest.approx(1)
    # Without steps there is no such way.
    assert shares(0, first_graph_weights=(1.0, 0.0), graph_exponent=0.0) == pytest.approx([1 / 3, 1 / 3, 1 / 3])
