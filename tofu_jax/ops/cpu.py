"""`ops.relational` in C++ (compiled/), called by XLA on CPUs.

setup.py builds the library where there is a C++ compiler. Its tasks run on XLA's own threads, so that it needs no setting of
its own: what limits XLA to some cores (for instance `taskset`) limits it.
"""

import ctypes
import functools
import importlib.machinery
import pathlib

import jax
import jax.numpy as jnp

from tofu_jax.ops.edges import Edges

_TARGETS = ("tofu_relational_sum", "tofu_relational_sum_gradient", "tofu_update", "tofu_update_gradient")
_MOST_PARTS = 4


@functools.cache
def _load() -> str:
    """Registers the library with XLA; what is wrong with it, or ""."""
    folder = pathlib.Path(__file__).parent / "compiled"
    built = [folder / f"_kernels{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    library = next((path for path in built if path.exists()), None)
    if library is None:
        return "the C++ library was not built; install a C++ compiler (g++ or clang++) and install tofu_jax again"
    try:
        functions = ctypes.CDLL(str(library))
        for target in _TARGETS:
            jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(getattr(functions, target)), platform="cpu")
    except (OSError, AttributeError) as error:
        return f"the C++ library cannot be used ({error}); install tofu_jax again"
    return ""


def available() -> bool:
    """Whether the library was built and loads."""
    return not _load()


def why_not() -> str:
    """What is missing, and what to do about it."""
    return _load()


def _arguments(edges: Edges) -> tuple:
    """What the C++ reads of the edges; ids have 32 bits except where a caller works in 64 throughout."""
    ids = (edges.senders, edges.relations, edges.receivers)
    return *(values.astype(jnp.int32) for values in ids), edges.mask, edges.by_sender.astype(jnp.int32)


def forward(states, present, scale, swap_scale, bias, edges: Edges) -> tuple[jax.Array, jax.Array]:
    """`relational_sum`."""
    results = (jax.ShapeDtypeStruct(states.shape, states.dtype), jax.ShapeDtypeStruct(present.shape, present.dtype))
    return tuple(jax.ffi.ffi_call(_TARGETS[0], results)(states, present, scale, swap_scale, bias, *_arguments(edges)))


def backward(states, present, scale, swap_scale, bias, edges: Edges, gradient) -> tuple[jax.Array, ...]:
    """Gradients for states, scale, swap_scale and bias."""
    num_relations, num_queries, width = scale.shape
    # Coefficients are summed in parts, one task each. Their number depends on nothing but shapes, so neither does the result;
    # it is bounded, so that parts stay small beside the edges' own traffic.
    edges_per_part = 12 * num_relations / max(states.shape[2], 1)
    num_parts = int(min(max(len(edges.senders) / edges_per_part, 1), _MOST_PARTS))
    parts_type = jnp.promote_types(states.dtype, jnp.float32)
    results = (
        jax.ShapeDtypeStruct(states.shape, states.dtype),
        jax.ShapeDtypeStruct((num_parts, num_relations, 3, num_queries, width), parts_type),
    )
    call = jax.ffi.ffi_call(_TARGETS[1], results)
    d_states, parts = call(states, present, scale, swap_scale, gradient, *_arguments(edges))
    return d_states, *jnp.moveaxis(parts.sum(axis=0), 1, 0).astype(scale.dtype)
