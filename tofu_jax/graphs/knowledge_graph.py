"""A multi-modal knowledge graph on the host: facts, vocabularies, splits, texts and image references."""

import dataclasses
import functools
import hashlib
import os
import pathlib

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.shapes import Array, inverse_relation

MOST_NAMES = 2**21  # entities, and likewise relations, so that a fact fits into one 64-bit key


@dataclasses.dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """Facts and what is known about each entity; integer ids are positions in `entities` and `relations`.

    Attributes:
      name: of the graph, for reports.
      entities: [N] unique ids as they stand in the source.
      relations: [R/2] unique ids; inverses have no name of their own.
      train: int32 [F, 3] (head, relation, tail) without duplicates: the message graph, all that the model sees as edges.
      valid: int32 [., 3] held-out facts for model selection.
      test: int32 [., 3] held-out facts for evaluation.
      labels: [N] human-readable names (the id where there is none).
      texts: [N] name and description; empty where the entity has no text.
      images: [N] tuples of image files, relative to `image_root`; empty where the entity has no image.
      image_root: the folder that `images` is relative to; None without images.
      relation_labels: [R/2] human-readable names (the id where there is none).
      token_file: tokens that were made of this graph (`tokens.token_file`); None where there are none.
    """

    name: str
    entities: tuple[str, ...]
    relations: tuple[str, ...]
    train: Array
    valid: Array
    test: Array
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    images: tuple[tuple[str, ...], ...]
    image_root: pathlib.Path | None = None
    relation_labels: tuple[str, ...] = ()
    token_file: pathlib.Path | None = None

    def __post_init__(self) -> None:
        if not self.relation_labels:
            object.__setattr__(self, "relation_labels", self.relations)
        lengths = {len(self.entities), len(self.labels), len(self.texts), len(self.images)}
        if len(lengths) != 1:
            raise DataError(f"{self.name}: entities, labels, texts and images differ in length ({sorted(lengths)}).")
        for what, names in (("entity", self.entities), ("relation", self.relations)):
            if len(set(names)) != len(names):
                raise DataError(f"{self.name}: {what} ids are not unique.")
        if max(len(self.entities), len(self.relations)) > MOST_NAMES:
            raise DataError(f"{self.name}: more than {MOST_NAMES:,} entities or relations; split the graph.")
        limit = np.array([len(self.entities), len(self.relations), len(self.entities)])
        for split in ("train", "valid", "test"):
            triples = getattr(self, split)
            if triples.dtype != np.int32 or triples.ndim != 2 or triples.shape[1] != 3:
                raise DataError(f"{self.name}: {split} must be int32 [., 3], got {triples.dtype} {triples.shape}.")
            if len(triples) and ((triples < 0) | (triples >= limit)).any():
                raise DataError(f"{self.name}: {split} holds ids outside the vocabularies.")
            triples.setflags(write=False)
        keys = np.sort(fact_keys(self.train))  # np.unique hashes instead, which takes ten times as long
        if (keys[1:] == keys[:-1]).any():
            raise DataError(f"{self.name}: train holds a fact twice; keep each fact once.")

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> "KnowledgeGraph":
        """Reads a folder of facts, texts and images; layouts and errors: `graphs.readers`, which has more options."""
        return _read(folder)

    @classmethod
    def from_rdf(cls, file: str | os.PathLike[str]) -> "KnowledgeGraph":
        """Reads a file of N-Triples, Turtle or RDF/XML, all of it as message graph; see `graphs.readers`."""
        return _read(file)

    @classmethod
    def from_parquet(cls, file: str | os.PathLike[str]) -> "KnowledgeGraph":
        """Reads a Parquet file of three columns of text, all of it as message graph; see `graphs.readers`."""
        return _read(file)

    @property
    def num_entities(self) -> int:
        """N."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """R, inverses included."""
        return 2 * len(self.relations)

    @functools.cached_property
    def edges(self) -> tuple[Array, Array, Array]:
        """Directed edges of the message graph, inverses included.

        Returns:
          senders, relations, receivers: int32 [E] each, E = 2·F; edge i and edge i + F are inverses of one another.
        """
        return directed(self.train, self.num_relations)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the named facts of all splits, their order included: which data a checkpoint saw."""
        digest = hashlib.sha256()
        for part in ("\n".join(self.entities), "\n".join(self.relations)):
            digest.update(part.encode() + b"\0")
        for triples in (self.train, self.valid, self.test):
            # With the length: a fact of zeros would otherwise move to another split unseen.
            digest.update(f"{len(triples)}:".encode() + np.ascontiguousarray(triples).astype("<i4").tobytes())
        return digest.hexdigest()

    def summary(self) -> str:
        """One line of counts for the terminal."""
        texts = sum(bool(text) for text in self.texts)
        images = sum(bool(image) for image in self.images)
        return (
            f"{self.name}: {self.num_entities:,} entities, {len(self.relations)} relations, "
            f"{len(self.train):,} / {len(self.valid):,} / {len(self.test):,} train/valid/test facts, "
            f"text {texts / self.num_entities:.0%}, image {images / self.num_entities:.0%}"
        )


def _read(path: str | os.PathLike[str]) -> KnowledgeGraph:
    from tofu_jax.graphs.readers import read_graph  # here, since readers make graphs

    return read_graph(path)


def directed(triples: Array, num_relations: int) -> tuple[Array, Array, Array]:
    """Facts as directed edges, each fact followed by its inverse F places later.

    Args:
      triples: int32 [F, 3] (head, relation, tail) with relation < R/2.
      num_relations: R, inverses included.

    Returns:
      senders, relations, receivers: int32 [2·F] each.
    """
    head, relation, tail = triples.T
    return (
        np.concatenate([head, tail]),
        np.concatenate([relation, inverse_relation(relation, num_relations)]).astype(np.int32),
        np.concatenate([tail, head]),
    )


def fact_keys(triples: Array) -> Array:
    """One int64 [n] per fact, equal exactly for equal facts (at most MOST_NAMES entities and relations each)."""
    head, relation, tail = triples.astype(np.int64).T
    return (head << 42) | (relation << 21) | tail


def facts_of_keys(keys: Array) -> Array:
    """int32 [n, 3]: the facts that `fact_keys` made the keys of."""
    mask = MOST_NAMES - 1
    return np.stack([keys >> 42, (keys >> 21) & mask, keys & mask], axis=1).astype(np.int32)
