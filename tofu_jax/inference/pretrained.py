"""A checkpoint ready for use on any graph."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tofu_jax.errors import CheckpointError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.inference.smallest_graph import smallest_inputs
from tofu_jax.model.fusion import MODALITIES
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.entity_tokens import EntityTokens
from tofu_jax.tokens.image import ImageTokenizer, PatchTokenizer
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.tokenizers import NO_IMAGES, Tokenizers
from tofu_jax.training.checkpoint import Step, check_tree, read_checkpoint


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """A model with its parameters and tokenizers; nothing in it depends on a graph.

    Attributes:
      model: the network.
      params: its parameters.
      tokenizers: that it was trained with.
      num_examples: M, prompt examples per relation.
      source: where it came from, for reports.
      meta: what the checkpoint says about itself.
    """

    model: Tofu
    params: Any
    tokenizers: Tokenizers
    num_examples: int
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

    def untrained(self, seed: int = 0) -> "Pretrained":
        """The same model with fresh parameters: the control that shows what training is worth."""
        codebooks = self.tokenizers.codebooks
        return dataclasses.replace(self, params=initial_params(self.model, codebooks, seed), source="untrained")


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
    checkpoint: str | pathlib.Path, step: Step = None, image_tokens: ImageTokenizer | None = None
) -> Pretrained:
    """Loads a model for zero-shot use.

    Args:
      checkpoint: the folder of a run, or its folder checkpoints/.
      step: a number, "best", or None for the latest.
      image_tokens: the tokenizer to use for images where the checkpoint was trained on imported token ids; it must have the
        same codebook. A checkpoint with its own patch codebook needs none.

    Raises:
      CheckpointError: no checkpoint, damaged, of another codebook or of other settings than this version knows.
    """
    restored = read_checkpoint(pathlib.Path(checkpoint), step)
    meta = restored.meta
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    settings, hops = meta.get("model", {}), meta.get("tokens", {}).get("hops")
    if set(settings) != known or hops != NUM_HOPS:
        raise CheckpointError(
            f"{checkpoint}: made by another version of the model (settings {sorted(settings)}, {hops} hops; "
            f"this version has {sorted(known)}, {NUM_HOPS} hops). Train again, or install that version."
        )
    model = Tofu(ModelConfig(**{**meta["model"], "operators": tuple(meta["model"]["operators"])}))
    text = TextTokenizer.load()
    text.codebook.check(meta["codebooks"]["text"]["name"], meta["codebooks"]["text"]["sha256"])
    image = _image_tokenizer(restored.image_codebook, image_tokens)
    tokenizers = Tokenizers(text, image, meta["tokens"]["text"], meta["tokens"]["image"])
    expected = parameter_shapes(model, tokenizers.codebooks)
    check_tree(expected, restored.params)
    source = f"{pathlib.Path(checkpoint)} step {restored.step}"
    return Pretrained(model, restored.params, tokenizers, meta["tokens"]["examples"], source, meta)


def _image_tokenizer(codebook: Codebook, given: ImageTokenizer | None) -> ImageTokenizer | None:
    """The tokenizer whose codebook the checkpoint was trained with; None if images have to be left out."""
    if given is not None:
        given.codebook.check(codebook.name, codebook.sha256)
        return given
    if codebook.name == NO_IMAGES.name:
        return None
    if PatchTokenizer.fits(codebook):
        return PatchTokenizer(codebook)
    return MissingImageTokens(codebook)


@dataclasses.dataclass(frozen=True, eq=False)
class MissingImageTokens:
    """Stands in where ids of another tokenizer are needed and were not given: fine for graphs without images."""

    codebook: Codebook

    def __call__(self, images, image_root, entities, num_tokens):
        """Masks every entity; raises a `CheckpointError` if any has an image. Arguments as in `ImageTokenizer`."""
        if any(images):
            raise CheckpointError(
                f"The checkpoint reads images as ids of {self.codebook.name}: give the token file of this graph "
                "(--image_tokens=<file.npz>), or leave images out (--modalities=structure,text)."
            )
        return np.zeros((len(images), num_tokens), np.int32), np.zeros((len(images), num_tokens), bool)
