"""Content match: how well an entity's texts and images answer a query, whether or not a path leads to it."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.model.fusion import MODALITIES
from tofu_jax.ops.edges import Edges
from tofu_jax.ops.partition import Ring, highest, one_at, take, total
from tofu_jax.ops.relational import relational_sum
from tofu_jax.tokens.directions import LEAST_LENGTH


class ContentMatch(nn.Module):
    """Cosine similarity of frozen vectors with what is asked for; training only says what it is worth to a relation.

    Asked for is something like the head, and something like what the visible facts of the relation lead to: all of them, those
    of the head itself, and those of heads that are like it. The last is attention over facts, with heads as keys and tails as
    values. Nothing that could learn the entities of the training graphs by heart stands in between; a match of learned
    projections does better on those and worse on unseen graphs.
    """

    partitions: int = 1

    @nn.compact
    def __call__(
        self,
        directions: Mapping[str, jax.Array],
        r_query: jax.Array,
        times_answer: jax.Array,
        query: jax.Array,
        heads: jax.Array,
        edges: Edges | Ring,
        num_relations: int,
    ) -> jax.Array:
        """Scores all entities.

        Args:
          directions: {"text", "image"}: [N, c], see `tokens.directions`; zero where the modality is missing.
          r_query: states of the query relations [Q, d].
          times_answer: [N, Q], see `answers.times_answer`.
          query: int32 [Q] query relations; heads: int32 [Q, H].
          edges: of the graph; num_relations: R.

        Returns:
          [N, Q, H].
        """
        zeros = nn.initializers.zeros
        like_head = nn.Dense(len(MODALITIES), name="like_head")(r_query)  # [Q, modalities]
        like_answers = nn.Dense(len(MODALITIES), name="like_answers")(r_query)
        like_own = nn.Dense(len(MODALITIES), kernel_init=zeros, name="like_own")(r_query)
        like_analogous = nn.Dense(len(MODALITIES), kernel_init=zeros, name="like_analogous")(r_query)
        # How fast another head's facts stop counting as it is less like the one asked for.
        sharpness = jnp.exp(self.param("sharpness", nn.initializers.constant(3.0), (len(MODALITIES),)))

        is_head = one_at(heads, len(times_answer), self.partitions)
        similar, sent = [], [is_head]
        for index, name in enumerate(MODALITIES):
            vectors = directions[name]
            similar.append(jnp.einsum("qhc,nc->nqh", take(vectors, heads, self.partitions), vectors))
            others = (vectors != 0).any(axis=1)[:, None, None] & (is_head == 0)
            nearest = highest(jnp.where(others, similar[index], -1).max(axis=0), self.partitions)
            distance = jnp.maximum(nearest - similar[index], 0)  # only the head itself may be nearer
            sent.append(jnp.where(others, jnp.exp(-sharpness[index] * distance), 0))
        sent += [jnp.zeros_like(is_head)] * (len(sent) % 2)  # the sum wants an even number of channels
        # Messages along the query relation alone, unchanged: which tails its facts have, weighed by their heads.
        asked = (jnp.arange(num_relations)[:, None] == query).astype(r_query.dtype)
        asked = jnp.stack([asked] * len(sent), axis=-1)  # [R, Q, channels]
        none = jnp.zeros_like(asked)
        tails, _ = relational_sum(jnp.stack(sent, axis=-1), jnp.ones_like(is_head), asked, none, none, edges)

        scores = 0
        for index, name in enumerate(MODALITIES):
            vectors = directions[name]
            usual = mean_direction(times_answer, vectors, self.partitions)  # [Q, c]
            own = mean_direction(tails[..., 0], vectors, self.partitions)  # [Q, H, c]
            analogous = mean_direction(tails[..., 1 + index], vectors, self.partitions)
            wanted = like_answers[:, None, index, None] * usual[:, None]
            wanted += like_own[:, None, index, None] * own + like_analogous[:, None, index, None] * analogous
            scores += like_head[:, None, index] * similar[index] + jnp.einsum("qhc,nc->nqh", wanted, vectors)
        return scores


def mean_direction(weights: jax.Array, directions: jax.Array, partitions: int) -> jax.Array:
    """Directions of weighted means over entities.

    Args:
      weights: ≥ 0, [N, ...].
      directions: [N, c], of length 1, or zero where an entity has none: it does not count.
      partitions: devices that the entities are spread over.

    Returns:
      [..., c]; zero where no entity that has a direction has weight.
    """
    there = (directions != 0).any(axis=1).astype(directions.dtype)
    weight = total(jnp.tensordot(there, weights, (0, 0)), partitions)[..., None]
    mean = total(jnp.tensordot(weights, directions, (0, 0)), partitions) / jnp.where(weight > 0, weight, 1)
    squares = (mean**2).sum(axis=-1, keepdims=True)
    something = squares > LEAST_LENGTH**2
    return jnp.where(something, mean / jnp.sqrt(jnp.where(something, squares, 1)), 0)
