"""Which device gets what of a step: its share of the queries, and all of the graph or a block of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jraph
import numpy as np

from tofu_jax.errors import TrainingError
from tofu_jax.graphs.partitioned import PartitionedGraph, partition
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.shapes import Array
from tofu_jax.training.mixture import Batch, BatchConfig
from tofu_jax.training.step import QueryArrays, lay_out, query_arrays, split_over_devices


def check_devices(config: BatchConfig, num_devices: int, num_local: int) -> None:
    """Raises a `TrainingError` where graphs or queries cannot be split evenly over devices, `num_local` in each process."""
    blocks = config.edge_partitions
    if blocks < 1 or num_devices % blocks or (num_local % blocks and blocks % num_local):
        raise TrainingError(
            f"config.batch.edge_partitions is {blocks}: it has to divide the {num_devices} devices, and to divide the "
            f"{num_local} devices of a process or to be a multiple of them."
        )
    parts = num_devices // blocks * config.accumulate
    if parts < 1 or config.relations % parts:
        raise TrainingError(
            f"{config.relations} query relations a step cannot be split over {num_devices // blocks} devices and "
            f"{config.accumulate} part(s): set --config.batch.relations to a multiple of {parts}, or change "
            "--config.batch.accumulate or --config.batch.edge_partitions."
        )


def part_of_process(blocks: int) -> tuple[int, int]:
    """(i, n): this process needs the i-th of n equal parts of the query relations; blocks: edge_partitions."""
    sharing = max(blocks // jax.local_device_count(), 1)  # processes whose devices hold one graph together
    return jax.process_index() // sharing, jax.process_count() // sharing


class Placement:
    """Makes the arguments of steps (`step.create_train_step`) for the devices of this process."""

    def __init__(self, codebooks: Mapping[str, jax.Array], graphs: Sequence[PreparedGraph], blocks: int):
        """Large graphs are cut into blocks when they are first needed.

        Args:
          codebooks: frozen vectors on the device.
          graphs: of the mixture.
          blocks: of a graph, edge_partitions.
        """
        self._codebooks, self._graphs, self._num_blocks = codebooks, graphs, blocks
        local = jax.local_device_count()
        # The block of each device of this process.
        self._blocks = (jax.process_index() * local + np.arange(local)) % blocks
        self._partitioned: dict[int, tuple[PartitionedGraph, Any]] = {}

    def __call__(self, batch: Batch) -> tuple[Any, ...]:
        """All arguments but the state."""
        queries, num_groups = query_arrays(batch), max(len(self._blocks) // self._num_blocks, 1)
        if self._num_blocks == 1:
            graph = _with_overlap(self._graphs[batch.graph].arrays, batch.overlap)
            return self._codebooks, graph, batch.edge_mask, batch.modalities, split_over_devices(queries, num_groups)
        partitioned, graph = self._in_blocks(batch.graph)
        graph = _with_overlap(graph, np.stack([batch.overlap] * len(self._blocks)))
        edge_mask = partitioned.edge_mask(batch.edge_mask)[self._blocks]
        return self._codebooks, graph, edge_mask, batch.modalities, self._queries(queries, partitioned, num_groups)

    def _in_blocks(self, position: int) -> tuple[PartitionedGraph, Any]:
        """A graph in blocks, and its arrays on the devices."""
        if position not in self._partitioned:
            partitioned = partition(self._graphs[position].padded, self._num_blocks)
            on_devices = lay_out(jax.tree.map(lambda values: values[self._blocks], partitioned.graph))
            self._partitioned[position] = partitioned, on_devices
        return self._partitioned[position]

    def _queries(self, queries: QueryArrays, partitioned: PartitionedGraph, num_groups: int) -> QueryArrays:
        """The devices that hold one graph get the same queries, and each the candidates of its block."""
        entity_id = partitioned.entity_id
        queries = queries._replace(
            prompts=queries.prompts._replace(nodes=entity_id[queries.prompts.nodes]),
            heads=entity_id[queries.heads],
            answers=entity_id[queries.answers],
            candidates=np.moveaxis(partitioned.by_entity(queries.candidates), 0, 1),  # [Q, blocks, H, entities of a block]
        )
        split = split_over_devices(queries, num_groups)
        group = np.arange(len(self._blocks)) // self._num_blocks
        split = jax.tree.map(lambda values: values[group], split)
        return split._replace(candidates=np.stack([c[:, b] for c, b in zip(split.candidates, self._blocks, strict=True)]))


def _with_overlap(graph: jraph.GraphsTuple, overlap: Array) -> jraph.GraphsTuple:
    return graph._replace(globals={**graph.globals, "relation_overlap": overlap})
