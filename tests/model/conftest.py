"""A small model with random parameters that runs in both precisions on graphs padded to one size."""

import contextlib
import copy
from typing import NamedTuple

import jax
import numpy as np
import pytest
from making import CODEBOOKS, MOST_FACTS

from tofu_jax.graphs.graphs_tuple import pad_graph
from tofu_jax.graphs.prompts import PromptIndex
from tofu_jax.inference.pretrained import initial_params
from tofu_jax.model.prompt_encoder import PromptArrays
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.training.step import QueryArrays, batch_loss


class Inputs(NamedTuple):
    """What the model sees (without codebooks), numpy arrays, and the real number of entities."""

    graph: object
    edge_mask: np.ndarray
    prompts: PromptArrays
    heads: np.ndarray
    num_entities: int


class SmallModel:
    """Parameters are numpy float64 and are rounded to float32 where a test asks for it."""

    def __init__(self):
        self.model = Tofu(ModelConfig(width=8, layers=2, prompt_layers=2, relation_layers=1, fusion_heads=2))
        self.codebooks = {name: codebook.vectors.astype(np.float64) for name, codebook in CODEBOOKS.items()}
        self.initial = jax.tree.map(np.asarray, initial_params(self.model, CODEBOOKS, 0))
        # Biases start at zero and gates near it: noise makes every part count.
        random = np.random.default_rng(0)
        self.params = jax.tree.map(lambda values: values + 0.3 * random.standard_normal(values.shape), self.initial)
        # Called hundreds of times by each property test: worth the compiler's optimisations, which other tests do without.
        optimise = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
        self._scores = jax.jit(self.model.apply, compiler_options=optimise)
        # Few calls, long compilation: optimise less.
        self._gradients = jax.jit(jax.value_and_grad(self._mean_loss), compiler_options={"xla_backend_optimization_level": 0})

    def compiled_quickly(self):
        """The same model for few calls of each program."""
        other = copy.copy(self)
        other._scores = jax.jit(self.model.apply)
        return other

    def inputs(self, graph, tokens, relations, heads, num_entities=96, num_edges=320, num_relations=20, num_codes=56):
        """Pads a graph, with prompts that show all facts of the query relations (up to MOST_FACTS).

        Args:
          graph: to ask about.
          tokens: of its entities.
          relations: int [Q]; heads: int [Q, H].
          num_entities, num_edges, num_relations, num_codes: least padded sizes. The defaults hold every graph of `making`,
            so that one compiled program serves all examples of a property test.
        """
        padded = pad_graph(graph, tokens, self.codebooks, num_entities, num_edges, num_relations)
        # The vocabularies are the one size that `pad_graph` leaves to the tokens.
        vocabularies = {f"{name}_vocabulary" for name in CODEBOOKS}
        arrays = padded.graph._replace(
            globals={
                key: np.pad(values, [(0, 0), (0, num_codes - values.shape[1])]) if key in vocabularies else values
                for key, values in padded.graph.globals.items()
            }
        )
        examples = np.tile(np.arange(MOST_FACTS), (len(relations), 1))
        prompts = PromptIndex(graph).prompts(np.asarray(relations), examples)
        fields = PromptArrays(**{name: getattr(prompts, name) for name in PromptArrays._fields})
        return Inputs(arrays, padded.edge_mask(), fields, np.asarray(heads, np.int32), graph.num_entities)

    def scores(self, inputs, dtype=np.float64):
        """Scores [Q, H, N] of the real entities."""
        with jax.enable_x64(dtype == np.float64):
            params, codebooks = _cast((self.params, self.codebooks), dtype)
            scores, _ = self._scores(params, inputs.graph, inputs.edge_mask, codebooks, inputs.prompts, inputs.heads)
            assert scores.dtype == dtype
            return np.asarray(scores)[..., : inputs.num_entities]

    def loss_and_gradients(self, inputs, dtype=np.float64, params=None):
        """Training loss of fixed random answers among the real entities, and its gradients by the parameters."""
        answers = np.random.default_rng(0).integers(0, inputs.num_entities, inputs.heads.shape, dtype=np.int32)
        answers[0, 0] = inputs.heads[0, 0]  # reached whatever the graph: at least one query counts
        candidates = np.arange(len(inputs.graph.nodes["text_ids"])) < inputs.num_entities
        candidates = np.broadcast_to(candidates, (*answers.shape, len(candidates)))
        queries = QueryArrays(inputs.prompts, inputs.heads, answers, candidates)
        with jax.enable_x64(dtype == np.float64):
            params, codebooks = _cast((params or self.params, self.codebooks), dtype)
            loss, gradients = self._gradients(params, codebooks, inputs.graph, inputs.edge_mask, np.ones((2, 2), bool), queries)
            return np.asarray(loss), jax.tree.map(np.asarray, gradients)

    @contextlib.contextmanager
    def without_content(self):
        """Meanwhile similarity of texts and images is worth nothing."""
        params, inner = self.params, self.params["params"]
        nothing = jax.tree.map(np.zeros_like, inner["content_match"])
        self.params = {"params": {**inner, "content_match": nothing}}
        try:
            yield
        finally:
            self.params = params

    def _mean_loss(self, params, *args):
        total, counted = batch_loss(self.model, params, *args)
        return total / counted

    def assert_same_scores(self, first, second, entities=slice(None)):
        """Compares in both precisions: S1's figures, in f32 relative to the largest score.

        Args:
          first, second: inputs.
          entities: positions in the second of the entities of the first.
        """
        for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-4)):
            expected, found = self.scores(first, dtype), self.scores(second, dtype)[..., entities]
            scale = 1 if dtype == np.float64 else np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=dtype.__name__)


def _cast(tree, dtype):
    return jax.tree.map(lambda values: values.astype(dtype), tree)


@pytest.fixture(scope="session")
def small_model():
    return SmallModel()
