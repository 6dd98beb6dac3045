"""A padded graph in blocks, one a device, for graphs that are too large for one (`ops.partition`).

Entities are dealt out by their number of edges, so that blocks have as many entities and about as many edges as each other.
"""

import dataclasses
import functools

import jax
import jraph
import numpy as np

from tofu_jax.graphs.graphs_tuple import PaddedGraph, bucket_size
from tofu_jax.ops.edges import Edges, order_by_receiver
from tofu_jax.shapes import Array


@dataclasses.dataclass(frozen=True)
class PartitionedGraph:
    """One graph in blocks.

    Attributes:
      graph: as `PaddedGraph.graph`; all arrays have the blocks as axis 0. Nodes: [blocks, entities of a block, ...]. Edges and
        their orders: [blocks, turns, edges of a turn, ...], see `ops.partition.Ring`. The rest is the same for every block.
      entity_id: int32 [N]: block · entities of a block + row of each entity of the padded graph.
      edge: int32 [blocks, turns, edges of a turn]: which edge of the padded graph; E in padding.
    """

    graph: jraph.GraphsTuple
    entity_id: Array
    edge: Array

    @functools.cached_property
    def _entity(self) -> Array:
        """int [blocks · entities of a block]: which entity of the padded graph; N in padding."""
        blocks, size = self.graph.nodes["text_ids"].shape[:2]
        entity = np.full(blocks * size, len(self.entity_id))
        entity[self.entity_id] = np.arange(len(self.entity_id))
        return entity

    def edge_mask(self, mask: Array) -> Array:
        """bool [E] of the padded graph as bool [blocks, turns, edges of a turn]."""
        return np.append(mask, False)[self.edge]

    def by_entity(self, values: Array) -> Array:
        """bool [..., N] of the padded graph as bool [blocks, ..., entities of a block], False in padding."""
        padded = np.concatenate([values, np.zeros((*values.shape[:-1], 1), bool)], axis=-1)[..., self._entity]
        return np.moveaxis(padded.reshape(*values.shape[:-1], len(self.edge), -1), -2, 0)


def partition(padded: PaddedGraph, blocks: int) -> PartitionedGraph:
    """Deals the entities of a padded graph out to blocks, and each edge to the block of its receiver."""
    graph, num_entities = padded.graph, len(padded.entity_mask)
    real = slice(len(padded.edge_position))  # padding edges would all fall to one block
    num_edges = np.bincount(graph.receivers[real], minlength=num_entities)
    size = -(-num_entities // blocks)
    entity_id = _deal(num_edges, blocks, size)

    senders, relations, receivers = (
        entity_id[graph.senders[real]],
        graph.edges["relation"][real],
        entity_id[graph.receivers[real]],
    )
    block = receivers // size
    turn = (senders // size - block) % blocks
    width = bucket_size(int(np.bincount(block * blocks + turn, minlength=1).max()))
    edge = np.full((blocks, blocks, width), len(graph.senders), np.int32)
    parts = []
    for i, j in np.ndindex(blocks, blocks):
        chosen = np.flatnonzero((block == i) & (turn == j))
        columns = (senders[chosen] % size, relations[chosen], receivers[chosen] % size)
        chosen = chosen[order_by_receiver(*columns)]
        edge[i, j, : len(chosen)] = chosen
        # Padding edges join the last entity of a block to itself: last in the order, and masked.
        ends = [_padded(ids[chosen] % size, width, size - 1) for ids in (senders, receivers)]
        columns = (ends[0], _padded(relations[chosen], width, 0), ends[1])
        parts.append(Edges.create(*columns, edge[i, j], size, graph.globals["relation_graph"].shape[-1]))
    edges = jax.tree.map(lambda *values: np.stack(values).reshape(blocks, blocks, *values[0].shape), *parts)
    return PartitionedGraph(_in_blocks(graph, edges, blocks, size, entity_id), entity_id, edge)


def _deal(num_edges: Array, blocks: int, size: int) -> Array:
    """Block · size + row for each entity, int32 [N]: those with most edges first, there and back (0 1 2 2 1 0 0 1 …)."""
    order = np.argsort(-num_edges, kind="stable")
    row, place = np.divmod(np.arange(len(order)), blocks)
    block = np.where(row % 2, blocks - 1 - place, place)
    entity_id = np.empty(len(order), np.int32)
    entity_id[order] = block * size + row
    return entity_id


def _padded(values: Array, size: int, fill: int) -> Array:
    return np.pad(values, (0, size - len(values)), constant_values=fill)


def _in_blocks(graph: jraph.GraphsTuple, edges: Edges, blocks: int, size: int, entity_id: Array) -> jraph.GraphsTuple:
    """The GraphsTuple of `PartitionedGraph`."""

    def nodes(values: Array) -> Array:
        dealt = np.zeros((blocks * size, *values.shape[1:]), values.dtype)
        dealt[entity_id] = values
        return dealt.reshape(blocks, size, *values.shape[1:])

    def everywhere(values: Array) -> Array:
        return np.stack([values] * blocks)

    rows = ("sender_rows", "relation_rows", "receiver_rows")
    shared = {name: everywhere(values) for name, values in graph.globals.items() if name not in rows}
    return graph._replace(
        nodes={name: nodes(values) for name, values in graph.nodes.items()},
        senders=edges.senders,
        receivers=edges.receivers,
        edges={"relation": edges.relations, "by_sender": edges.by_sender},
        globals={**shared, **{name: getattr(edges, name) for name in rows}},
        n_node=everywhere(graph.n_node),
        n_edge=everywhere(graph.n_edge),
    )
