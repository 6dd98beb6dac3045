"""One graph on several devices: each holds a block of the entities, and the edges into them.

The devices of a step are numbered along AXIS; `partitions` neighbours hold one graph. Whatever is said of an entity lies on its
device; tables of relations and prompts lie on all of them. An entity's id is block · entities of a block + row, so its device
and its row there follow from the id (`graphs.partitioned` numbers entities that way).

Messages cross blocks by sending the states of the senders round: after as many turns as there are blocks, each block has passed
every device once. So a device never holds more than its own block and a passing one.

All this is per device, as under `jax.pmap`: a gradient is that of the sum over devices of what each of them returns.
"""

from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tofu_jax.ops.edges import Edges

AXIS = "devices"


class Ring(NamedTuple):
    """Edges into the entities of a block.

    Attributes:
      edges: every array has one more axis, [partitions, ...], in the order in which the senders come round: first those of the
        own block, then those of the next one. Ids are rows of a block.
    """

    edges: Edges


def total(values: jax.Array, partitions: int) -> jax.Array:
    """Sum over the devices of a graph."""
    return values if partitions == 1 else jax.lax.psum(values, AXIS, axis_index_groups=_groups(partitions))


def highest(values: jax.Array, partitions: int) -> jax.Array:
    """Maximum over the devices of a graph; it has no gradient."""
    values = jax.lax.stop_gradient(values)
    return values if partitions == 1 else jax.lax.pmax(values, AXIS, axis_index_groups=_groups(partitions))


def row_of(ids: jax.Array, size: int, partitions: int) -> jax.Array:
    """Rows of entities in the block of this device, of `size` rows; `size` where an entity lies on another device."""
    if partitions == 1:
        return ids
    rows = ids - size * (jax.lax.axis_index(AXIS) % partitions)
    return jnp.where((rows >= 0) & (rows < size), rows, size)


def one_at(ids: jax.Array, size: int, partitions: int) -> jax.Array:
    """float [size, *ids.shape], 1 at the row of each id and 0 elsewhere."""
    places = jnp.indices(ids.shape)
    return jnp.zeros((size, *ids.shape)).at[row_of(ids, size, partitions), *places].set(1)  # beyond the last row: nowhere


def take(table: jax.Array, ids: jax.Array, partitions: int) -> jax.Array:
    """`table[ids]` of a table [entities, ...] that is spread over devices: the same on all of them."""
    if partitions == 1:
        return table[ids]
    return total(table.at[row_of(ids, len(table), partitions)].get(mode="fill", fill_value=0), partitions)


def forward(backend: ModuleType, values: tuple, ring: Ring) -> tuple[jax.Array, jax.Array]:
    """`relational_sum` over all blocks of senders; values: its first five arguments."""
    states, present, *coefficients = values
    partitions = len(ring.edges.senders)

    def turn(carry, edges):
        passing, sums = carry
        found = backend.forward(*passing, *coefficients, edges)
        return (_pass_on(passing, partitions), jax.tree.map(jnp.add, sums, found)), None

    nothing = (jnp.zeros_like(states), jnp.zeros_like(present))
    (_, sums), _ = jax.lax.scan(turn, ((states, present), nothing), ring.edges)
    return sums


def backward(backend: ModuleType, values: tuple, ring: Ring, gradient: jax.Array) -> tuple[jax.Array, ...]:
    """Gradients for states, scale, swap_scale and bias; a block collects its own on the way round, and comes home with it."""
    states, present, *coefficients = values
    partitions = len(ring.edges.senders)

    def turn(carry, edges):
        (passing, d_states), d_coefficients = carry
        found, *more = backend.backward(*passing, *coefficients, edges, gradient)
        passed = _pass_on((passing, d_states + found), partitions)
        return (passed, [a + b for a, b in zip(d_coefficients, more, strict=True)]), None

    nothing = jnp.zeros_like(states), [jnp.zeros_like(c) for c in coefficients]
    ((_, d_states), d_coefficients), _ = jax.lax.scan(turn, (((states, present), nothing[0]), nothing[1]), ring.edges)
    return d_states, *d_coefficients


def _groups(partitions: int) -> list[list[int]]:
    """The devices of each graph."""
    return [list(range(i, i + partitions)) for i in range(0, jax.lax.axis_size(AXIS), partitions)]


def _pass_on(tree, partitions: int):
    """Every device gets what the next one of its graph has."""
    pairs = [(group[(i + 1) % partitions], device) for group in _groups(partitions) for i, device in enumerate(group)]
    return jax.tree.map(lambda values: jax.lax.ppermute(values, AXIS, pairs), tree)
