"""The model on one page: tokens → entity fusion → relation prompts → mixture-of-message blocks → scores.

    token ids of entities ─ fusion ─► z [N, d] ───────────┬───────────────────────────┬──────────────┐
                                                          ▼                           ▼              │ content
    example facts ─ prompt graphs ─ prompt encoder ─► [R, Q, d] ┐                                    ▼ match
    relation types ─ relation graph encoder ────────► [R, Q, d] ┴─► P [R, Q, d] ─► graph encoder ─► scores [Q, H, N]

No parameter belongs to an entity or to a relation: what is learned lives in layers, token codebooks and projections.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph

from tofu_jax.graphs.graphs_tuple import edges_of
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.model.answers import AnswerPrior, times_answer
from tofu_jax.model.content import ContentMatch
from tofu_jax.model.fusion import MODALITIES, EntityFusion, EntityStates
from tofu_jax.model.graph_encoder import GraphEncoder
from tofu_jax.model.messages import OPERATORS
from tofu_jax.model.prompt_encoder import PromptArrays, PromptEncoder
from tofu_jax.model.relation_graph import RelationGraphEncoder
from tofu_jax.ops.partition import Ring


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of the model; a checkpoint fits exactly one of these.

    Attributes:
      width: d, even and a multiple of fusion_heads.
      layers: L, of the graph encoder: how many hops a prediction can see.
      prompt_layers, relation_layers: of the two relation encoders.
      fusion_heads: attention heads of entity fusion.
      operators: experts of the message mixture, out of `messages.OPERATORS`.
    """

    width: int = 32
    layers: int = 5
    prompt_layers: int = 3
    relation_layers: int = 4
    fusion_heads: int = 4
    operators: tuple[str, ...] = OPERATORS


class Tofu(nn.Module):
    """TOFU, arXiv 2602.15896; open choices as in the docstrings of its parts.

    With several partitions the entities of a graph are spread over so many devices (`ops.partition`): entities, edges and
    whatever is [.., N] below are then those of a block, and ids of entities are those of `graphs.partitioned`.
    """

    config: ModelConfig
    partitions: int = 1

    def setup(self):
        c = self.config
        self.fusion = EntityFusion(c.width, c.fusion_heads)
        self.prompt_encoder = PromptEncoder(c.width, c.prompt_layers, (NUM_HOPS + 1) ** 2, c.operators, self.partitions)
        self.relation_encoder = RelationGraphEncoder(c.width, c.relation_layers)
        self.join = nn.Dense(c.width)
        self.join_norm = nn.LayerNorm(epsilon=1e-5)
        self.graph_encoder = GraphEncoder(c.width, c.layers, c.operators, self.partitions)
        self.structure_hidden = nn.Dense(c.width)
        self.structure_query = nn.Dense(c.width, use_bias=False)
        self.structure_score = nn.Dense(1)
        self.unreached_score = self.param("unreached_score", nn.initializers.constant(-1.0), ())
        self.content_match = ContentMatch(self.partitions)
        self.answer_prior = AnswerPrior()

    def __call__(
        self,
        graph: jraph.GraphsTuple,
        edge_mask: jax.Array,
        codebooks: Mapping[str, jax.Array],
        prompts: PromptArrays,
        heads: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Scores every entity as the answer of every query.

        Args:
          graph: padded, see `graphs.graphs_tuple.PaddedGraph`.
          edge_mask: bool [E], which edges carry messages.
          codebooks: {"text", "image"}: frozen vectors [codes, c].
          prompts: of the Q query relations.
          heads: int32 [Q, H] heads asked for each query relation.

        Returns:
          scores [Q, H, N] (padding entities included: mask them) and reached [Q, H, N] of 0 and 1.
        """
        entities = self.encode_entities(graph, codebooks)
        relations = self.encode_relations(graph, entities, prompts)
        return self.score(graph, edge_mask, entities, relations, prompts.relation, heads)

    def encode_entities(self, graph: jraph.GraphsTuple, codebooks: Mapping[str, jax.Array]) -> EntityStates:
        """Level 1, z [N, d]: depends on the tokens alone, so one evaluation per graph is enough at inference."""
        vocabularies = {name: codebook[graph.globals[f"{name}_vocabulary"][0]] for name, codebook in codebooks.items()}
        return self.fusion(graph.nodes, vocabularies)

    def encode_relations(self, graph: jraph.GraphsTuple, entities: EntityStates, prompts: PromptArrays) -> jax.Array:
        """Level 2, P [R, Q, d]: every relation type in the light of each query relation."""
        relation_graph, overlap, kinds = (graph.globals[f"relation_{name}"][0] for name in ("graph", "overlap", "kind"))
        by_examples = self.prompt_encoder(prompts, entities.fused, kinds)
        by_neighbors = self.relation_encoder(relation_graph, overlap, kinds, prompts.relation)
        return self.join_norm(self.join(jnp.concatenate([by_examples, by_neighbors], axis=-1)))

    def score(
        self,
        graph: jraph.GraphsTuple,
        edge_mask: jax.Array,
        entities: EntityStates,
        relations: jax.Array,
        query: jax.Array,
        heads: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Level 3 and the score: what paths say of an entity, how well its content answers the query, how often it does."""
        edges = edges_of(graph, edge_mask)
        edges = edges if self.partitions == 1 else Ring(edges)
        states, reached = self.graph_encoder(entities, relations, query, heads, edges)
        r_query = relations[query, jnp.arange(len(query))]

        hidden = nn.relu(self.structure_hidden(states) + self.structure_query(r_query)[:, None])
        structure = jnp.where(reached > 0, self.structure_score(hidden)[..., 0], self.unreached_score)

        counts = times_answer(edges, query, graph.nodes["text_ids"].shape[0])
        directions = {name: graph.nodes[f"{name}_direction"] for name in MODALITIES}
        content = self.content_match(directions, r_query, counts, query, heads, edges, len(relations))
        prior = self.answer_prior(r_query, counts)
        self.sow("intermediates", "parts", {"paths": structure, "content": content, "frequency": prior})  # for explanations
        return jnp.moveaxis(structure + content + prior, 0, -1), jnp.moveaxis(reached, 0, -1)
