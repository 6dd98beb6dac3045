"""The tokens of all entities of a graph, and the controls that take them away or mix them up."""

import dataclasses
from typing import Literal

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.image import ImageTokenizer
from tofu_jax.tokens.text import TextTokenizer


@dataclasses.dataclass(frozen=True, eq=False)
class EntityTokens:
    """Discrete tokens of N entities; a masked slot holds id 0 and means "nothing here".

    Attributes:
      text_ids: int32 [N, T], ids in the text codebook, most frequent first.
      text_mask: bool [N, T], True where an id stands.
      image_ids: int32 [N, V], ids in the image codebook, most frequent first.
      image_mask: bool [N, V], True where an id stands.
    """

    text_ids: Array
    text_mask: Array
    image_ids: Array
    image_mask: Array

    def without(self, modality: Literal["text", "image"]) -> "EntityTokens":
        """The same entities with one modality masked throughout."""
        ids, mask = self.of(modality)
        return self._with(modality, np.zeros_like(ids), np.zeros_like(mask))

    def shuffled(self, seed: int) -> "EntityTokens":
        """The shuffle control: which entities have text or images stays, whose text or images they have does not.

        Texts are permuted among the entities that have text, and images, on their own, among those that have images.
        A model that scores as well with shuffled tokens does not use their content.
        """
        rng = np.random.default_rng(seed)
        result = self
        for modality in ("text", "image"):
            ids, mask = self.of(modality)
            order = np.arange(len(ids))
            present = np.flatnonzero(mask.any(axis=1))
            order[present] = rng.permutation(present)
            result = result._with(modality, ids[order], mask[order])
        return result

    def of(self, modality: Literal["text", "image"]) -> tuple[Array, Array]:
        """Ids and mask of one modality."""
        if modality not in ("text", "image"):
            raise ValueError(f"modality must be 'text' or 'image', got {modality!r}")
        return (self.text_ids, self.text_mask) if modality == "text" else (self.image_ids, self.image_mask)

    def _with(self, modality: Literal["text", "image"], ids: Array, mask: Array) -> "EntityTokens":
        if modality == "text":
            return dataclasses.replace(self, text_ids=ids, text_mask=mask)
        return dataclasses.replace(self, image_ids=ids, image_mask=mask)


def tokenize_entities(
    graph: KnowledgeGraph,
    text: TextTokenizer | None,
    image: ImageTokenizer | None,
    num_text_tokens: int = 8,
    num_image_tokens: int = 8,
    work: ChunkedWork | None = None,
) -> EntityTokens:
    """Tokens of every entity of a graph (TOFU: the T and V most frequent tokens, 8 by default).

    Args:
      graph: N entities; reads `texts`, `images`, `image_root` and `entities`, never the facts.
      text: None masks the text of every entity.
      image: None masks the images of every entity.
      num_text_tokens: T.
      num_image_tokens: V.
      work: shows progress and keeps what is done; None does neither.
    """
    none = no_tokens(graph.num_entities, num_text_tokens, num_image_tokens)
    text_tokens, image_tokens = none.of("text"), none.of("image")
    if text is not None:
        text_tokens = text(graph.texts, num_text_tokens, work)
    if image is not None:
        image_tokens = image(graph.images, graph.image_root, graph.entities, num_image_tokens, work)
    return EntityTokens(*text_tokens, *image_tokens)


def no_tokens(num_entities: int, num_text_tokens: int, num_image_tokens: int) -> EntityTokens:
    """N entities of which nothing is known, with T and V masked slots."""
    text, image = (num_entities, num_text_tokens), (num_entities, num_image_tokens)
    return EntityTokens(np.zeros(text, np.int32), np.zeros(text, bool), np.zeros(image, np.int32), np.zeros(image, bool))
