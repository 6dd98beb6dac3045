"""One training step: pure, pmapped over devices, queries split among them, gradients summed across."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import optax

from tofu_jax.model.fusion import MODALITIES
from tofu_jax.model.prompt_encoder import PromptArrays
from tofu_jax.model.tofu import Tofu
from tofu_jax.ops.partition import AXIS
from tofu_jax.training.loss import link_loss
from tofu_jax.training.mixture import Batch
from tofu_jax.training.optimizer import packed, unpacked


class TrainState(NamedTuple):
    """What a step changes: parameters, and the optimizer's state for `packed` parameters."""

    params: Any
    optimizer: Any

    @classmethod
    def create(cls, params: Any, optimizer: optax.GradientTransformation) -> "TrainState":
        """The state before the first step."""
        return cls(params, optimizer.init(packed(params)))


class QueryArrays(NamedTuple):
    """The part of a batch that is split over devices: axis 0 is Q."""

    prompts: PromptArrays
    heads: jax.Array
    answers: jax.Array
    candidates: jax.Array


class StepMetrics(NamedTuple):
    """Scalars of a step.

    Attributes:
      loss: mean over counted queries.
      gradient_norm: global norm before clipping.
      parameter_norm: global norm after the update; with it, one number tells whether every parameter is finite.
      counted: share of queries counted.
    """

    loss: jax.Array
    gradient_norm: jax.Array
    parameter_norm: jax.Array
    counted: jax.Array


def query_arrays(batch: Batch) -> QueryArrays:
    """The arrays of a batch with axis 0 = Q."""
    fields = {name: getattr(batch.prompts, name) for name in PromptArrays._fields}
    return QueryArrays(PromptArrays(**fields), batch.heads, batch.answers, batch.candidates)


def split_over_devices(queries: QueryArrays, num_devices: int) -> QueryArrays:
    """Cuts axis 0 into equal parts, a device each.

    Args:
      queries: of this process.
      num_devices: of this process.

    Returns:
      arrays [num_devices, Q / num_devices, ...].
    """
    return jax.tree.map(lambda values: values.reshape(num_devices, -1, *values.shape[1:]), queries)


def visible_nodes(nodes: Mapping[str, jax.Array], modalities: jax.Array) -> dict[str, jax.Array]:
    """Node features as a step sees them.

    Args:
      nodes: of `graphs_tuple.PaddedGraph`.
      modalities: bool [2, 2], as in `mixture.Batch`: columns as in `fusion.MODALITIES`.

    Returns:
      the same with directions set to zero (first row) and masks of tokens to False (second) where something is not seen.
    """
    directions = {f"{name}_direction": nodes[f"{name}_direction"] * modalities[0, i] for i, name in enumerate(MODALITIES)}
    masks = {f"{name}_mask": nodes[f"{name}_mask"] & modalities[1, i] for i, name in enumerate(MODALITIES)}
    return {**nodes, **directions, **masks}


def batch_loss(model: Tofu, params, codebooks, graph: jraph.GraphsTuple, edge_mask, modalities, queries: QueryArrays):
    """Sum of losses and number of counted queries for the queries of one device."""
    graph = graph._replace(nodes=visible_nodes(graph.nodes, modalities))
    scores, reached = model.apply(params, graph, edge_mask, codebooks, queries.prompts, queries.heads)
    features = [graph.nodes[f"{name}_{kind}"] for name in MODALITIES for kind in ("direction", "mask")]
    described = jnp.stack([(feature != 0).any(axis=1) for feature in features]).any(axis=0)
    return link_loss(scores, reached, described, queries.answers, queries.candidates, model.partitions)


@functools.cache  # so that a second run in one process does not compile again
def create_train_step(
    model: Tofu, optimizer: optax.GradientTransformation, parts: int = 1
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """Builds the pmapped step.

    Args:
      model: to train.
      optimizer: from `create_optimizer`.
      parts: a device works through its query relations in so many parts, one after the other, and adds up their gradients:
        the same step in less memory.

    Returns:
      step(state, codebooks, graph, edge_mask, modalities, queries) → (state, metrics). State and queries have a leading
      device axis, metrics too (equal on all devices); the rest is given once, except that of a graph in blocks
      (model.partitions > 1) each device gets its own graph and edge_mask. The old state's memory is reused.
    """

    def step(state, codebooks, graph, edge_mask, modalities, queries):
        def total_loss(params, part):
            return batch_loss(model, params, codebooks, graph, edge_mask, modalities, part)

        def add(sums, part):
            values, gradients = jax.value_and_grad(total_loss, has_aux=True)(state.params, part)
            return jax.tree.map(jnp.add, sums, (values, packed(gradients))), None

        params = packed(state.params)
        nothing = ((jnp.zeros(()), jnp.zeros(())), jax.tree.map(jnp.zeros_like, params))
        in_parts = jax.tree.map(lambda values: values.reshape(parts, -1, *values.shape[1:]), queries)
        sums, _ = jax.lax.scan(add, nothing, in_parts, unroll=parts == 1)  # one part needs no loop, which compiles longer
        (total, counted), gradients = jax.lax.psum(sums, AXIS)
        # Divided by the count over all devices and parts: the gradient of the mean over the whole batch.
        loss, gradients = jax.tree.map(lambda value: value / jnp.maximum(counted, 1), (total, gradients))
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, params)
        params = optax.apply_updates(params, updates)
        num_queries = jax.lax.psum(queries.heads.size, AXIS) / model.partitions  # all devices of a graph have the same
        metrics = StepMetrics(loss, optax.tree.norm(gradients), optax.tree.norm(params), counted / num_queries)
        return TrainState(unpacked(params, state.params), optimizer_state), metrics

    per_graph = None if model.partitions == 1 else 0  # graph and edge mask: the same for all devices, or of each its block
    return jax.pmap(step, axis_name=AXIS, in_axes=(0, None, per_graph, per_graph, None, 0), donate_argnums=0)


# Gives arrays the layout in which a step returns them; otherwise the second step would be compiled once more.
lay_out = jax.pmap(lambda x: x, axis_name=AXIS)


def replicate(state: TrainState) -> TrainState:
    """Copies a state to every local device (leading device axis)."""
    # From the host: what a checkpoint restores is bound to one device.
    stacked = jax.tree.map(lambda x: np.stack([np.asarray(x)] * jax.local_device_count()), state)
    return lay_out(stacked)


def unreplicate(tree):
    """The first device's copy, as host arrays without the device axis."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_shards[0].data)[0], tree)
