"""`ops.relational` against a loop over edges, in values and gradients; every backend passes the same tests."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tofu_jax.errors import TofuError
from tofu_jax.ops import cpu
from tofu_jax.ops.edges import ROW, Edges
from tofu_jax.ops.relational import BACKENDS, active_backend, describe_backend, relational_sum
from tofu_jax.ops.xla import CHUNK_ROWS

NODES, QUERIES, HEADS, RELATIONS, WIDTH = 13, 2, 3, 5, 4
EDGE_COUNTS = (0, 1, 7, 640, ROW * CHUNK_ROWS + 1)  # none, one edge a row, some, full rows, several chunks
GRADIENTS = (0, 2, 3, 4)  # states, scale, swap_scale, bias
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "cpu" and not cpu.available():
        pytest.skip(cpu.why_not())
    return request.param


def random_inputs(num_edges, seed=0, dtype=np.float64, width=WIDTH, mask_per_query=False):
    """Arguments of `relational_sum` as numpy arrays; the last node is isolated, the last relation has no edge."""
    random = np.random.default_rng(seed)
    floats = [
        random.standard_normal((NODES, QUERIES, HEADS, width)),
        random.integers(0, 2, (NODES, QUERIES, HEADS)),
        *random.standard_normal((3, RELATIONS, QUERIES, width)),
    ]
    senders = random.integers(0, NODES - 1, num_edges, dtype=np.int32)
    relations = random.integers(0, RELATIONS - 1, num_edges, dtype=np.int32)
    receivers = np.sort(random.integers(0, NODES - 1, num_edges, dtype=np.int32))
    mask = random.random((num_edges, QUERIES) if mask_per_query else num_edges) < 0.8
    edges = Edges.create(senders, relations, receivers, mask, NODES, RELATIONS)
    return *(values.astype(dtype) for values in floats), edges


def swapped(values):
    return np.roll(values, values.shape[-1] // 2, axis=-1)


def loop(states, present, scale, swap_scale, bias, edges, gradient):
    """Sums, counts and the gradients of sums · `gradient`, one edge after the other, after the docstring's formulas."""
    out, arrived, d_states = np.zeros_like(states), np.zeros_like(present), np.zeros_like(states)
    d_scale, d_swap_scale, d_bias = np.zeros((3, *scale.shape), scale.dtype)
    for s, r, i, mask in zip(*edges[:4], strict=True):
        for q, h in np.ndindex(states.shape[1:3]):
            if present[s, q, h] and np.broadcast_to(mask, QUERIES)[q]:
                x, g = states[s, q, h], gradient[i, q, h]
                out[i, q, h] += scale[r, q] * x + swap_scale[r, q] * swapped(x) + bias[r, q]
                arrived[i, q, h] += 1
                d_states[s, q, h] += scale[r, q] * g + swapped(swap_scale[r, q] * g)
                d_scale[r, q] += x * g
                d_swap_scale[r, q] += swapped(x) * g
                d_bias[r, q] += g
    return (out, arrived), (d_states, d_scale, d_swap_scale, d_bias)


def value_and_gradients(function, inputs, gradient):
    """The sums and the gradients of their product with `gradient`, in the precision of the inputs."""
    with jax.enable_x64(inputs[0].dtype == np.float64):

        def weighted(*inputs):
            out = function(*inputs)
            return (out[0] * gradient).sum(), out

        (_, out), gradients = jax.jit(jax.value_and_grad(weighted, GRADIENTS, has_aux=True))(*inputs)
        return jax.tree.map(np.asarray, (out, gradients))


def assert_close(actual, expected, dtype):
    """Largest difference below the tolerance, absolute in f64 and relative to the largest value in f32."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == dtype
        scale = 1 if dtype == np.float64 else max(np.abs(e).max(), 1e-3)
        np.testing.assert_allclose(a, e, rtol=0, atol=TOLERANCE[dtype] * scale)


def with_backend(backend):
    return functools.partial(relational_sum, backend=backend)


def assert_equals_loop(backend, inputs, dtype):
    gradient = np.random.default_rng(1).standard_normal(inputs[0].shape).astype(dtype)
    found = value_and_gradients(with_backend(backend), inputs, gradient)
    assert_close(found, loop(*inputs, gradient), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("num_edges", EDGE_COUNTS)
def test_sum_and_gradients_equal_the_definition(backend, num_edges, dtype):
    """Each edge count takes another path through rows and chunks."""
    assert_equals_loop(backend, random_inputs(num_edges, num_edges, dtype), dtype)


@pytest.mark.parametrize("width", [2, 16, 32, 64, 96])
def test_any_width(backend, width):
    """The C++ has loops of their own for some widths."""
    assert_equals_loop(backend, random_inputs(100, width=width), np.float64)


def test_each_query_may_see_other_edges(backend):
    assert_equals_loop(backend, random_inputs(640, 5, mask_per_query=True), np.float64)


def test_bfloat16_is_summed_in_float32(backend):
    """5,000 messages of 1 + 1/256: a sum in bfloat16 would stop growing at 256."""
    count = 5_000
    edges = Edges.create(*np.zeros((3, count), np.int32), np.ones(count, bool), 2, 1)
    ones = jnp.ones((1, 1, 2), jnp.bfloat16)
    states = jnp.ones((2, 1, 1, 2), jnp.bfloat16)
    (sums, arrived), (d_states, *_) = value_and_gradients(
        with_backend(backend), (states, states[..., 0], ones, 0 * ones, 0 * ones, edges), np.ones((2, 1, 1, 2))
    )
    for found in (sums, arrived, d_states):
        assert found.dtype == jnp.bfloat16
        np.testing.assert_allclose(found[0].astype(np.float32), count, rtol=2**-8)


def test_sum_of_masked_edges_is_zero_and_so_are_gradients(backend):
    *values, edges = random_inputs(8)
    inputs = (*values, edges._replace(mask=np.zeros(8, bool)))
    for result in jax.tree.leaves(value_and_gradients(with_backend(backend), inputs, np.ones_like(inputs[0]))):
        assert not result.any()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_masked_edges_contribute_nothing_whatever_their_coefficients(backend, dtype):
    """P2: only masked edges use the last relation, whose coefficients are garbage; nor does their sender's state matter."""
    states, present, *coefficients, edges = random_inputs(640, 2, dtype)
    gradient = np.random.default_rng(3).standard_normal(states.shape).astype(dtype)
    edges.relations[~edges.mask] = RELATIONS - 1
    edges.senders[~edges.mask] = NODES - 1  # isolated: no other edge leaves it
    edges = Edges.create(*edges[:4], NODES, RELATIONS)
    inputs = (states, present, *coefficients, edges)
    clean = value_and_gradients(with_backend(backend), inputs, gradient)
    states[-1] = 1e30
    for values in coefficients:
        values[-1] = 1e30
    garbage = value_and_gradients(with_backend(backend), inputs, gradient)
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(garbage), strict=True):
        np.testing.assert_array_equal(a, b)


def test_isolated_nodes_and_empty_relations_have_zero_sums_and_gradients(backend):
    """P4: an isolated node receives and sends nothing, a relation without edges has no influence."""
    inputs = random_inputs(64)
    found = value_and_gradients(with_backend(backend), inputs, np.ones_like(inputs[0]))
    (out, arrived), (d_states, *d_coefficients) = found
    assert out.any() and d_states.any()
    assert not out[-1].any() and not arrived[-1].any() and not d_states[-1].any()
    for values in d_coefficients:
        assert values[:-1].any() and not values[-1].any()


def test_rematerialisation_changes_nothing(backend):
    inputs = random_inputs(640)
    gradient = np.ones_like(inputs[0])
    expected = value_and_gradients(with_backend(backend), inputs, gradient)
    assert_close(value_and_gradients(jax.checkpoint(with_backend(backend)), inputs, gradient), expected, np.float64)


def test_compiled_sum_equals_eager_sum(backend):
    inputs = jax.tree.map(jnp.asarray, random_inputs(64, dtype=np.float32))
    function = with_backend(backend)
    assert_close(jax.device_get(jax.jit(function)(*inputs)), jax.device_get(function(*inputs)), np.float32)


@pytest.mark.skipif(not cpu.available(), reason="the C++ library was not built")
@pytest.mark.parametrize(
    ("field", "position", "value", "message"),
    [
        ("senders", 3, NODES, "nodes"),
        ("senders", 3, -1, "nodes"),
        ("receivers", 63, 2**31 - 1, "nodes"),
        ("relations", 3, RELATIONS, "relations"),
        ("by_sender", 3, 64, "there are 64 edges"),
        ("receivers", 63, 0, "sorted by receiver"),
    ],
)
def test_ids_out_of_range_are_an_error_not_a_crash(field, position, value, message):
    """The C++ alone: XLA clips ids, which is wrong as well, but silent."""
    *values, edges = random_inputs(64, 1, np.float32)
    edges = edges._replace(mask=np.ones(64, bool), **{field: getattr(edges, field).copy()})
    getattr(edges, field)[position] = value
    with pytest.raises(Exception, match=message):
        value_and_gradients(with_backend("cpu"), (*values, edges), np.ones_like(values[0]))


@pytest.mark.skipif(not cpu.available(), reason="the C++ library was not built")
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("owner", RELATIONS, "out of order or range"), ("edge", -1, "no edge of relation"), ("edge", 65, "no edge of relation")],
)
def test_wrong_rows_are_an_error_not_a_crash(field, value, message):
    *values, edges = random_inputs(64, 1, np.float32)
    rows = {name: values.copy() for name, values in edges.relation_rows._asdict().items()}
    rows[field].flat[0] = value
    edges = edges._replace(relation_rows=edges.relation_rows._replace(**rows))
    with pytest.raises(Exception, match=message):
        value_and_gradients(with_backend("cpu"), (*values, edges), np.ones_like(values[0]))


def test_the_environment_chooses_the_backend(monkeypatch):
    monkeypatch.setenv("TOFU_JAX_BACKEND", "reference")
    assert active_backend() == "reference"
    assert "reference" in describe_backend()
    monkeypatch.setenv("TOFU_JAX_BACKEND", "gpu")
    with pytest.raises(TofuError, match="cpu, xla, pallas, reference"):
        active_backend()


def test_without_the_library_xla_is_used_and_said(monkeypatch):
    monkeypatch.delenv("TOFU_JAX_BACKEND", raising=False)
    monkeypatch.setattr(cpu, "_load", lambda: "the C++ library was not built; install a C++ compiler")
    assert active_backend() == "xla"
    assert "install a C++ compiler" in describe_backend()
    monkeypatch.setenv("TOFU_JAX_BACKEND", "cpu")
    with pytest.raises(TofuError, match="was not built"):
        active_backend()


def test_who_is_reached_equals_breadth_first_search(backend):
    """After k rounds exactly the nodes within k unmasked edges of the start have received something."""
    states, _, *coefficients, edges = random_inputs(16, 4, np.float32)
    senders, receivers, mask = edges.senders, edges.receivers, edges.mask
    reached = np.zeros((NODES, QUERIES, HEADS), np.float32)
    for q, h in np.ndindex(QUERIES, HEADS):
        reached[senders[q * HEADS + h], q, h] = 1
    for rounds in range(1, 4):
        _, arrived = jax.jit(with_backend(backend))(states, reached, *coefficients, edges)
        reached = np.minimum(reached + arrived, 1)
        for q, h in np.ndindex(QUERIES, HEADS):
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
