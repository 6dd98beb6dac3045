"""Loads a data set by name: fetched and prepared once, opened from the store ever after."""

import dataclasses
import os
import pathlib
import shutil
from typing import Any

import filelock
import rich.console

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin import BUILTIN_GRAPHS, load_builtin
from tofu_jax.graphs.datasets import store
from tofu_jax.graphs.datasets.download import fetch
from tofu_jax.graphs.datasets.entry import Dataset, facts_sha256
from tofu_jax.graphs.datasets.registry import find_dataset
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.readers import Part, read_graph
from tofu_jax.user_cache import user_cache

DATA_VARIABLE = "TOFU_JAX_DATA"


def load_dataset(
    name: str, part: Part | None = None, folder: str | pathlib.Path | None = None, as_published: bool = False
) -> KnowledgeGraph:
    """Loads a data set of the registry (`registry.DATASETS`).

    The facts come from `folder`, or from a folder of the data set below the one that the environment variable TOFU_JAX_DATA
    names, or are downloaded; whatever the source, they are checked against the published ones where those are known. The
    graph is then stored in the user's cache folder, and stored again when the files that it was made from change.

    Args:
      name: of the data set.
      part: "training" or "inference"; None takes the inference graph where there is one.
      folder: that holds the files, as published or in any layout that `readers` know, with texts and images if there are any.
      as_published: whether a split that is known to be wrong is left as it is.

    Returns:
      The graph; held-out facts may name entities that stand in no fact of the message graph, as they do where published.

    Raises:
      DataError: there is no such data set or part, it cannot be downloaded, or it holds other facts than were published.
    """
    dataset = find_dataset(name)
    if part is not None and part not in dataset.parts:
        raise DataError(f"{name} has no {part} graph; its parts are {', '.join(dataset.parts)}.")
    if name in BUILTIN_GRAPHS:
        return load_builtin(name)
    part = part or dataset.parts[0]
    stored = stored_folder(dataset, part, as_published)
    source = _source(dataset, folder)
    made_from = _fingerprint(dataset, source)
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{stored.parent}: cannot be made ({error.strerror}); let XDG_CACHE_HOME name another folder."
        ) from error
    # Processes of one run come here at the same time: the first one prepares, the others wait.
    with filelock.FileLock(f"{stored.parent}.lock"):
        if store.is_stored(stored):
            provenance = store.read_provenance(stored)
            # Without a folder, what was made from one is as good as a download.
            if provenance["made_from"] == made_from or (source is None and not provenance["downloaded"]):
                return store.open_graph(stored)
        downloaded = {} if source else _download(dataset)
        graph = _read(dataset, part, source or download_folder(dataset))
        if dataset.repair and not as_published:
            graph = dataset.repair(graph)
        # What was stored before, and what a process left that was killed while it wrote.
        for old in (stored, *stored.parent.glob(f".{stored.name}.partial-*")):
            shutil.rmtree(old, ignore_errors=True)
        about = {
            "dataset": name,
            "part": part,
            "as_published": as_published,
            "licence": dataset.licence,
            "notes": dataset.notes,
        }
        store.write_graph(graph, stored, about | {"made_from": made_from, "downloaded": downloaded})
        return store.open_graph(stored)


def source_folder(name: str) -> pathlib.Path:
    """The folder with the files of a data set as published, which are downloaded if need be; errors as of `load_dataset`."""
    dataset = find_dataset(name)
    if folder := _source(dataset, None):
        return folder
    _download(dataset)
    return download_folder(dataset)


def config_name(dataset: Dataset, part: Part, as_published: bool) -> str:
    """The name of a stored graph: "fb237_v1", "fb237_v1.training", "DB15K.as_published"."""
    suffix = "" if part == dataset.parts[0] else f".{part}"
    return f"{dataset.name}{suffix}{'.as_published' if as_published and dataset.repair else ''}"


def data_folder() -> pathlib.Path:
    """Where data sets are kept; TFDS finds them there, too (`data_dir`)."""
    return user_cache("datasets")


def stored_folder(dataset: Dataset, part: Part, as_published: bool) -> pathlib.Path:
    """Where a graph is stored."""
    return data_folder() / store.TFDS_NAME / config_name(dataset, part, as_published) / store.VERSION


def download_folder(dataset: Dataset) -> pathlib.Path:
    """Where the files of a data set are downloaded to."""
    return data_folder() / "downloads" / dataset.name


def local_folder(dataset: Dataset) -> pathlib.Path | None:
    """The folder of a data set below that which TOFU_JAX_DATA names; None if there is none.

    Raises:
      DataError: TOFU_JAX_DATA names no folder.
    """
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        return None
    if not pathlib.Path(root).is_dir():
        raise DataError(f"{DATA_VARIABLE}={root}: no such folder.")
    folder = pathlib.Path(root) / dataset.folder
    return folder if folder.is_dir() else None


def _source(dataset: Dataset, folder: str | pathlib.Path | None) -> pathlib.Path | None:
    """The folder to read; None if the files have to be downloaded."""
    if folder is None:
        return local_folder(dataset)
    if not pathlib.Path(folder).is_dir():
        raise DataError(f"{folder}: no such folder.")
    return pathlib.Path(folder)


def _fingerprint(dataset: Dataset, source: pathlib.Path | None) -> dict[str, Any]:
    """What tells whether a graph would be prepared from the same files again, as JSON."""
    if source is None:
        return {file.name: file.url for file in dataset.files}
    # GraIL's inference graphs lie in a folder beside.
    folders = [source, source.with_name(f"{source.name}_ind")]
    files = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file())
    return {str(path.absolute()): [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


def _download(dataset: Dataset) -> dict[str, str]:
    """Fetches what is missing; returns SHA-256 of each file."""
    advice = (
        f"A copy of your own does as well: load_dataset({dataset.name!r}, folder=...), or {DATA_VARIABLE}=<a folder that holds "
        f"{dataset.folder}/>."
    )
    if not dataset.files:
        raise DataError(f"{dataset.name} cannot be downloaded by a program; get it from {dataset.homepage}. {advice}")
    console = rich.console.Console(stderr=True)
    folder = download_folder(dataset)
    try:
        return {file.name: fetch(file.url, folder / file.name, file.sha256, console) for file in dataset.files}
    except DataError as error:
        raise DataError(f"{error} {advice}") from error


def _read(dataset: Dataset, part: Part, folder: pathlib.Path) -> KnowledgeGraph:
    """Reads a graph and makes sure that it is the published one."""
    graph = dataclasses.replace(read_graph(folder, part, keep_unseen_entities=True), name=dataset.name)
    expected = dataset.facts.get(part)
    if expected is not None and (found := facts_sha256(graph)) != expected:
        sizes = " / ".join(f"{len(split):,}" for split in (graph.train, graph.valid, graph.test))
        raise DataError(
            f"{folder}: holds other facts than {dataset.name} as published ({sizes} train/valid/test facts; SHA-256 of the "
            f"{part} graph's facts is {found}, expected {expected}). To use it as a graph of its own, give its path for a name."
        )
    return graph
