"""A checkpoint ready for use on any graph."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference.model_folder import write_model
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.inference.settings import read_settings
from tofu_jax.inference.smallest_graph import smallest_inputs
from tofu_jax.inference.sources import find_model
from tofu_jax.model.fusion import MODALITIES
from tofu_jax.model.tofu import Tofu
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.entity_tokens import EntityTokens
from tofu_jax.tokens.image import ImageTokenizer
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.tokenizers import Tokenizers, image_tokenizer_of
from tofu_jax.training.checkpoint import Restored, check_tree


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """A model with its parameters and tokenizers; nothing in it depends on a graph.

    Attributes:
      model: the network.
      params: its parameters.
      tokenizers: that it was trained with.
      num_examples: M, prompt examples per relation.
      step: training steps behind the parameters.
      source: where it came from, for reports.
      meta: what the checkpoint says about itself.
    """

    model: Tofu
    params: Any
    tokenizers: Tokenizers
    num_examples: int
    step: int
    source: str
    meta: Mapping[str, Any]

    @functools.cached_property
    def codebooks(self) -> dict[str, jax.Array]:
        """{"text", "image"}: frozen vectors on the device."""
        return device_codebooks(self.tokenizers.codebooks)

    def prepare(self, graph: KnowledgeGraph, modalities: tuple[str, ...] = MODALITIES) -> tuple[PreparedGraph, EntityTokens]:
        """Tokenises a graph and lays it out.

        Args:
          graph: to ask about.
          modalities: which of `fusion.MODALITIES` the model may see beside structure.

        Returns:
          The graph, and its tokens so that parts of them can be taken away or mixed up.
        """
        tokens = self.tokenizers.restricted_to(modalities)(graph)
        return PreparedGraph.create(graph, tokens), tokens

    def scorer(self, graph: PreparedGraph) -> ModelScorer:
        """Scores queries on a prepared graph."""
        return ModelScorer(self.model, self.params, self.codebooks, graph, self.num_examples)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        licence: str | None = None,
        figures: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        """Exports the model to a folder that `load_pretrained` reads on any machine: weights, settings and a model card.

        Args:
          folder: made if it is not there; an older export in it is replaced.
          name: for the card; by default the name of the folder.
          licence: of the weights, as the Hugging Face hub spells it ("apache-2.0"); None: not stated.
          figures: results.json files of evaluations of this model, for the card.

        Raises:
          DataError: the folder holds something else or cannot be written; or an argument cannot be used.
          CheckpointError: the checkpoint does not tell what has to be told with a model.
        """
        restored = Restored(self.step, self.params, self.tokenizers.codebooks["image"], self.meta)
        write_model(pathlib.Path(folder), restored, name, licence, figures)

    def untrained(self, seed: int = 0) -> "Pretrained":
        """The same model with fresh parameters: the control that shows what training is worth."""
        codebooks = self.tokenizers.codebooks
        return dataclasses.replace(self, params=initial_params(self.model, codebooks, seed), step=0, source="untrained")


def device_codebooks(codebooks: Mapping[str, Codebook]) -> dict[str, jax.Array]:
    """Puts codebook vectors on the device, centred: what all tokens share says nothing about any of them."""
    return {name: jnp.asarray(codebook.vectors - codebook.vectors.mean(axis=0)) for name, codebook in codebooks.items()}


def initial_params(model: Tofu, codebooks: Mapping[str, Codebook], seed: int) -> Any:
    """Fresh parameters. Their shapes depend on the model and the codebooks' widths, not on any graph.

    Args:
      model: the network.
      codebooks: {"text", "image"}.
      seed: the only source of randomness.
    """
    return _initializer(model)(*_init_arguments(codebooks, seed))


def parameter_shapes(model: Tofu, codebooks: Mapping[str, Codebook]) -> Any:
    """`jax.ShapeDtypeStruct`s in the place of `initial_params`, for nothing."""
    return jax.eval_shape(model.init, *_init_arguments(codebooks, 0))


def _init_arguments(codebooks: Mapping[str, Codebook], seed: int) -> tuple:
    # One row of each codebook is enough: only its width matters.
    rows = {name: jnp.zeros((1, codebook.vectors.shape[1])) for name, codebook in codebooks.items()}
    return jax.random.key(seed), *smallest_inputs(rows)


@functools.cache
def _initializer(model: Tofu) -> Callable[..., Any]:
    """Compiled once a process and hardly optimised: it takes milliseconds to run, but many seconds to optimise."""
    return jax.jit(model.init, compiler_options={"xla_backend_optimization_level": 0})


def load_pretrained(
    source: str | os.PathLike[str] | None = None, step: int | None = None, image_tokens: ImageTokenizer | None = None
) -> Pretrained:
    """Loads a model for zero-shot use. No code of it is executed, whatever the source.

    Args:
      source: None for the model that is shipped with the package, the folder of a run (or its folder checkpoints/), the
        folder of an exported model, or "owner/name" or "owner/name@revision" for an exported model on the Hugging Face hub.
        What exists as a folder is never looked up on the hub.
      step: of a run; None for the latest.
      image_tokens: the tokenizer to use for images where the checkpoint was trained on imported token ids; it must have the
        same codebook. A checkpoint with its own patch codebook needs none.

    Raises:
      CheckpointError: no checkpoint, damaged, of another codebook or of other settings than this version knows.
    """
    restored, described = find_model(source, step)
    meta, settings = restored.meta, read_settings(restored.meta, described)
    model = Tofu(settings.model)
    text = TextTokenizer.load()
    text.codebook.check(meta["codebooks"]["text"]["name"], meta["codebooks"]["text"]["sha256"])
    trained = restored.image_codebook
    if image_tokens is not None:
        image_tokens.codebook.check(trained.name, trained.sha256)
    tokenizers = Tokenizers(
        text, image_tokens or image_tokenizer_of(trained), settings.num_text_tokens, settings.num_image_tokens
    )
    check_tree(parameter_shapes(model, tokenizers.codebooks), restored.params)
    return Pretrained(model, restored.params, tokenizers, settings.num_examples, restored.step, described, meta)
