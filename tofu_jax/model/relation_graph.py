"""Relation types conditioned on the query relation through the graph of relations (ULTRA, Galkin et al. 2024)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.model.update import ResidualUpdate


class RelationGraphEncoder(nn.Module):
    """Message passing among relation types over the four meta relations, from the query relation outwards."""

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
        num_meta, num_relations, _ = relation_graph.shape
        # A learned start for all other relations too: LayerNorm over zero rows would make the gradient explode.
        start = self.param("start", nn.initializers.normal(1.0), (2, self.width))
        is_query = jnp.arange(num_relations)[:, None] == query
        states = jnp.where(is_query[..., None], start[0], start[1])
        adjacency = relation_graph.astype(start.dtype)
        for layer in range(self.num_layers):
            meta = self.param(f"meta_{layer}", nn.initializers.normal(1.0), (num_meta, self.width))
            messages = jnp.einsum("mij,jqd,md->iqd", adjacency, states, meta)
            states = ResidualUpdate(self.width, name=f"update_{layer}")(states, messages)
        return states
