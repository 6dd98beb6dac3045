"""Graphs on disk, prepared once: a TFDS data set of array_record files, opened in a fraction of the time that text takes.

    dataset_info.json features.json metadata.json        of TFDS; metadata: name, fingerprint, image folder, provenance
    knowledge_graph-<split>.array_record-00000-of-00001  blocks of facts, entities and relations, see `builder`
    SHA256SUMS                                           of the files above, as `sha256sum --check` reads it

`SHA256SUMS` comes last, and the folder gets its name when it is there: what carries the name is whole. Other files may be
put beside these; tokens.npz holds tokens of the graph (`tokens.token_file`). Nothing is read before its hash is right.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from absl import logging

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph

TFDS_NAME = "knowledge_graph"
VERSION = "1.0.0"
TOKENS_NAME = "tokens.npz"
SPLITS = ("train", "valid", "test", "entities", "relations")

_CHECKSUMS = "SHA256SUMS"
_METADATA = "metadata.json"
_FILES = (
    "dataset_info.json",
    "features.json",
    _METADATA,
    *(f"{TFDS_NAME}-{split}.array_record-00000-of-00001" for split in SPLITS),
)


def write_graph(graph: KnowledgeGraph, folder: str | pathlib.Path, provenance: Mapping[str, Any]) -> None:
    """Stores a graph.

    Args:
      graph: all of it is kept, order included; of its images, only their paths.
      folder: to be made; it appears when everything is written.
      provenance: where the graph comes from, as JSON values; `read_provenance` returns it.

    Raises:
      DataError: the folder exists and is not empty, or a name or text cannot be written as UTF-8.
    """
    from tofu_jax.graphs.datasets.builder import GraphConfig, KnowledgeGraphs

    folder = pathlib.Path(folder).absolute()
    _refuse_existing(folder)
    _refuse_surrogates(graph)
    graph = dataclasses.replace(graph, image_root=_image_root_to_store(graph.image_root, folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        config = GraphConfig(name="stored", load=lambda: (graph, provenance))
        with _quiet():
            builder = KnowledgeGraphs(data_dir=partial, config=config)
            builder.download_and_prepare(file_format="array_record", download_dir=partial / "downloads")
        _rename(pathlib.Path(builder.data_dir), folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def open_graph(folder: str | pathlib.Path) -> KnowledgeGraph:
    """Opens a stored graph, the same that was written: equal `fingerprint`, labels, texts and image paths.

    Raises:
      DataError: there is no stored graph, it is damaged, or another version of tofu_jax wrote it.
    """
    folder = pathlib.Path(folder)
    _check_hashes(folder)
    if (version := _read_json(folder / "dataset_info.json")["version"]) != VERSION:
        raise DataError(
            f"{folder}: stored as version {version}, this is version {VERSION}; delete the folder and store it again."
        )
    from tofu_jax.graphs.datasets.builder import read_blocks

    graph = read_blocks(folder)
    if graph.fingerprint != read_metadata(folder)["fingerprint"]:
        raise DataError(f"{folder}: does not hold the graph that was written; delete the folder and store the graph again.")
    tokens = folder / TOKENS_NAME
    return dataclasses.replace(graph, token_file=tokens) if tokens.is_file() else graph


def is_stored(folder: str | pathlib.Path) -> bool:
    """Whether a folder is a stored graph (damaged or not)."""
    return (pathlib.Path(folder) / _CHECKSUMS).is_file()


def read_provenance(folder: str | pathlib.Path) -> dict[str, Any]:
    """Where a stored graph comes from, as it was given to `write_graph`.

    Raises:
      DataError: there is no stored graph, or it is damaged.
    """
    folder = pathlib.Path(folder)
    _check_hashes(folder)
    return read_metadata(folder)["provenance"]


def read_metadata(folder: pathlib.Path) -> dict[str, Any]:
    """What `builder` wrote about the graph as a whole."""
    return _read_json(folder / _METADATA)


def write_checksums(folder: pathlib.Path) -> None:
    """Declares a folder whole: hashes its files."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _FILES]
    partial = folder / f"{_CHECKSUMS}.partial"
    partial.write_text("".join(lines), encoding="utf-8")
    partial.rename(folder / _CHECKSUMS)


def _check_hashes(folder: pathlib.Path) -> None:
    """Raises unless the folder holds the files that were written, and nothing in them has changed."""
    damaged = "the stored graph is damaged; delete the folder and store the graph again."
    if not is_stored(folder):
        raise DataError(f"{folder}: not a stored graph (it holds no {_CHECKSUMS}).")
    listed = (folder / _CHECKSUMS).read_bytes().splitlines(keepends=True)
    for name, line in zip(_FILES, [*listed, *[b""] * len(_FILES)], strict=False):
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: missing; {damaged}")
        if line != f"{_sha256(path)}  {name}\n".encode():
            raise DataError(f"{path}: not what {_CHECKSUMS} says; {damaged}")


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _refuse_existing(folder: pathlib.Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder}: exists already; delete it, or store the graph in another folder.")


def _refuse_surrogates(graph: KnowledgeGraph) -> None:
    """Raises for text that is no Unicode: half a surrogate pair, as careless decoding leaves it."""
    images = ("\n".join(paths) for paths in graph.images)
    for column in (graph.entities, graph.labels, graph.texts, images, graph.relations, graph.relation_labels):
        for text in column:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{graph.name}: {text[:80]!r} cannot be written as UTF-8 ({error.reason}); correct it."
                ) from error


def _image_root_to_store(root: pathlib.Path | None, folder: pathlib.Path) -> pathlib.Path | None:
    """Relative to the stored folder if it lies below, so that both can be moved together; absolute otherwise."""
    if root is None:
        return None
    root = root.absolute()
    return root.relative_to(folder) if root.is_relative_to(folder) else root


def _rename(prepared: pathlib.Path, folder: pathlib.Path) -> None:
    try:
        os.replace(prepared, folder)  # an empty folder gives way, another one does not
    except OSError as error:
        raise DataError(f"{folder}: cannot be made ({error.strerror}).") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without TFDS's account of its steps, which names folders that are gone a moment later."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
