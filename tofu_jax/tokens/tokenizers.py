"""The two tokenizers of a model, and their codebooks by modality."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.codebook import Codebook, read_arrays
from tofu_jax.tokens.emu3 import Emu3Tokenizer
from tofu_jax.tokens.graph_tokens import GraphTokens
from tofu_jax.tokens.image import ImageTokenizer, PatchTokenizer
from tofu_jax.tokens.mentions import mentions
from tofu_jax.tokens.precomputed import MissingImageTokens, PrecomputedTokens
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.token_file import read_tokens

_log = logging.getLogger(__name__)

NO_IMAGES = Codebook("no-images", np.zeros((1, 8), np.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizers:
    """How a model sees texts and images; the same for every graph that it meets.

    Attributes:
      text: tokenizer of texts.
      image: tokenizer of images; None for a model that was trained without images.
      num_text_tokens: T.
      num_image_tokens: V.
      modalities: which are read at all; the others are masked for every entity.
    """

    text: TextTokenizer
    image: ImageTokenizer | None
    num_text_tokens: int = 8
    num_image_tokens: int = 8
    modalities: tuple[str, ...] = ("text", "image")

    @property
    def codebooks(self) -> dict[str, Codebook]:
        """{"text", "image"}."""
        return {"text": self.text.codebook, "image": self.image.codebook if self.image else NO_IMAGES}

    def __call__(self, graph: KnowledgeGraph, work: ChunkedWork | None = None) -> GraphTokens:
        """Tokens of a graph: from its token file if that has them, else made now, with a note why.

        Args:
          graph: with or without a token file.
          work: shows progress and keeps what is done; None does neither.

        Raises:
          DataError: the token file is damaged.
        """
        if graph.token_file is not None:
            stored = read_tokens(graph.token_file)
            wanted = self._wanted(graph, stored.tokens)
            numbers = {"text": self.num_text_tokens, "image": self.num_image_tokens}
            tokens = stored.tokens_of(graph, {modality: self.codebooks[modality] for modality in wanted}, numbers)
            if not isinstance(tokens, str):
                for modality in {"text", "image"}.difference(wanted):
                    tokens = tokens.without(modality)
                return tokens
            _log.warning("%s: tokenised again and not read from %s: %s", graph.name, graph.token_file, tokens)
        return self.tokenize(graph, work)

    def tokenize(self, graph: KnowledgeGraph, work: ChunkedWork | None = None) -> GraphTokens:
        """Tokens of a graph, whatever its token file holds (TOFU: the T and V most frequent tokens, 8 by default).

        Args:
          graph: reads `texts`, `labels`, `images`, `image_root` and `entities`, never the facts.
          work: shows progress and keeps what is done; None does neither.
        """
        width = self.codebooks["text"].vectors.shape[1]
        tokens = GraphTokens.none(graph, width, self.num_text_tokens, self.num_image_tokens)
        if "text" in self.modalities:
            ids, mask = self.text(graph.texts, self.num_text_tokens, work)
            # What has no token has no text, to whatever reads it.
            texts = [text if there else "" for text, there in zip(graph.texts, mask.any(axis=1), strict=True)]
            tokens = dataclasses.replace(
                tokens,
                text_ids=ids,
                text_mask=mask,
                text_vectors=self.text.vectors(texts, work),
                mentions=mentions(graph.labels, texts),
            )
        if "image" in self.modalities and self.image is not None:
            ids, mask = self.image(graph.images, graph.image_root, graph.entities, self.num_image_tokens, work)
            tokens = dataclasses.replace(tokens, image_ids=ids, image_mask=mask)
        return tokens

    def _wanted(self, graph: KnowledgeGraph, stored: GraphTokens) -> tuple[str, ...]:
        """The modalities for which it matters what a token file holds: those that are read and not empty either way."""
        by_entity = isinstance(self.image, PrecomputedTokens) and self.image.keyed_by_entity
        seen = self.image is not None and (any(graph.images) or stored.image_mask.any() or by_entity)
        return tuple(modality for modality in self.modalities if modality == "text" or seen)

    def restricted_to(self, modalities: tuple[str, ...]) -> "Tokenizers":
        """The same tokenizers, blind for what is not in `modalities`."""
        return dataclasses.replace(self, modalities=modalities)


def fit_tokenizers(
    graphs: Sequence[KnowledgeGraph],
    image_tokens: str,
    num_text_tokens: int,
    num_image_tokens: int,
    num_image_codes: int,
    seed: int,
    trained: Codebook | None,
    workers: int,
) -> Tokenizers:
    """The tokenizers of a new model.

    Args:
      graphs: of the training mixture; a patch codebook is fit to their images.
      image_tokens: "patches" for the tokenizer that needs no download, or what `open_image_tokenizer` takes.
      num_text_tokens, num_image_tokens: T, V.
      num_image_codes: of a patch codebook.
      seed: of the fit.
      trained: the image codebook of a run that is resumed: used as it is instead of a new fit.
      workers: processes that read images.

    Raises:
      DataError: the images or the token file cannot be used.
      CheckpointError: the token file has another codebook than the resumed run.
    """
    text = TextTokenizer.load()
    paths = [graph.image_root / image for graph in graphs for images in graph.images for image in images]
    if image_tokens != "patches":
        image = open_image_tokenizer(image_tokens, [graph.name for graph in graphs], workers)
        if trained is not None:
            image.codebook.check(trained.name, trained.sha256)
    elif trained is not None:
        image = image_tokenizer_of(trained, workers)
    else:
        image = PatchTokenizer.fit(paths, num_image_codes, seed, workers=workers)
    return Tokenizers(text, image, num_text_tokens, num_image_tokens)


def open_image_tokenizer(source: str, graph_names: Sequence[str], workers: int = 1) -> ImageTokenizer:
    """The image tokenizer that a command line names (`--image_tokens`).

    Args:
      source: one of
        an .npz of imported ids (`PrecomputedTokens.from_npz`);
        an .npz of a codebook, such as image_codebook.npz of a tokenised data set: patches are read with it, and ids of other
          tokenizers are taken from token files;
        a folder with MyGO's tokens (`PrecomputedTokens.from_mygo_folder`);
        "emu3", or a folder with that model (`Emu3Tokenizer.load`).
      graph_names: of the graphs that it is for.
      workers: processes that read images.

    Raises:
      DataError: it is none of these, or cannot be used.
    """
    path = pathlib.Path(source)
    if source == "emu3" or (path / "model.safetensors").is_file():
        return Emu3Tokenizer.load(None if source == "emu3" else path)
    if path.is_dir():
        if len(graph_names) != 1:
            raise DataError(f"{path}: a folder of MyGO's tokens serves one graph, not {', '.join(graph_names)}.")
        return PrecomputedTokens.from_mygo_folder(path, graph_names[0])
    if "vectors" not in read_arrays(path):
        return PrecomputedTokens.from_npz(path)
    tokenizer = image_tokenizer_of(Codebook.load(path), workers)
    if tokenizer is None:
        raise DataError(f"{path}: a codebook of no images; leave --image_tokens out.")
    return tokenizer


def image_tokenizer_of(codebook: Codebook, workers: int = 1) -> ImageTokenizer | None:
    """What can be read with nothing but a codebook: pictures if it is of patches, else token files; None of `NO_IMAGES`."""
    if codebook.name == NO_IMAGES.name:
        return None
    return PatchTokenizer(codebook, workers) if PatchTokenizer.fits(codebook) else MissingImageTokens(codebook)
