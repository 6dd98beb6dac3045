"""Graphs by name: a data set, a stored graph, a folder or a file."""

import pathlib

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin import BUILTIN_GRAPHS, load_builtin
from tofu_jax.graphs.datasets.loading import load_dataset, source_folder
from tofu_jax.graphs.datasets.registry import DATASETS, suggestion
from tofu_jax.graphs.datasets.store import is_stored, open_graph
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.raw import RawGraph, raw_of
from tofu_jax.graphs.readers import Part, read_graph, read_raw


def load_graph(name: str, part: Part | None = None, keep_unseen_entities: bool = False) -> KnowledgeGraph:
    """Loads a graph.

    Args:
      name: of a data set (`datasets.DATASETS`, which holds the built-in graphs, too), or the path of a stored graph
        (`datasets.store`), a folder or a file (`readers`). A name that holds a path separator is a path, any other a data set
        if there is one: a folder of a data set's name is reached as ./name.
      part: see `load_dataset` and `readers.read_graph`; stored graphs have one part.
      keep_unseen_entities: see `readers.read_graph`; data sets keep them, stored graphs have been read.

    Raises:
      DataError: there is no such graph, or its files cannot be used.
    """
    if name in DATASETS:
        return load_dataset(name, part)
    path = _existing(name)
    return open_graph(path) if is_stored(path) else read_graph(path, part, keep_unseen_entities)


def load_raw(name: str, part: Part | None = None) -> RawGraph:
    """Loads a graph as it stands in its files, nothing repaired; arguments and errors as of `load_graph`."""
    if name in BUILTIN_GRAPHS:
        return raw_of(load_builtin(name))
    if name in DATASETS:
        return read_raw(source_folder(name), part)
    path = _existing(name)
    return raw_of(open_graph(path)) if is_stored(path) else read_raw(path, part)


def _existing(name: str) -> pathlib.Path:
    path = pathlib.Path(name)
    if not path.exists():
        is_path = path.name != name
        raise DataError(f"{name}: no such folder or file" + ("." if is_path else f", and no data set; {suggestion(name)}"))
    return path
