"""`ops.relational` as Pallas kernels for GPUs: a program per node (or relation) and query, no atomics, no messages in memory.

Not chosen by itself, since it has not been timed on a GPU yet: TOFU_JAX_BACKEND=pallas selects it. On a CPU it is interpreted,
which serves the tests alone.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from tofu_jax.ops import xla
from tofu_jax.ops.edges import ROW, Edges
from tofu_jax.ops.reference import swap


def forward(states, present, scale, swap_scale, bias, edges: Edges) -> tuple[jax.Array, jax.Array]:
    """`relational_sum`."""
    return _where(_forward, xla.forward)(states, present, scale, swap_scale, bias, edges)


def backward(states, present, scale, swap_scale, bias, edges: Edges, gradient) -> tuple[jax.Array, ...]:
    """Gradients for states, scale, swap_scale and bias."""
    return _where(_backward, xla.backward)(states, present, scale, swap_scale, bias, edges, gradient)


def _where(function, elsewhere):
    """Compiled on GPUs, interpreted on CPUs; TPUs cannot read rows at random and have `elsewhere`."""
    compiled, interpreted = functools.partial(function, _call), functools.partial(function, _interpret)
    return functools.partial(jax.lax.platform_dependent, cpu=interpreted, cuda=compiled, rocm=compiled, default=elsewhere)


def _call(kernel, outputs: tuple, grid: tuple, *inputs: jax.Array, interpret: bool = False) -> tuple[jax.Array, ...]:
    """Runs a kernel that sees whole arrays in global memory."""
    parameters = triton.CompilerParams(num_warps=1)  # a program works on one row of H·d channels
    call = pl.pallas_call(kernel, out_shape=outputs, grid=grid, interpret=interpret, compiler_params=parameters)
    return tuple(call(*inputs))


_interpret = functools.partial(_call, interpret=True)


def _forward(call, states, present, scale, swap_scale, bias, edges):
    columns = (edges.senders, edges.relations, _mask(edges, states.shape[1]))
    return _sum_by_node(call, edges.receivers, columns, states, present, scale, swap_scale, bias)


def _backward(call, states, present, scale, swap_scale, bias, edges, gradient):
    mask = _mask(edges, states.shape[1])
    # dx = Σ A ⊙ g + swap(C) ⊙ swap(g): the same sum, from receivers to senders.
    columns = (edges.receivers[edges.by_sender], edges.relations[edges.by_sender], mask[edges.by_sender])
    everywhere, nothing = jnp.ones_like(present), jnp.zeros_like(bias)
    owners = edges.senders[edges.by_sender]
    d_states, _ = _sum_by_node(call, owners, columns, gradient, everywhere, scale, swap(swap_scale), nothing)
    d_coefficients = _sum_by_relation(call, edges, mask, states, present, gradient, len(scale))
    d_coefficients = (values.astype(scale.dtype) for values in d_coefficients)
    return jnp.where(present[..., None] > 0, d_states, 0), *d_coefficients


def _mask(edges: Edges, num_queries: int) -> jax.Array:
    """int32 [E, Q]."""
    mask = edges.mask[:, None] if edges.mask.ndim == 1 else edges.mask
    return jnp.broadcast_to(mask, (len(edges.senders), num_queries)).astype(jnp.int32)


def _starts(owners: jax.Array, num_owners: int) -> jax.Array:
    """Where each owner begins in a sorted list, [num_owners + 1]."""
    return jnp.searchsorted(owners, jnp.arange(num_owners + 1)).astype(jnp.int32)


def _sum_by_node(call, owners, columns: tuple, states, present, scale, swap_scale, bias) -> tuple[jax.Array, jax.Array]:
    """Sums over the edges of each node, which `owners` [E] sorts; columns: other end, relation, mask of each edge."""
    num_nodes, num_queries, num_heads, width = states.shape
    outputs = (jax.ShapeDtypeStruct(states.shape, states.dtype), jax.ShapeDtypeStruct(present.shape, present.dtype))
    if not len(owners):
        return tuple(jnp.zeros(output.shape, output.dtype) for output in outputs)
    wide, half = jnp.promote_types(states.dtype, jnp.float32), width // 2
    low, high = slice(None, half), slice(half, None)

    def kernel(start, others, relations, mask, states, present, scale, swap_scale, bias, out, arrived):
        node, query = pl.program_id(0), pl.program_id(1)

        def add(edge, totals):
            total_low, total_high, count = totals
            other, relation = others[edge], relations[edge]
            visible = (mask[edge, query] > 0) & (present[other, query] > 0)
            x_low, x_high = (states[other, query, :, part].astype(wide) for part in (low, high))
            a_low, a_high, c_low, c_high, b_low, b_high = (
                values[relation, query, part].astype(wide) for values in (scale, swap_scale, bias) for part in (low, high)
            )
            sent_low = a_low * x_low + c_low * x_high + b_low
            sent_high = a_high * x_high + c_high * x_low + b_high
            return (
                total_low + jnp.where(visible[:, None], sent_low, 0),
                total_high + jnp.where(visible[:, None], sent_high, 0),
                count + visible.astype(wide),
            )

        zeros = (*(jnp.zeros((num_heads, half), wide),) * 2, jnp.zeros(num_heads, wide))
        total_low, total_high, count = jax.lax.fori_loop(start[node], start[node + 1], add, zeros)
        out[node, query, :, low] = total_low.astype(out.dtype)
        out[node, query, :, high] = total_high.astype(out.dtype)
        arrived[node, query, :] = count.astype(arrived.dtype)

    inputs = (_starts(owners, num_nodes), *columns, states, present, scale, swap_scale, bias)
    return call(kernel, outputs, (num_nodes, num_queries), *inputs)


def _sum_by_relation(call, edges: Edges, mask, states, present, gradient, num_relations: int) -> tuple[jax.Array, ...]:
    """Gradients of A, C and bias: [R, Q, d] each."""
    _, num_queries, _, width = states.shape
    wide, half, num_edges = jnp.promote_types(states.dtype, jnp.float32), width // 2, len(edges.senders)
    output = jax.ShapeDtypeStruct((num_relations, num_queries, width), wide)
    if not num_edges:
        return (jnp.zeros(output.shape, wide),) * 3
    low, high = slice(None, half), slice(half, None)

    def kernel(start, rows, senders, receivers, mask, states, present, gradient, d_scale, d_swap_scale, d_bias):
        relation, query = pl.program_id(0), pl.program_id(1)

        def add(position, totals):
            edge = rows[position]
            inside = edge < num_edges
            edge = jnp.minimum(edge, num_edges - 1)
            sender, receiver = senders[edge], receivers[edge]
            visible = inside & (mask[edge, query] > 0) & (present[sender, query] > 0)
            x_low, x_high = (states[sender, query, :, part].astype(wide) for part in (low, high))
            g_low, g_high = (
                jnp.where(visible[:, None], gradient[receiver, query, :, part].astype(wide), 0) for part in (low, high)
            )
            found = (x_low * g_low, x_high * g_high, x_high * g_low, x_low * g_high, g_low, g_high)
            return tuple(total + values.sum(axis=0) for total, values in zip(totals, found, strict=True))

        zeros = (jnp.zeros(half, wide),) * 6
        totals = jax.lax.fori_loop(start[relation] * ROW, start[relation + 1] * ROW, add, zeros)
        for index, out in enumerate((d_scale, d_swap_scale, d_bias)):
            out[relation, query, low], out[relation, query, high] = totals[2 * index], totals[2 * index + 1]

    rows = edges.relation_rows
    columns = (rows.edge.reshape(-1), edges.senders, edges.receivers, mask, states, present, gradient)
    return call(kernel, (output,) * 3, (num_relations, num_queries), _starts(rows.owner, num_relations), *columns)
