"""Level 2: what a relation means, read off prompt graphs around example facts (KG-ICL, Cui et al. 2024; TOFU)."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from tofu_jax.graphs.relation_types import NUM_KINDS
from tofu_jax.model.messages import MessageMixture
from tofu_jax.model.relation_graph import start_row
from tofu_jax.model.update import ResidualUpdate
from tofu_jax.ops.partition import take
from tofu_jax.ops.reference import swap


class PromptArrays(NamedTuple):
    """`graphs.prompts.Prompts` on the device, the same fields and shapes."""

    relation: jax.Array
    nodes: jax.Array
    token: jax.Array
    node_mask: jax.Array
    senders: jax.Array
    receivers: jax.Array
    edge_relation: jax.Array
    edge_mask: jax.Array
    example_mask: jax.Array


class _Edges(NamedTuple):
    """Edges of all prompt graphs as one graph: positions in [Q·M·P] nodes and [Q·M·R] relation rows, each [Q·M·S]."""

    sender: jax.Array
    receiver: jax.Array
    relation: jax.Array
    mask: jax.Array


class PromptLayer(nn.Module):
    """One layer on all prompt graphs: messages into nodes, then edges into their relation types, both by maximum."""

    width: int
    operators: tuple[str, ...]

    @nn.compact
    def __call__(self, carry: tuple, query_row: jax.Array, edges: _Edges) -> tuple[tuple, jax.Array]:
        """Updates the states.

        Args:
          carry: nodes [Q·M·P, d], relation types [Q·M, R, d].
          query_row: int32 [Q·M], each graph's query relation among the rows [Q·M·R].
          edges: of all prompt graphs.

        Returns:
          The new carry and its relation types, to be collected by `nn.scan`.
        """
        nodes, relations = carry
        flat = relations.reshape(-1, self.width)
        coefficients = MessageMixture(self.operators, name="messages")(relations.swapaxes(0, 1), flat[query_row])
        scale, swap_scale, bias = (c.swapaxes(0, 1).reshape(-1, self.width)[edges.relation] for c in coefficients)
        sent = nodes[edges.sender]
        received = _max_by(scale * sent + swap_scale * swap(sent) + bias, edges.receiver, edges.mask, len(nodes))
        nodes = ResidualUpdate(self.width, name="node")(nodes, received)

        ends = nn.Dense(self.width, name="sender")(nodes)[edges.sender]
        ends += nn.Dense(self.width, use_bias=False, name="receiver")(nodes)[edges.receiver]
        seen = _max_by(nn.relu(ends), edges.relation, edges.mask, len(flat)).reshape(relations.shape)
        relations = ResidualUpdate(self.width, name="relation")(relations, seen)
        return (nodes, relations), relations


class PromptEncoder(nn.Module):
    """Message passing on prompt graphs; the states of the relation types are read out."""

    width: int
    num_layers: int
    num_tokens: int
    operators: tuple[str, ...]
    partitions: int = 1

    @nn.compact
    def __call__(self, prompts: PromptArrays, entities: jax.Array, kinds: jax.Array) -> jax.Array:
        """Encodes relation types for each query relation.

        Args:
          prompts: of Q query relations.
          entities: z, [N, d].
          kinds: of the relation types [R], see `graphs.relation_types`.

        Returns:
          [R, Q, d]; zero states are never passed through a LayerNorm (their gradient would explode).
        """
        num_queries, num_examples, _ = prompts.nodes.shape
        graphs, num_relations = num_queries * num_examples, len(kinds)
        edges = _flatten(prompts, num_relations)
        token = self.param("token", nn.initializers.normal(1.0), (self.num_tokens, self.width))
        gate = self.param("entity_gate", nn.initializers.constant(0.1), (self.width,))
        content = nn.Dense(self.width, name="entity")(entities)
        nodes = (token[prompts.token] + gate * take(content, prompts.nodes, self.partitions)).reshape(-1, self.width)

        start = self.param("relation", nn.initializers.normal(1.0), (1 + NUM_KINDS, self.width))
        relations = start[start_row(kinds[None], prompts.relation[:, None])]
        relations = jnp.repeat(relations, num_examples, axis=0)  # [graphs, R, d]
        query_row = jnp.arange(graphs) * num_relations + jnp.repeat(prompts.relation, num_examples)

        layers = nn.scan(
            PromptLayer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.num_layers,
        )(self.width, self.operators, name="layers")
        _, by_layer = layers((nodes, relations), query_row, edges)
        readout = jnp.concatenate([relations[None], by_layer])  # [1 + layers, graphs, R, d]
        states = nn.DenseGeneral(self.width, axis=(0, -1), name="readout")(readout)
        states = states.reshape(num_queries, num_examples, num_relations, self.width)
        weight = prompts.example_mask.astype(states.dtype)
        weight /= jnp.maximum(weight.sum(axis=1, keepdims=True), 1)
        return jnp.einsum("qm,qmrd->rqd", weight, states)


def _flatten(prompts: PromptArrays, num_relations: int) -> _Edges:
    graphs = prompts.nodes.shape[0] * prompts.nodes.shape[1]
    first_node = (jnp.arange(graphs) * prompts.nodes.shape[2])[:, None]
    first_relation = (jnp.arange(graphs) * num_relations)[:, None]

    def rows(values: jax.Array, first: jax.Array | int) -> jax.Array:
        return (values.reshape(graphs, -1) + first).reshape(-1)

    return _Edges(
        rows(prompts.senders, first_node),
        rows(prompts.receivers, first_node),
        rows(prompts.edge_relation, first_relation),
        prompts.edge_mask.reshape(-1),
    )


def _max_by(values: jax.Array, groups: jax.Array, mask: jax.Array, num_groups: int) -> jax.Array:
    """Maximum of [S, d] values by group [num_groups, d]; 0 where a group is empty (segment_max alone gives −inf there)."""
    values = jnp.where(mask[:, None], values, -jnp.inf)
    maximum = jax.ops.segment_max(values, groups, num_groups)
    return jnp.where(jnp.isfinite(maximum), maximum, 0)
