"""What stands in the files of a graph, line by line: what every reader returns and what `tofu-jax check` looks at."""

import dataclasses
import pathlib

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array


@dataclasses.dataclass(frozen=True, eq=False)
class RawSplit:
    """The facts of one split as they stand in their source: in its order, repeated ones included.

    Attributes:
      source: the file (or its name inside an archive), for messages.
      triples: int32 [n, 3] (head, relation, tail).
      lines: int64 [n] 1-based line of each fact; rows are counted where a format has no lines (Parquet).
    """

    source: pathlib.Path
    triples: Array
    lines: Array


@dataclasses.dataclass(frozen=True, eq=False)
class RawGraph:
    """A graph before it is checked and repaired; ids are positions in `entities` and `relations`.

    Attributes:
      name: of the graph.
      entities, relations: unique ids, numbered by first appearance (train, valid, test).
      train, valid, test: splits; `train` is the message graph. A graph that is not split has empty `valid` and `test`.
      labels, texts, images, image_root, relation_labels: as in `KnowledgeGraph`.
    """

    name: str
    entities: tuple[str, ...]
    relations: tuple[str, ...]
    train: RawSplit
    valid: RawSplit
    test: RawSplit
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    images: tuple[tuple[str, ...], ...]
    image_root: pathlib.Path | None
    relation_labels: tuple[str, ...]


def raw_of(graph: KnowledgeGraph) -> RawGraph:
    """A graph that was made and not read: its splits are the sources, and facts count as lines."""
    splits = {
        name: RawSplit(pathlib.Path(name), getattr(graph, name), np.arange(1, len(getattr(graph, name)) + 1))
        for name in ("train", "valid", "test")
    }
    return RawGraph(
        name=graph.name,
        entities=graph.entities,
        relations=graph.relations,
        labels=graph.labels,
        texts=graph.texts,
        images=graph.images,
        image_root=graph.image_root,
        relation_labels=graph.relation_labels,
        **splits,
    )
