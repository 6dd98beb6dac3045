"""The smallest inputs a model can be initialised with."""

import jax.numpy as jnp
import numpy as np

from tofu_jax.graphs.graphs_tuple import pad_graph
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.prompts import PromptIndex
from tofu_jax.model.prompt_encoder import PromptArrays
from tofu_jax.tokens.graph_tokens import GraphTokens


def smallest_inputs(codebooks):
    """Arguments of `Tofu.__call__` for a graph of one fact; codebooks: {"text", "image"}: [codes, c]."""
    fact = np.array([[0, 0, 1]], np.int32)
    none = np.zeros((0, 3), np.int32)
    graph = KnowledgeGraph("smallest", ("a", "b"), ("r",), fact, none, none, ("a", "b"), ("", ""), ((), ()))
    padded = pad_graph(graph, GraphTokens.none(graph, codebooks["text"].shape[1], 1, 1), codebooks)
    prompts = PromptIndex(graph).prompts(np.array([0]), np.array([[0]]))
    arrays = PromptArrays(**{name: getattr(prompts, name) for name in PromptArrays._fields})
    return padded.graph, jnp.asarray(padded.edge_mask()), codebooks, arrays, np.zeros((1, 1), np.int32)
