"""The edges of a graph as message passing takes them."""

from typing import NamedTuple

import numpy as np

from tofu_jax.shapes import Array


class Edges(NamedTuple):
    """Directed edges (sender, relation, receiver).

    Attributes:
      senders, relations, receivers: int32 [E], sorted by receiver; fastest where also by relation within a receiver.
      mask: bool [E], False where an edge sends nothing; or [E, Q], where that depends on the query.
      by_sender: int32 [E], `order_by_sender`.
    """

    senders: Array
    relations: Array
    receivers: Array
    mask: Array
    by_sender: Array


def order_by_receiver(senders: Array, relations: Array, receivers: Array) -> Array:
    """The order in which `Edges` has to be, [E]; host arrays."""
    return np.lexsort((senders, relations, receivers)).astype(np.int32)


def order_by_sender(senders: Array, relations: Array, receivers: Array) -> Array:
    """The order that gradients are summed in, [E]; host arrays."""
    return np.lexsort((receivers, relations, senders)).astype(np.int32)
