"""Keeps facts that a model will be judged on out of its training data, whatever graph they stand in.

Benchmarks overlap: test facts of one graph often stand in the training split of another. A fact counts as an evaluation fact
where it stands in a held-out split as it is or reversed, since the reverse of a symmetric relation tells the answer.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.registry import load_graph
from tofu_jax.shapes import Array
from tofu_jax.tokens.codebook import read_arrays


@dataclasses.dataclass(frozen=True, eq=False)
class ExcludedFacts:
    """Facts that no training graph may hold.

    Attributes:
      keys: uint64 [n], sorted and unique, see `canonical_key`.
    """

    keys: Array

    @classmethod
    def read(cls, sources: Sequence[str]) -> "ExcludedFacts":
        """Collects evaluation facts.

        Args:
          sources: graphs (as of `registry.load_graph`), whose validation and test facts count, and .npy files of keys.

        Raises:
          DataError: a source cannot be read, or a file holds something else than keys.
        """
        keys = [np.zeros(0, np.uint64)]
        for source in sources:
            if pathlib.Path(source).suffix == ".npy":
                keys.append(_read_keys(source))
            else:
                graph = load_graph(source, keep_unseen_entities=True)
                held_out = np.concatenate([graph.valid, graph.test])
                keys.append(canonical_keys(_named(graph, held_out)))
        return cls(np.unique(np.concatenate(keys)))

    def remove_from(self, graph: KnowledgeGraph) -> tuple[KnowledgeGraph, int]:
        """The graph without training facts that are evaluation facts, as they stand or reversed; and how many those were."""
        if not len(self.keys):
            return graph, 0
        named = list(_named(graph, graph.train))
        bad = np.isin(canonical_keys(named), self.keys)
        bad |= np.isin(canonical_keys((t, r, h) for h, r, t in named), self.keys)
        return dataclasses.replace(graph, train=np.ascontiguousarray(graph.train[~bad])), int(bad.sum())


def canonical_keys(facts: Iterable[tuple[str, str, str]]) -> Array:
    """One key per fact: the first 8 bytes, little endian, of the SHA-256 of its canonical names joined by tabs.

    Args:
      facts: (head, relation, tail) ids as they stand in the source.

    Returns:
      uint64 [n].
    """
    canonical: dict[str, str] = {}
    digests = bytearray()
    for fact in facts:
        for name in fact:
            if name not in canonical:
                canonical[name] = _canonical(name)
        text = "\t".join([canonical[name] for name in fact])
        digests += hashlib.sha256(text.encode()).digest()[:8]
    return np.frombuffer(bytes(digests), "<u8").astype(np.uint64)


def _canonical(name: str) -> str:
    """One spelling of an id that published copies of a graph spell in several ways: no <>, last segment of an IRI, _ for :."""
    name = name.strip("<>")
    if name.startswith("http"):
        name = name.rsplit("/", 1)[-1]
    return name.replace(":", "_")


def _named(graph: KnowledgeGraph, facts: Array) -> Iterable[tuple[str, str, str]]:
    entities, relations = graph.entities, graph.relations
    return ((entities[head], relations[relation], entities[tail]) for head, relation, tail in facts.tolist())


def _read_keys(path: str) -> Array:
    keys = read_arrays(path).get("")
    if keys is None or keys.dtype != np.uint64 or keys.ndim != 1:
        raise DataError(f"{path}: not a list of fact keys; a uint64 array of one dimension is needed (canonical_keys).")
    return keys
