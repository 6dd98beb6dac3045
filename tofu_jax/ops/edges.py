"""The edges of a graph as message passing takes them, with the orders that it needs; built once per graph on the host."""

from typing import NamedTuple

import numpy as np

from tofu_jax.shapes import Array

ROW = 8  # edges of a row


class Rows(NamedTuple):
    """Edges that have one end (or the relation) in common, in rows of ROW: the ELL format of sparse matrices.

    Attributes:
      owner: int32 [rows]: what the edges of a row have in common, ascending.
      edge: int32 [rows, ROW]: positions of edges; E where a row is not full.
    """

    owner: Array
    edge: Array


class Edges(NamedTuple):
    """Directed edges (sender, relation, receiver).

    Attributes:
      senders, relations, receivers: int32 [E], sorted by receiver; fastest where also by relation within a receiver.
      mask: bool [E], False where an edge sends nothing; or [E, Q], where that depends on the query.
      by_sender: int32 [E], `order_by_sender`, for `ops.cpu`.
      sender_rows, relation_rows, receiver_rows: for `ops.xla`.
    """

    senders: Array
    relations: Array
    receivers: Array
    mask: Array
    by_sender: Array
    sender_rows: Rows
    relation_rows: Rows
    receiver_rows: Rows

    @classmethod
    def create(
        cls, senders: Array, relations: Array, receivers: Array, mask: Array, num_nodes: int, num_relations: int
    ) -> "Edges":
        """Builds the orders; host arrays, sorted by receiver."""
        columns = (senders, relations, receivers)
        return cls(*columns, mask, order_by_sender(*columns), **edge_rows(*columns, num_nodes, num_relations))


def order_by_receiver(senders: Array, relations: Array, receivers: Array) -> Array:
    """The order in which `Edges` has to be, [E]; host arrays."""
    return np.lexsort((senders, relations, receivers)).astype(np.int32)


def order_by_sender(senders: Array, relations: Array, receivers: Array) -> Array:
    """The order that gradients are summed in, [E]; host arrays."""
    return np.lexsort((receivers, relations, senders)).astype(np.int32)


def edge_rows(senders: Array, relations: Array, receivers: Array, num_nodes: int, num_relations: int) -> dict[str, Rows]:
    """`Edges.sender_rows`, `relation_rows` and `receiver_rows`, whose shapes depend on E, N and R alone; host arrays."""
    return {
        "sender_rows": _rows(senders, num_nodes),
        "relation_rows": _rows(relations, num_relations),
        "receiver_rows": _rows(receivers, num_nodes),
    }


def _rows(common: Array, num_values: int) -> Rows:
    num_edges = len(common)
    order = np.argsort(common, kind="stable")
    values, first, count = np.unique(common[order], return_index=True, return_counts=True)
    per_value = -(-count // ROW)
    needed = per_value.sum()
    # As many as any graph of this size can need.
    owner = np.full(num_edges // ROW + min(num_values, num_edges), values[-1] if num_edges else 0, np.int32)
    owner[:needed] = np.repeat(values, per_value)
    edge = np.full((len(owner), ROW), num_edges, np.int32)
    # Number of a row among those of its value → where its edges stand in `order`.
    within = np.arange(needed) - np.repeat(np.cumsum(per_value) - per_value, per_value)
    position = (np.repeat(first, per_value) + ROW * within)[:, None] + np.arange(ROW)
    inside = position < np.repeat(first + count, per_value)[:, None]
    edge[:needed][inside] = order[position[inside]]
    return Rows(owner, edge)
