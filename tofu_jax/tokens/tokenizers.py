"""The two tokenizers of a model, and their codebooks by modality."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.entity_tokens import EntityTokens, tokenize_entities
from tofu_jax.tokens.image import ImageTokenizer, PatchTokenizer, PrecomputedTokens
from tofu_jax.tokens.text import TextTokenizer

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

    def __call__(self, graph: KnowledgeGraph) -> EntityTokens:
        """Tokens of all entities of a graph."""
        text = self.text if "text" in self.modalities else None
        image = self.image if "image" in self.modalities else None
        return tokenize_entities(graph, text, image, self.num_text_tokens, self.num_image_tokens)

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
      image_tokens: "patches" for the tokenizer that needs no download, or the path of an .npz of imported ids.
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
        image = PrecomputedTokens.from_npz(image_tokens)
        if trained is not None:
            image.codebook.check(trained.name, trained.sha256)
    elif trained is not None:
        image = None if trained.name == NO_IMAGES.name else PatchTokenizer(trained, workers)
    else:
        image = PatchTokenizer.fit(paths, num_image_codes, seed, workers=workers) if paths else None
    return Tokenizers(text, image, num_text_tokens, num_image_tokens)
