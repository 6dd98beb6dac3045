"""What texts and images say of a graph, and the controls that take it away or mix it up."""

import dataclasses
from typing import Literal

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array

OF_ENTITIES = ("text_ids", "text_mask", "text_vectors", "image_ids", "image_mask")


@dataclasses.dataclass(frozen=True, eq=False)
class GraphTokens:
    """Tokens of N entities, and vectors and mentions of their texts; what is missing is 0 and masked.

    Attributes:
      text_ids: int32 [N, T], ids in the text codebook, most frequent first.
      text_mask: bool [N, T], True where an id stands. An entity without a token has no text.
      text_vectors: float16 [N, c], of the whole text, as wide as the text codebook.
      image_ids: int32 [N, V], ids in the image codebook, most frequent first.
      image_mask: bool [N, V], True where an id stands.
      mentions: int32 [X, 2], (entity, entity that its text names).
    """

    text_ids: Array
    text_mask: Array
    text_vectors: Array
    image_ids: Array
    image_mask: Array
    mentions: Array

    @classmethod
    def none(cls, graph: KnowledgeGraph, width: int, num_text_tokens: int = 8, num_image_tokens: int = 8) -> "GraphTokens":
        """Of a graph of which nothing is known beside its facts; width: c of the text codebook, then T and V."""
        text, image = (graph.num_entities, num_text_tokens), (graph.num_entities, num_image_tokens)
        return cls(
            np.zeros(text, np.int32),
            np.zeros(text, bool),
            np.zeros((graph.num_entities, width), np.float16),
            np.zeros(image, np.int32),
            np.zeros(image, bool),
            np.zeros((0, 2), np.int32),
        )

    def without(self, modality: Literal["text", "image"]) -> "GraphTokens":
        """The same graph with one modality masked throughout."""
        emptied = [f"{modality}_ids", f"{modality}_mask"]
        emptied += ["text_vectors"] if _checked(modality) == "text" else []
        changed = {name: np.zeros_like(getattr(self, name)) for name in emptied}
        return dataclasses.replace(self, **changed, mentions=self.mentions[:0] if modality == "text" else self.mentions)

    def shuffled(self, seed: int) -> "GraphTokens":
        """The shuffle control: which entities have text or images stays, whose text or images they have does not.

        Texts are permuted among the entities that have text, and images, on their own, among those that have images. Mentions
        go with texts. A model that scores as well with shuffled tokens does not use their content.
        """
        rng = np.random.default_rng(seed)
        order = {}
        for modality in ("text", "image"):
            mask = self.of(modality)[1]
            order[modality] = np.arange(len(mask))
            present = np.flatnonzero(mask.any(axis=1))
            order[modality][present] = rng.permutation(present)
        moved = {name: getattr(self, name)[order[name.split("_")[0]]] for name in OF_ENTITIES}
        holder = np.argsort(order["text"]).astype(np.int32)  # who has whose text
        return GraphTokens(**moved, mentions=holder[self.mentions])

    def of(self, modality: Literal["text", "image"]) -> tuple[Array, Array]:
        """Ids and mask of one modality."""
        return (self.text_ids, self.text_mask) if _checked(modality) == "text" else (self.image_ids, self.image_mask)


def _checked(modality: str) -> str:
    if modality not in ("text", "image"):
        raise ValueError(f"modality must be 'text' or 'image', got {modality!r}")
    return modality
