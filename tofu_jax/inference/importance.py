"""What each edge, at each layer, is worth to one score: its gradient by a weight of the edge's message (NBFNet, section 4.4).

Message passing has no weights: layer l sums m[i] = Σ messages of the edges into i. With a weight w = 1 before each message,
∂score/∂w of an edge is ⟨∂score/∂m[i], its message⟩. So one backward pass to the sums of messages, and each message once, give
all of them; the kernels stay as they are.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tofu_jax.graphs.graphs_tuple import edges_of
from tofu_jax.model.tofu import Tofu
from tofu_jax.ops.reference import messages
from tofu_jax.shapes import Array


class Importance(NamedTuple):
    """What a score is made of.

    Attributes:
      edges: float [L, E], ∂score/∂weight of each edge at each layer; 0 where no path from the head to the tail uses it.
      parts: name → the tail's part of the score, and the mean of that part over all entities.
      reached: whether messages from the head arrive at the tail.
    """

    edges: Array
    parts: dict[str, tuple[float, float]]
    reached: bool


def edge_importance(model: Tofu, params: Any, arguments: tuple, tail: int, num_entities: int) -> Importance:
    """Takes the score of one entity apart.

    Args:
      model, params: of a checkpoint.
      arguments: of `Tofu.score` for one query, H = 1, see `ModelScorer.arguments`.
      tail: the entity whose score it is.
      num_entities: N without padding.
    """
    edges, parts, reached = _taken_apart(model, params, arguments, jnp.int32(tail))
    parts = {name: np.asarray(values)[:num_entities] for name, values in parts.items()}
    centred = {name: (float(values[tail]), float(values.mean(dtype=np.float64))) for name, values in parts.items()}
    return Importance(np.asarray(edges), centred, bool(reached))


@functools.partial(jax.jit, static_argnums=0)
def _taken_apart(model: Tofu, params: Any, arguments: tuple, tail: jax.Array) -> tuple:
    """Importance [L, E], parts [N] by name, and whether the tail is reached."""
    graph, edge_mask = arguments[:2]
    edges = edges_of(graph, edge_mask)
    config = model.config
    shape = (config.layers, graph.nodes["text_ids"].shape[0], 1, 1, config.width)

    def score(nudge):
        variables = {**params, "nudges": {"graph_encoder": {"layers": {"received": nudge}}}}
        (scores, reached), stored = model.apply(variables, *arguments, method=Tofu.score, mutable=["intermediates"])
        return scores[0, 0, tail], (stored["intermediates"], reached[0, 0, tail])

    gradient, (stored, reached) = jax.grad(score, has_aux=True)(jnp.zeros(shape, arguments[3].dtype))

    def of_layer(layer):
        by_sum, sent = layer
        message, _ = messages(sent.states, sent.reached, *sent.coefficients, edges)
        return (message * by_sum[edges.receivers]).sum(axis=(1, 2, 3))

    (sent,), (parts,) = stored["graph_encoder"]["layers"]["sent"], stored["parts"]
    # One layer at a time: the messages of all would take L times the memory.
    importance = jax.lax.map(of_layer, (gradient, sent))
    return importance, {name: values[:, 0, 0] for name, values in parts.items()}, reached > 0
