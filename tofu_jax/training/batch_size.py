"""How many queries a step asks of a graph: as many as a device has memory for."""

from tofu_jax.model.tofu import ModelConfig
from tofu_jax.training.mixture import BatchConfig

_ARRAYS_PER_LAYER = 3  # of the size of a query's states, kept for the gradient, by what the compiler says
_OTHER_ARRAYS = 6


def query_bytes(model: ModelConfig, num_entities: int) -> int:
    """Roughly what each query of a training step takes: states of all entities, float32, kept in every layer."""
    return 4 * num_entities * model.width * (_ARRAYS_PER_LAYER * model.layers + _OTHER_ARRAYS)


def heads_within(config: BatchConfig, model: ModelConfig, num_entities: int, num_devices: int) -> int:
    """Queries per query relation that a graph is asked: config.heads, halved until they fit.

    By halves, so that few programs have to be compiled. Never fewer than 1; whether that fits, `memory.check_memory` says.

    Args:
      config: with the memory that queries may take on a device.
      model: sizes of the model.
      num_entities: N, padded.
      num_devices: over all processes.
    """
    heads = config.heads
    if config.memory_gib:
        # Devices that hold a graph together share its entities, the others the queries.
        relations = config.relations / (num_devices * config.accumulate)
        while heads > 1 and heads * relations * query_bytes(model, num_entities) > config.memory_gib * 2**30:
            heads //= 2
    return heads
