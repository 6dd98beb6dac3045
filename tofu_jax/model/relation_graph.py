"""Relation types conditioned on the query relation through the graph of relations (ULTRA, Galkin et al. 2024)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.model.update import ResidualUpdate


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
    def __call__(self, relation_graph: jax.Array, query: jax.Array) -> jax.Array:
        """Encodes relation types.

        Args:
          relation_graph: [4, R, R], see `graphs.graphs_tuple.PaddedGraph`.
          query: int32 [Q] query relations.

        Returns:
          [R, Q, d].
        """
        # A learned start for all other relations too: LayerNorm over zero rows would make the gradient explode.
        start = self.param("start", nn.initializers.normal(1.0), (2, self.width))
        is_query = jnp.arange(relation_graph.shape[1])[:, None] == query
        states = jnp.where(is_query[..., None], start[0], start[1])
        layers = nn.scan(
            RelationGraphLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.num_layers,
        )(self.width, name="layers")
        return layers(states, relation_graph.astype(start.dtype))[0]
