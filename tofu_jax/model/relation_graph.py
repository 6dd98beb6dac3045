"""Relation types conditioned on the query relation through the graph of relations (ULTRA, Galkin et al. 2024)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.graphs.relation_types import NUM_KINDS
from tofu_jax.model.update import ResidualUpdate


def start_row(kinds: jax.Array, query: jax.Array) -> jax.Array:
    """Which learned vector a relation type begins with: 0 for the query relation, else one of its kind.

    Args:
      kinds: [R, 1] or [1, R], see `graphs.relation_types`.
      query: int32 [Q] or [Q, 1] query relations.

    Returns:
      int32 [R, Q] or [Q, R].
    """
    types = jnp.arange(kinds.size).reshape(kinds.shape)
    return jnp.where(types == query, 0, 1 + kinds.astype(jnp.int32))


class RelationGraphLayer(nn.Module):
    """One step along the four meta relations."""

    width: int

    @nn.compact
    def __call__(self, states: jax.Array, adjacency: jax.Array) -> tuple[jax.Array, None]:
        """states [R, Q, d], adjacency [4, R, R] → new states, and nothing to collect (the form that `nn.scan` asks for)."""
        meta = self.param("meta", nn.initializers.normal(1.0), (adjacency.shape[0], self.width))
        messages = jnp.einsum("mij,jqd,md->iqd", adjacency, states, meta)
        return ResidualUpdate(self.width, name="update")(states, messages), None


class RelationGraphEncoder(nn.Module):
    """Message passing among relation types over the four meta relations, from the query relation outwards.

    Layers are scanned, so that only one is compiled; so are those of the other encoders.
    """

    width: int
    num_layers: int

    @nn.compact
    def __call__(self, relation_graph: jax.Array, overlap: jax.Array, kinds: jax.Array, query: jax.Array) -> jax.Array:
        """Encodes relation types.

        Args:
          relation_graph: [4, R, R]; overlap: [R, R]; kinds: [R]; see `graphs.relation_types`.
          query: int32 [Q] query relations.

        Returns:
          [R, Q, d].
        """
        # A learned start for all other types too: LayerNorm over zero rows would make the gradient explode.
        start = self.param("start", nn.initializers.normal(1.0), (1 + NUM_KINDS, self.width))
        states = start[start_row(kinds[:, None], query)]
        # How often a type joins what the query relation joins, and the other way round; roots tell small shares apart.
        shares = jnp.stack([overlap[:, query], overlap.T[:, query]], axis=-1).astype(start.dtype)
        states += nn.Dense(self.width, use_bias=False, name="overlap")(jnp.sqrt(shares))
        layers = nn.scan(
            RelationGraphLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.num_layers,
        )(self.width, name="layers")
        return layers(states, relation_graph.astype(start.dtype))[0]
