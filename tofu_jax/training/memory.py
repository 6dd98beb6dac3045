"""Will a training step fit into memory? Asked of the compiler before the first step is run."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from tofu_jax.errors import TrainingError
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.training.mixture import Mixture

_CONTAINER_LIMIT = pathlib.Path("/sys/fs/cgroup/memory.max")  # "max" or bytes: Docker, Kubernetes, Slurm


def largest_graph(mixture: Mixture) -> int:
    """Position of the graph whose steps need most memory: states of entities dominate, one for each query."""
    sizes = [
        (heads * len(g.padded.entity_mask), len(g.padded.graph.senders), g.padded.num_relations)
        for g, heads in zip(mixture.graphs, mixture.heads, strict=True)
    ]
    return sizes.index(max(sizes))


def check_memory(train_step: Callable[..., Any], arguments: Sequence[Any], graph: PreparedGraph) -> str:
    """Compiles a step without running it (the first step then finds it compiled), and compares its needs with the machine.

    Args:
      train_step: pmapped, see `step.create_train_step`.
      arguments: of a step on the graph that needs most.
      graph: that graph.

    Returns:
      a line that says how much is needed of how much.

    Raises:
      TrainingError: it will not fit; names what makes it smaller.
    """
    needed = train_step.lower(*arguments).compile().memory_analysis()
    devices = jax.local_device_count() if jax.default_backend() == "cpu" else 1  # forced CPU devices share the memory
    arguments_and_results = needed.argument_size_in_bytes + needed.output_size_in_bytes - needed.alias_size_in_bytes
    gib = devices * (arguments_and_results + needed.temp_size_in_bytes) / 2**30
    limit_gib = memory_limit_bytes() / 2**30
    entities, edges = len(graph.padded.entity_mask), len(graph.padded.graph.senders)
    line = (
        f"memory of a step on the largest graph, {graph.graph.name} ({entities:,} entities, {edges:,} edges, padded): "
        f"{gib:.2f} of {limit_gib:.1f} GiB"
    )
    if gib > limit_gib:
        raise TrainingError(
            f"{line}: it will not fit. In the order of what it costs in quality: raise config.batch.accumulate (the same step "
            "in smaller parts), cut large graphs (config.subgraph_facts), lower config.batch.relations or config.batch.heads, "
            "lower config.model.width."
        )
    return line


def memory_limit_bytes() -> int:
    """Memory of the first device, or, where it is a CPU, of the machine or of the container."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics:
        return statistics["bytes_limit"]
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    granted = _CONTAINER_LIMIT.read_text().strip() if _CONTAINER_LIMIT.is_file() else "max"
    return min(machine, int(granted)) if granted.isdecimal() else machine
