"""Content match: how well an entity's texts and images answer a query, whether or not a path leads to it."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.model.fusion import MODALITIES, at_length_one
from tofu_jax.ops.partition import take, total


class ContentMatch(nn.Module):
    """Cosine similarity of frozen token vectors with what is asked for; training only says what it is worth to a relation.

    Asked for is something like the head, and something like what the relation usually leads to: the mean over its visible
    facts. Nothing that could learn the entities of the training graphs by heart stands in between; a match of learned
    projections does better on those and worse on unseen graphs.
    """

    partitions: int = 1

    @nn.compact
    def __call__(
        self, direction: Mapping[str, jax.Array], r_query: jax.Array, times_answer: jax.Array, heads: jax.Array
    ) -> jax.Array:
        """Scores all entities.

        Args:
          direction: of `fusion.EntityStates`, [N, c] each, at length 1 or 0.
          r_query: states of the query relations [Q, d].
          times_answer: [N, Q], see `answers.times_answer`.
          heads: int32 [Q, H].

        Returns:
          [N, Q, H].
        """
        like_head = nn.Dense(len(MODALITIES), name="like_head")(r_query)  # [Q, modalities]
        like_answers = nn.Dense(len(MODALITIES), name="like_answers")(r_query)
        scores = 0
        for index, name in enumerate(MODALITIES):
            vectors = direction[name]
            usual = at_length_one(total(times_answer.T @ vectors, self.partitions))  # [Q, c]
            of_head = take(vectors, heads, self.partitions)
            wanted = like_head[:, None, index, None] * of_head + (like_answers[:, index, None] * usual)[:, None]
            scores += jnp.einsum("qhc,nc->nqh", wanted, vectors)
        return scores
