"""The training loss: softmax cross-entropy over all entities of the graph (1-vs-all), other known answers left out."""

import jax
import jax.numpy as jnp


def link_loss(
    scores: jax.Array, reached: jax.Array, described: jax.Array, answers: jax.Array, candidates: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of the answers, summed over the queries that can be learned from.

    A query whose answer no path reaches, and which has neither text nor image in this step, is left out: every such answer
    scores the same whatever the model does.

    Args:
      scores, reached: [Q, H, N], see `model.tofu.Tofu`.
      described: [N], whether an entity has a text or an image token in this step.
      answers: int32 [Q, H].
      candidates: bool [Q, H, N], which entities compete.

    Returns:
      the sum of losses over counted queries, and their number.
    """
    # Masked before the softmax: nothing that stands in padding can reach the loss or its gradient.
    log_probability = jax.nn.log_softmax(jnp.where(candidates, scores, -jnp.inf), axis=-1)
    loss = -jnp.take_along_axis(log_probability, answers[..., None], axis=-1)[..., 0]
    counted = (jnp.take_along_axis(reached, answers[..., None], axis=-1)[..., 0] > 0) | described[answers]
    return jnp.where(counted, loss, 0).sum(), counted.sum().astype(scores.dtype)
