"""Graphs by name: a built-in name, a folder or a file."""

import pathlib

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin import BUILTIN_GRAPHS, load_builtin
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.raw import RawGraph, raw_of
from tofu_jax.graphs.readers import Part, read_graph, read_raw


def load_graph(name: str, part: Part | None = None, keep_unseen_entities: bool = False) -> KnowledgeGraph:
    """Loads a graph.

    Args:
      name: a built-in name (`BUILTIN_GRAPHS`) or the path of a folder or file (`readers`); a folder of a built-in name is
        reached as ./name.
      part, keep_unseen_entities: see `readers.read_graph`; built-in graphs have one part and no unseen entities.

    Raises:
      DataError: there is no such graph, or its files cannot be used.
    """
    if name in BUILTIN_GRAPHS:
        return load_builtin(name)
    _require_source(name)
    return read_graph(name, part, keep_unseen_entities)


def load_raw(name: str, part: Part | None = None) -> RawGraph:
    """Loads a graph as it stands in its files, nothing repaired; arguments and errors as of `load_graph`."""
    if name in BUILTIN_GRAPHS:
        return raw_of(load_builtin(name))
    _require_source(name)
    return read_raw(name, part)


def _require_source(name: str) -> None:
    if not pathlib.Path(name).exists():
        raise DataError(f"{name}: neither a built-in graph ({', '.join(BUILTIN_GRAPHS)}) nor a folder or file.")
