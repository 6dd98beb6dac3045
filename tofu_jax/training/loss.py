"""The training loss: softmax cross-entropy over all entities of the graph (1-vs-all), other known answers left out."""

import jax
import jax.numpy as jnp

from tofu_jax.ops.partition import highest, row_of, total


def link_loss(
    scores: jax.Array,
    reached: jax.Array,
    described: jax.Array,
    answers: jax.Array,
    candidates: jax.Array,
    partitions: int = 1,
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of the answers, summed over the queries that can be learned from.

    A query whose answer no path reaches, and of which this step sees neither text nor image, is left out: every such answer
    scores the same whatever the model does.

    Args:
      scores, reached: [Q, H, N], see `model.tofu.Tofu`.
      described: [N], whether a step sees a vector or a token of an entity's text or images.
      answers: int32 [Q, H].
      candidates: bool [Q, H, N], which entities compete.
      partitions: of the graph (`ops.partition`); N is then that of a block.

    Returns:
      the sum of losses over counted queries, and their number; of a graph in blocks those whose answer lies in this block.
    """
    # Masked before the softmax: nothing that stands in padding can reach the loss or its gradient.
    scores = jnp.where(candidates, scores, -jnp.inf)
    scores -= highest(scores.max(axis=-1, keepdims=True), partitions)
    log_total = jnp.log(total(jnp.exp(scores).sum(axis=-1), partitions))
    size = scores.shape[-1]
    row = row_of(answers, size, partitions)
    here, row = row < size, jnp.minimum(row, size - 1)
    loss = log_total - jnp.take_along_axis(scores, row[..., None], axis=-1)[..., 0]
    learnable = (jnp.take_along_axis(reached, row[..., None], axis=-1)[..., 0] > 0) | described[row]
    counted = here & learnable
    return jnp.where(counted, loss, 0).sum(), counted.sum().astype(scores.dtype)
