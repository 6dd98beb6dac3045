"""Level 3: conditional message passing from the query's head over the whole graph (NBFNet's scheme, TOFU's messages)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.model.fusion import MODALITIES, EntityStates
from tofu_jax.model.messages import Coefficients, MessageMixture
from tofu_jax.model.update import ResidualUpdate
from tofu_jax.ops.edges import Edges
from tofu_jax.ops.partition import Ring, one_at, take
from tofu_jax.ops.relational import relational_sum


class ModalityMessages(nn.Module):
    """The modality experts: what the neighbours of an entity look and read like, for each query relation.

    The same mixture as on structure, with z^text or z^image in the place of the sender's state, or one learned vector for any
    neighbour: which relations lead to an entity is known of all of them, also where texts and images are not. Nothing in it
    depends on the head, so it is summed once per query relation, not per query and layer.
    """

    operators: tuple[str, ...]

    @nn.compact
    def __call__(self, entities: EntityStates, relations: jax.Array, query: jax.Array, edges: Edges | Ring) -> jax.Array:
        """Sums modality messages over incoming edges.

        Args:
          entities: states of fusion, [N, d] each.
          relations: P, [R, Q, d]; query: P of the query relations [Q, d].
          edges: of the graph.

        Returns:
          [N, Q, 1, d].
        """
        count, (num_relations, num_queries, width) = len(MODALITIES) + 1, relations.shape
        mixture = nn.vmap(
            MessageMixture,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,
            out_axes=1,
            axis_size=count,
        )
        coefficients = mixture(self.operators, name="messages")(relations, query)  # [R, modalities, Q, d]
        # Initialised small, so that the solution without texts and images stays reachable.
        gate = nn.Dense(count, bias_init=nn.initializers.constant(-2.0), name="gate")(relations)
        gate += nn.Dense(count, use_bias=False, name="query_gate")(query)
        gate = jnp.moveaxis(nn.sigmoid(gate), -1, 1)[..., None]
        # To the sum, a modality is one more axis of queries.
        coefficients = ((gate * values).reshape(num_relations, -1, width) for values in coefficients)

        shape = (len(entities.fused), count, num_queries, width)
        projected = [nn.Dense(width, use_bias=False, name=f"{name}_projection")(entities.modality[name]) for name in MODALITIES]
        neighbor = self.param("neighbor", nn.initializers.normal(1.0), (width,))
        projected.append(jnp.broadcast_to(neighbor, (shape[0], width)))
        states = jnp.broadcast_to(jnp.stack(projected, axis=1)[:, :, None], shape).reshape(shape[0], -1, 1, width)
        present = jnp.stack([*(entities.present[name] for name in MODALITIES), jnp.ones(shape[0])], axis=1)
        present = jnp.broadcast_to(present[:, :, None], shape[:3]).reshape(shape[0], -1, 1)
        received, _ = relational_sum(states, present, *coefficients, edges)
        return received.reshape(shape).sum(axis=1)[:, :, None]


class Sent(NamedTuple):
    """What the messages of a layer are made of: arguments of `ops.relational`.

    Attributes:
      states, reached: [N, Q, H, d] and [N, Q, H], of the senders.
      coefficients: [R, Q, d] each.
    """

    states: jax.Array
    reached: jax.Array
    coefficients: Coefficients


class GraphLayer(nn.Module):
    """One layer: refined relation states → collapsed mixture of messages → sum → residual update.

    For explanations a layer stores what it sent ("intermediates"), and adds what it finds in "nudges" to the sums of messages,
    so that one can ask what these were worth. Neither collection exists otherwise.
    """

    width: int
    operators: tuple[str, ...]

    @nn.compact
    def __call__(self, carry: tuple, query: jax.Array, described: jax.Array, edges: Edges | Ring) -> tuple[tuple, None]:
        """Takes one step away from the heads.

        Args:
          carry: states [N, Q, H, d], reached [N, Q, H], relation states [R, Q, d].
          query: int32 [Q] query relations.
          described: modality messages [N, Q, 1, d].
          edges: of the graph.

        Returns:
          The new carry, and nothing to collect (the form that `nn.scan` asks for).
        """
        states, reached, relations = carry
        refined = nn.LayerNorm(epsilon=1e-5, name="refine_norm")(relations)
        relations += nn.relu(nn.Dense(self.width, name="refine")(refined))
        r_query = relations[query, jnp.arange(len(query))]
        coefficients = MessageMixture(self.operators, name="messages")(relations, r_query)
        received, arrived = relational_sum(states, reached, *coefficients, edges)
        self.sow("intermediates", "sent", Sent(states, reached, coefficients))
        if self.has_variable("nudges", "received"):
            received += self.get_variable("nudges", "received")
        reached = jax.lax.stop_gradient(jnp.minimum(reached + arrived, 1))
        # Where nothing has arrived the state stays 0: only what is reached may send.
        states = ResidualUpdate(self.width, name="update")(states, received, described, reached)
        return (states, reached, relations), None


class GraphEncoder(nn.Module):
    """L layers from the query's head over the graph."""

    width: int
    num_layers: int
    operators: tuple[str, ...]
    partitions: int = 1

    @nn.compact
    def __call__(
        self, entities: EntityStates, relations: jax.Array, query: jax.Array, heads: jax.Array, edges: Edges | Ring
    ) -> tuple[jax.Array, jax.Array]:
        """Spreads from each head.

        Args:
          entities: states of fusion, [N, d] each.
          relations: P, [R, Q, d].
          query: int32 [Q] query relations; heads: int32 [Q, H].
          edges: of the graph.

        Returns:
          states [N, Q, H, d], zero where unreached, and reached [N, Q, H] of 0 and 1.
        """
        r_query = relations[query, jnp.arange(len(query))]

        gate = self.param("head_gate", nn.initializers.constant(0.1), (self.width,))
        content = nn.Dense(self.width, name="head")(entities.fused)
        start = r_query[:, None] + gate * take(content, heads, self.partitions)
        reached = one_at(heads, len(entities.fused), self.partitions).astype(start.dtype)
        states = reached[..., None] * start
        described = ModalityMessages(self.operators, name="modality")(entities, relations, r_query, edges)

        layers = nn.scan(
            GraphLayer,
            variable_axes={"params": 0, "intermediates": 0, "nudges": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.num_layers,
        )(self.width, self.operators, name="layers")
        (states, reached, _), _ = layers((states, reached, relations), query, described, edges)
        return states, reached
