"""Queries by memory: fewer on larger graphs, never more than asked for, never none."""

import dataclasses

import pytest

from tofu_jax.model.tofu import ModelConfig
from tofu_jax.training.batch_size import heads_within, query_bytes
from tofu_jax.training.mixture import BatchConfig

MODEL = ModelConfig(width=32, layers=5)


def test_without_a_limit_all_graphs_get_the_same():
    assert [heads_within(BatchConfig(heads=6), MODEL, size, 1) for size in (10, 10**9)] == [6, 6]


def test_halved_until_they_fit():
    config = BatchConfig(relations=4, heads=16, memory_gib=4 * 8 * query_bytes(MODEL, 1000) / 2**30)
    assert [heads_within(config, MODEL, size, 1) for size in (10, 500, 501, 1000, 1001, 10**9)] == [16, 16, 8, 8, 4, 1]


@pytest.mark.parametrize(("devices", "accumulate"), [(4, 1), (1, 4), (2, 2)])
def test_devices_and_parts_make_room(devices, accumulate):
    config = BatchConfig(relations=4, heads=16, memory_gib=4 * query_bytes(MODEL, 1000) / 2**30)
    assert heads_within(config, MODEL, 1000, 1) == 1
    config = dataclasses.replace(config, accumulate=accumulate)
    assert heads_within(config, MODEL, 1000, devices) == 4
