"""The hot operation: for every query, sum over the edges into a node an affine function of the source's state.

    out[i, q, h] = Σ over edges (s, ρ, i):  p[s, q, h] · (A[ρ, q] ⊙ x[s, q, h] + C[ρ, q] ⊙ swap(x[s, q, h]) + bias[ρ, q])

`swap` exchanges the two halves of a state, so the channels (j, j + d/2) form the pair that a rotation turns. Translation,
product and rotation messages, and any mixture of them with weights per relation and query, have this form (TOFU's mixture of
messages, collapsed before any edge is touched). p is 1 where a node sends and 0 where it does not.

States are node-major, [N, Q, H, d], so that an edge reads one contiguous row.

The gradients, with g the gradient of `out`, over edges (s, ρ, i): dx[s] = Σ p[s] · (A[ρ] ⊙ g[i] + swap(C[ρ] ⊙ g[i])),
dA[ρ] = Σ p[s] · x[s] ⊙ g[i], dC[ρ] = Σ p[s] · swap(x[s]) ⊙ g[i], dbias[ρ] = Σ p[s] · g[i], the last three summed over h.

Four implementations give the same results; `active_backend` says which one is used:

    cpu        C++ (ops/compiled/), where it was built; for CPUs
    xla        a scan over rows of edges; any device
    pallas     kernels for GPUs, on request
    reference  the definition, message by message; any device
"""

import functools
import os

import jax
import jax.numpy as jnp

from tofu_jax.errors import TofuError
from tofu_jax.ops import cpu, pallas, partition, reference, xla
from tofu_jax.ops.edges import Edges
from tofu_jax.ops.partition import Ring

BACKENDS = {"cpu": cpu, "xla": xla, "pallas": pallas, "reference": reference}


def relational_sum(
    states: jax.Array,
    present: jax.Array,
    scale: jax.Array,
    swap_scale: jax.Array,
    bias: jax.Array,
    edges: Edges | Ring,
    backend: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Sums affine messages over incoming edges (formula and gradients above) without writing the messages down.

    Args:
      states: x, [N, Q, H, d], d even; float32, float64 or bfloat16 (summed in float32).
      present: p, [N, Q, H] of 0 and 1 in the dtype of `states`. It has no gradient.
      scale, swap_scale, bias: A, C, bias, [R, Q, d] in the dtype of `states`.
      edges: of N nodes and R relation types; a `Ring` where the graph lies on several devices, each with N of its nodes.
      backend: one of BACKENDS; None for the best that there is (`active_backend`).

    Returns:
      sums [N, Q, H, d], and how many messages each has [N, Q, H].
    """
    return _sum(backend or active_backend(), (states, present, scale, swap_scale, bias), edges)


def active_backend() -> str:
    """What `relational_sum` uses: "cpu" on CPUs where its library was built, else "xla"; TOFU_JAX_BACKEND overrides it.

    Raises:
      TofuError: TOFU_JAX_BACKEND names something that is not there.
    """
    on_cpu = jax.default_backend() == "cpu"
    chosen = os.environ.get("TOFU_JAX_BACKEND") or ("cpu" if on_cpu and cpu.available() else "xla")
    if chosen not in BACKENDS:
        raise TofuError(f"TOFU_JAX_BACKEND={chosen} is not one of {', '.join(BACKENDS)}.")
    if chosen == "cpu" and not (on_cpu and cpu.available()):
        raise TofuError(f"TOFU_JAX_BACKEND=cpu, but {cpu.why_not() if on_cpu else 'the device is none; leave it unset'}.")
    return chosen


def describe_backend() -> str:
    """One line for people: what is used, and where there is something faster, how to get it."""
    missing = jax.default_backend() == "cpu" and not cpu.available()
    return f"message passing: {active_backend()}" + (f" ({cpu.why_not()})" if missing else "")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum(backend: str, values: tuple, edges: Edges | Ring) -> tuple[jax.Array, jax.Array]:
    if isinstance(edges, Ring):
        return partition.forward(BACKENDS[backend], values, edges)
    return BACKENDS[backend].forward(*values, edges)


def _forward(backend, values, edges):
    return _sum(backend, values, edges), (values, edges)


def _backward(backend, saved, gradients):
    values, edges = saved
    if isinstance(edges, Ring):
        d_states, *d_coefficients = partition.backward(BACKENDS[backend], values, edges, gradients[0])
    else:
        d_states, *d_coefficients = BACKENDS[backend].backward(*values, edges, gradients[0])
    return (d_states, jnp.zeros_like(values[1]), *d_coefficients), None


_sum.defvjp(_forward, _backward)
