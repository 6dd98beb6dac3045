"""The tokens of a graph in one file, so that its texts and images are read once and not by every run.

An uncompressed .npz, no pickles inside:

    text_ids, text_mask, text_vectors, image_ids, image_mask, mentions   as in `GraphTokens`
    entities   uint8 [N, 16], `entity_digests`
    about      JSON text: version, codebooks (name, SHA-256, codes)
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.files import write_whole
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array
from tofu_jax.tokens.codebook import Codebook, read_arrays
from tofu_jax.tokens.graph_tokens import OF_ENTITIES, GraphTokens
from tofu_jax.tokens.mentions import mentions

_VERSION = 2
_FIELDS = tuple(field.name for field in dataclasses.fields(GraphTokens))
_MODALITIES = ("text", "image")


@dataclasses.dataclass(frozen=True, eq=False)
class StoredTokens:
    """What a token file holds.

    Attributes:
      tokens: of N entities.
      codebooks: {"text", "image"}: name and SHA-256 of the codebook that the ids are rows of.
      entities: uint8 [N, 16], `entity_digests` of the graph that was tokenised.
    """

    tokens: GraphTokens
    codebooks: Mapping[str, tuple[str, str]]
    entities: Array

    def tokens_of(
        self, graph: KnowledgeGraph, codebooks: Mapping[str, Codebook], num_tokens: Mapping[str, int]
    ) -> GraphTokens | str:
        """The tokens that a model would make of a graph.

        Args:
          graph: the one that was tokenised, or a part of it.
          codebooks: of the modalities that matter, {"text", "image"} or fewer.
          num_tokens: of the same modalities, tokens per entity.

        Returns:
          Tokens of the entities of the graph, or in words why the file does not have them.
        """
        for modality, codebook in codebooks.items():
            name, sha256 = self.codebooks[modality]
            if (name, sha256) != (codebook.name, codebook.sha256):
                return (
                    f"its {modality} tokens are of codebook {name} (sha256 {sha256[:12]}…), "
                    f"wanted are those of {codebook.name} (sha256 {codebook.sha256[:12]}…)"
                )
            stored = getattr(self.tokens, f"{modality}_ids").shape[1]
            if stored != num_tokens[modality]:
                return f"it has {stored} {modality} tokens per entity, wanted are {num_tokens[modality]}"
        wanted = entity_digests(graph)
        if np.array_equal(wanted, self.entities):
            return self.tokens
        row_of = {digest.tobytes(): row for row, digest in enumerate(self.entities)}
        rows = [row_of.get(digest.tobytes()) for digest in wanted]
        if None in rows:
            return f"entity {graph.entities[rows.index(None)]!r} is not in it, or has another name, text or other images there"
        of_entities = {name: getattr(self.tokens, name)[rows] for name in OF_ENTITIES}
        texts = [text if there else "" for text, there in zip(graph.texts, of_entities["text_mask"].any(axis=1), strict=True)]
        # Which names are rare, and so which mentions are kept, depends on the whole graph.
        return GraphTokens(**of_entities, mentions=mentions(graph.labels, texts))


def entity_digests(graph: KnowledgeGraph) -> Array:
    """BLAKE2b of all that the tokens of each entity are made from, uint8 [N, 16]: id, name, text and list of image files.

    What is in the image files is not read.
    """
    digests = []
    for *words, images in zip(graph.entities, graph.labels, graph.texts, graph.images, strict=True):
        # The lengths say where a word ends; no path holds a zero byte. Half a surrogate pair has no plain UTF-8.
        described = " ".join([*(str(len(word)) for word in words), "".join(words)]) + "\0".join(images)
        digests.append(hashlib.blake2b(described.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def write_tokens(
    path: str | os.PathLike[str], tokens: GraphTokens, graph: KnowledgeGraph, codebooks: Mapping[str, Codebook]
) -> None:
    """Writes a token file; it appears when it is whole.

    Args:
      path: of the file.
      tokens: of all entities of the graph.
      graph: that was tokenised.
      codebooks: {"text", "image"}: that the ids are rows of.
    """
    about = {
        "version": _VERSION,
        "codebooks": {
            modality: {"name": codebook.name, "sha256": codebook.sha256, "codes": len(codebook.vectors)}
            for modality, codebook in codebooks.items()
        },
    }
    arrays = {name: getattr(tokens, name) for name in _FIELDS}
    content = io.BytesIO()
    np.savez(content, about=np.array(json.dumps(about)), entities=entity_digests(graph), **arrays)
    write_whole(pathlib.Path(path), content.getvalue())


def read_tokens(path: str | os.PathLike[str]) -> StoredTokens:
    """Reads what `write_tokens` wrote.

    Raises:
      DataError: the file is missing, damaged, of another version, or no token file; names the file.
    """
    arrays = read_arrays(path)
    try:
        about = json.loads(str(arrays["about"]))
        if about["version"] != _VERSION:
            raise DataError(f"{path}: version {about['version']} of token files, this is version {_VERSION}; tokenise again.")
        codebooks = {modality: (book["name"], book["sha256"]) for modality, book in about["codebooks"].items()}
        for modality in _MODALITIES:
            _check(arrays, modality, about["codebooks"][modality]["codes"])
        _check_texts(arrays)
        tokens = GraphTokens(**{name: arrays[name] for name in _FIELDS})
        return StoredTokens(tokens, codebooks, arrays["entities"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: no token file, or a damaged one ({type(error).__name__}: {error}). Delete it, or tokenise again."
        ) from error


def _check(arrays: Mapping[str, Array], modality: str, num_codes: int) -> None:
    """Raises a ValueError unless the arrays of a modality are those of `GraphTokens`."""
    ids, mask, entities = arrays[f"{modality}_ids"], arrays[f"{modality}_mask"], arrays["entities"]
    shapes = ids.shape == mask.shape == (len(entities), *ids.shape[1:2]) and entities.shape == (len(entities), 16)
    if not shapes or (ids.dtype, mask.dtype, entities.dtype) != (np.int32, bool, np.uint8):
        raise ValueError(f"{modality}: ids {ids.dtype} {ids.shape}, mask {mask.dtype} {mask.shape}, entities {entities.shape}")
    if ids.size and (ids.min() < 0 or ids.max() >= num_codes or ids[~mask].any()):
        raise ValueError(f"{modality}: ids outside the codebook, or where the mask is off")


def _check_texts(arrays: Mapping[str, Array]) -> None:
    """Raises a ValueError unless vectors and mentions are those of `GraphTokens`."""
    vectors, pairs, entities = arrays["text_vectors"], arrays["mentions"], len(arrays["entities"])
    if vectors.dtype != np.float16 or vectors.ndim != 2 or len(vectors) != entities or not np.isfinite(vectors).all():
        raise ValueError(f"text_vectors: {vectors.dtype} {vectors.shape}, or not finite")
    inside = not pairs.size or 0 <= pairs.min() <= pairs.max() < entities
    if pairs.dtype != np.int32 or pairs.ndim != 2 or pairs.shape[1] != 2 or not inside:
        raise ValueError(f"mentions: {pairs.dtype} {pairs.shape}, or of entities that are not there")
