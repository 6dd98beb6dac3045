"""A graph with everything the model needs beside it: tokens, padded arrays on the device, prompt graphs, known answers."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import jraph

from tofu_jax.graphs.graphs_tuple import PaddedGraph, pad_graph
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.graphs.prompt_cache import prompt_index
from tofu_jax.graphs.prompts import PromptIndex
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.graph_tokens import GraphTokens


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedGraph:
    """One graph, ready for training or ranking; nothing here knows held-out facts.

    Attributes:
      graph: on the host.
      padded: the same as padded numpy arrays.
      prompts: builds prompt graphs.
      known: answers that the message graph holds.
      arrays: `padded.graph` on the default device.
      codebooks: {"text", "image"}: of its tokens.
    """

    graph: KnowledgeGraph
    padded: PaddedGraph
    prompts: PromptIndex
    known: KnownAnswers
    arrays: jraph.GraphsTuple
    codebooks: Mapping[str, Codebook]

    @classmethod
    def create(
        cls, graph: KnowledgeGraph, tokens: GraphTokens, codebooks: Mapping[str, Codebook], **least_sizes: int
    ) -> "PreparedGraph":
        """Prepares a graph with the tokens of its entities; `least_sizes` as in `graphs_tuple.pad_graph`."""
        padded = _pad(graph, tokens, codebooks, **least_sizes)
        return cls(
            graph=graph,
            padded=padded,
            prompts=prompt_index(graph),
            known=KnownAnswers.of_graph(graph, ("train",)),
            arrays=jax.tree.map(jnp.asarray, padded.graph),
            codebooks=codebooks,
        )

    def with_tokens(self, tokens: GraphTokens) -> "PreparedGraph":
        """The same graph with other tokens (a modality left out, or shuffled); prompt graphs are shared."""
        padded = _pad(self.graph, tokens, self.codebooks)
        return dataclasses.replace(self, padded=padded, arrays=jax.tree.map(jnp.asarray, padded.graph))

    def without(self, modality: str) -> "PreparedGraph":
        """The same graph with "text" or "image" masked throughout, in arrays of the same sizes: nothing is compiled again.

        Without texts there are no mentions either.
        """

        def masked(graph: jraph.GraphsTuple) -> jraph.GraphsTuple:
            mask, direction = f"{modality}_mask", f"{modality}_direction"
            return graph._replace(nodes={**graph.nodes, mask: graph.nodes[mask] & False, direction: graph.nodes[direction] * 0})

        mentions = self.padded.mentions and modality != "text"
        padded = dataclasses.replace(self.padded, graph=masked(self.padded.graph), mentions=mentions)
        return dataclasses.replace(self, padded=padded, arrays=masked(self.arrays))


def _pad(graph: KnowledgeGraph, tokens: GraphTokens, codebooks: Mapping[str, Codebook], **least_sizes: int) -> PaddedGraph:
    return pad_graph(graph, tokens, {name: codebook.centred for name, codebook in codebooks.items()}, **least_sizes)
