"""What is known about a named data set, and how its facts are told from others."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.graphs.readers import Part
from tofu_jax.shapes import Array

Protocol = Literal["transductive", "inductive", "fully inductive", "not split"]
Repair = Callable[[KnowledgeGraph], KnowledgeGraph]


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file of a data set.

    Attributes:
      url: https, of one fixed version.
      name: that it gets in the folder of the data set.
      sha256: of its content; None where that was not to be had.
    """

    url: str
    name: str
    sha256: str | None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named data set.

    Attributes:
      name: by which `load_dataset` finds it.
      files: that make its folder; empty if it is built in, or has to be fetched by hand from `homepage`.
      layout: of the folder, as `readers` call it; empty if it is built in.
      protocol: "transductive" (one graph), "inductive" (a training graph and an inference graph with other entities), "fully
        inductive" (and with other relations), "not split".
      licence: as the source states it.
      citation: short.
      notes: known defects, with counts, and what else one should know.
      homepage: where to read more.
      folder: below a folder of data sets; the name unless given.
      facts: SHA-256 of the published facts (`facts_sha256`), by part; empty where they were not to be had.
      repair: makes the default split out of the published one; None where they are the same.
    """

    name: str
    files: tuple[PublishedFile, ...]
    layout: str
    protocol: Protocol
    licence: str
    citation: str
    notes: str
    homepage: str = ""
    folder: str = ""
    facts: Mapping[Part, str] = dataclasses.field(default_factory=dict)
    repair: Repair | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.folder or self.name)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its graphs, that which is evaluated first."""
        return ("inference", "training") if "inductive" in self.protocol else ("training",)


def facts_sha256(graph: KnowledgeGraph) -> str:
    """SHA-256 of the facts by name, split by split: equal in whatever order, layout and number of copies they come.

    Returns:
      Hexadecimal digest of, for train, valid and test, the sorted different lines "head TAB relation TAB tail" and an empty
      line. (A name that holds a tab or a line feed, of which there is none in published data, would blur this.)
    """
    digest = hashlib.sha256()
    for triples in (graph.train, graph.valid, graph.test):
        digest.update(b"".join(_lines(graph, triples)) + b"\n")
    return digest.hexdigest()


def _lines(graph: KnowledgeGraph, triples: Array) -> list[bytes]:
    entities, relations = graph.entities, graph.relations
    facts = triples[np.unique(fact_keys(triples), return_index=True)[1]].tolist()
    return sorted(f"{entities[head]}\t{relations[relation]}\t{entities[tail]}\n".encode() for head, relation, tail in facts)
