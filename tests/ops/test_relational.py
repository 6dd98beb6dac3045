"""`ops.relational` against its definition, in values and gradients, for every way of cutting the edges into chunks."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from making import quick_compilation

from tofu_jax.ops.relational import CHUNK_EDGES, reachable, relational_sum, relational_sum_reference

NODES, QUERIES, HEADS, RELATIONS, WIDTH = 13, 2, 3, 5, 4
EDGE_COUNTS = (1, 7, CHUNK_EDGES, 640, 1280)  # one short chunk, one full chunk, chunks of 128, chunks of 256
GRADIENTS = (0, 2, 3, 4)  # states, scale, swap_scale, bias
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


@pytest.fixture(scope="module", autouse=True)
def less_optimized():
    with quick_compilation():
        yield


def random_inputs(num_edges, seed=0, dtype=np.float64):
    """Arguments of `relational_sum` as numpy arrays; the last node is isolated, the last relation has no edge."""
    random = np.random.default_rng(seed)
    floats = [
        random.standard_normal((NODES, QUERIES, HEADS, WIDTH)),
        random.integers(0, 2, (NODES, QUERIES, HEADS)),
        *random.standard_normal((3, RELATIONS, QUERIES, WIDTH)),
    ]
    edges = (
        random.integers(0, NODES - 1, num_edges, dtype=np.int32),
        random.integers(0, RELATIONS - 1, num_edges, dtype=np.int32),
        np.sort(random.integers(0, NODES - 1, num_edges, dtype=np.int32)),
        random.random(num_edges) < 0.8,
    )
    return *(values.astype(dtype) for values in floats), edges


def swapped(values):
    return np.roll(values, WIDTH // 2, axis=-1)


def loop(states, present, scale, swap_scale, bias, edges, gradient):
    """The sum and the gradients of its product with `gradient`, one edge after the other, after the docstring's formulas."""
    out, d_states = np.zeros_like(states), np.zeros_like(states)
    d_scale, d_swap_scale, d_bias = np.zeros((3, *scale.shape), scale.dtype)
    for s, r, i, counts in zip(*edges, strict=True):
        if counts:
            for h in range(states.shape[2]):
                x, g, sends = states[s, :, h], gradient[i, :, h], present[s, :, h, None]
                out[i, :, h] += scale[r] * x + swap_scale[r] * swapped(x) + bias[r] * sends
                d_states[s, :, h] += scale[r] * g + swapped(swap_scale[r] * g)
                d_scale[r] += x * g
                d_swap_scale[r] += swapped(x) * g
                d_bias[r] += sends * g
    return out, (d_states, d_scale, d_swap_scale, d_bias)


def value_and_gradients(function, inputs, gradient):
    """The sum and the gradients of its product with `gradient`, in the precision of the inputs."""
    with jax.enable_x64(inputs[0].dtype == np.float64):

        def weighted(*inputs):
            out = function(*inputs)
            return (out * gradient).sum(), out

        (_, out), gradients = jax.jit(jax.value_and_grad(weighted, GRADIENTS, has_aux=True))(*inputs)
        return jax.tree.map(np.asarray, (out, gradients))


def assert_close(actual, expected, dtype):
    """Largest difference below the tolerance, absolute in f64 and relative to the largest value in f32."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == dtype
        scale = 1 if dtype == np.float64 else max(np.abs(e).max(), 1e-3)
        np.testing.assert_allclose(a, e, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("num_edges", EDGE_COUNTS)
def test_sum_and_gradients_equal_the_definition(num_edges, dtype):
    """Each edge count takes another path through the chunks."""
    inputs = random_inputs(num_edges, num_edges, dtype)
    gradient = np.random.default_rng(1).standard_normal(inputs[0].shape).astype(dtype)
    found = value_and_gradients(relational_sum, inputs, gradient)
    assert_close(found, loop(*inputs, gradient), dtype)
    assert_close(found, value_and_gradients(relational_sum_reference, inputs, gradient), dtype)


def test_sum_of_masked_edges_is_zero_and_so_are_gradients():
    *values, edges = random_inputs(8)
    inputs = (*values, (*edges[:3], np.zeros(8, bool)))
    for result in jax.tree.leaves(value_and_gradients(relational_sum, inputs, np.ones_like(inputs[0]))):
        assert not result.any()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_masked_edges_contribute_nothing_whatever_their_coefficients(dtype):
    """P2: only masked edges use the last relation, whose coefficients are garbage; nor does their sender's state matter."""
    states, present, *coefficients, (senders, relations, receivers, mask) = random_inputs(640, 2, dtype)
    gradient = np.random.default_rng(3).standard_normal(states.shape).astype(dtype)
    relations[~mask] = RELATIONS - 1
    senders[~mask] = NODES - 1  # isolated: no other edge leaves it
    edges = (senders, relations, receivers, mask)
    clean = value_and_gradients(relational_sum, (states, present, *coefficients, edges), gradient)
    states[-1] = 1e30
    for values in coefficients:
        values[-1] = 1e30
    garbage = value_and_gradients(relational_sum, (states, present, *coefficients, edges), gradient)
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(garbage), strict=True):
        np.testing.assert_array_equal(a, b)


def test_isolated_nodes_and_empty_relations_have_zero_sums_and_gradients():
    """P4: an isolated node receives and sends nothing, a relation without edges has no influence."""
    inputs = random_inputs(64)
    out, (d_states, *d_coefficients) = value_and_gradients(relational_sum, inputs, np.ones_like(inputs[0]))
    assert out.any() and d_states.any()
    assert not out[-1].any() and not d_states[-1].any()
    for values in d_coefficients:
        assert values[:-1].any() and not values[-1].any()


def test_rematerialisation_changes_nothing():
    inputs = random_inputs(640)
    gradient = np.ones_like(inputs[0])
    expected = value_and_gradients(relational_sum, inputs, gradient)
    assert_close(value_and_gradients(jax.checkpoint(relational_sum), inputs, gradient), expected, np.float64)


def test_compiled_sum_equals_eager_sum():
    inputs = jax.tree.map(jnp.asarray, random_inputs(64, dtype=np.float32))
    assert_close(np.asarray(jax.jit(relational_sum)(*inputs)), np.asarray(relational_sum(*inputs)), np.float32)


def test_repeated_reachable_equals_breadth_first_search():
    """After k rounds exactly the nodes within k unmasked edges of the start are reached."""
    senders, relations, receivers, mask = random_inputs(16, 4)[-1]
    start = np.zeros((NODES, QUERIES, HEADS), np.float32)
    for q in range(QUERIES):
        for h in range(HEADS):
            start[senders[q * HEADS + h], q, h] = 1
    reached = jnp.asarray(start)
    for rounds in range(1, 4):
        reached = reachable(reached, (senders, relations, receivers, mask))
        assert reached.dtype == np.float32
        for q in range(QUERIES):
            for h in range(HEADS):
                distance = breadth_first_search(senders[q * HEADS + h], senders[mask], receivers[mask])
                expected = [0 <= distance.get(node, -1) <= rounds for node in range(NODES)]
                np.testing.assert_array_equal(reached[:, q, h], np.array(expected, np.float32))


def breadth_first_search(start, senders, receivers):
    """{node: number of edges from `start`} for the nodes that can be reached."""
    distance, queue = {int(start): 0}, collections.deque([int(start)])
    while queue:
        node = queue.popleft()
        for neighbor in receivers[senders == node].tolist():
            if neighbor not in distance:
                distance[neighbor] = distance[node] + 1
                queue.append(neighbor)
    return distance
