"""The layouts in which graphs are published, and which of them a folder has."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Literal

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers.codex import add_codex
from tofu_jax.graphs.readers.descriptions import Descriptions
from tofu_jax.graphs.readers.integer_ids import read_mygo, read_openke
from tofu_jax.graphs.readers.named import NamedSplit
from tofu_jax.graphs.readers.parquet import read_parquet
from tofu_jax.graphs.readers.tables import TableOptions, read_table

Part = Literal["training", "inference"]

TABLE_SUFFIXES = (".txt", ".tsv", ".csv")
RDF_SUFFIXES = (".nt", ".ttl", ".rdf", ".owl", ".xml")
SUFFIXES = (*TABLE_SUFFIXES, ".parquet", *RDF_SUFFIXES)

Read = Callable[[Sequence[pathlib.Path], TableOptions, Descriptions], list[NamedSplit]]


def read_files(paths: Sequence[pathlib.Path], options: TableOptions, descriptions: Descriptions) -> list[NamedSplit]:
    """Reads files by their suffixes; what RDF files say beside facts goes into the descriptions."""
    splits = []
    for path in paths:
        suffix = suffix_of(path)
        if suffix in TABLE_SUFFIXES:
            splits.append(read_table(path, options))
        elif suffix == ".parquet":
            splits.append(read_parquet(path, options))
        else:
            from tofu_jax.graphs.readers.rdf import read_rdf  # rdflib is slow to import and seldom needed

            splits.append(read_rdf(path, descriptions))
    return splits


def _read_codex(paths: Sequence[pathlib.Path], options: TableOptions, descriptions: Descriptions) -> list[NamedSplit]:
    splits = read_files(paths, options, descriptions)
    names = dict.fromkeys(name for split in splits for column in (split.head, split.tail) for name in column.names)
    add_codex(descriptions, paths[0].parent, names)
    return splits


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a folder holds a graph. Files are named without suffix where any of `SUFFIXES` (and .gz) will do.

    Attributes:
      name: for messages.
      marks: files that tell the layout from others; {name} is the folder's own name.
      training: files of the training graph: the message graph, and valid and test facts where there are any; the first
        of alternatives (a|b) that is there counts.
      inference: likewise of the inference graph; empty if there is none.
      default: the part that is read if none is asked for.
      read: reads these files.
    """

    name: str
    marks: tuple[str, ...]
    training: tuple[str, ...]
    inference: tuple[str, ...] = ()
    default: Part = "training"
    read: Read = read_files


_SPLITS = ("train", "valid", "test")

# A folder has a layout if all its marks are there. Every other layout comes before split files, most of which have a train.
LAYOUTS = (
    Layout(
        "training and inference graph",
        marks=("inference_graph",),
        training=("train", "valid", "test_transductive|test"),
        inference=("inference_graph", "inference_valid", "inference_test"),
        default="inference",
    ),
    Layout(
        "InGram",
        marks=("train", "msg"),
        training=("train",),
        inference=("msg", "valid", "test"),
        default="inference",
    ),
    Layout(
        "ILPC 2022",
        marks=("train", "inference"),
        training=("train",),
        inference=("inference", "inference_validation", "inference_test"),
        default="inference",
    ),
    Layout(
        "GraIL",
        marks=("train", "../{name}_ind/train"),
        training=_SPLITS,
        inference=tuple(f"../{{name}}_ind/{split}" for split in _SPLITS),
    ),
    Layout(
        "OpenKE",
        marks=("entity2id.txt", "relation2id.txt", "train2id.txt"),
        training=("train2id.txt", "valid2id.txt", "test2id.txt"),
        read=lambda paths, options, descriptions: read_openke(paths),
    ),
    Layout(
        "MyGO",
        marks=("entities.txt", "relations.txt", "train.txt"),
        training=("train.txt", "valid.txt", "test.txt"),
        read=lambda paths, options, descriptions: read_mygo(paths, options),
    ),
    Layout("CoDEx", marks=("train", "../../entities/en/entities.json"), training=_SPLITS, read=_read_codex),
)
SPLIT_FILES = Layout("split files", marks=("train",), training=("train", "valid", "test_transductive|test"))


def suffix_of(path: pathlib.Path) -> str:
    """The suffix that tells the format, .gz apart."""
    return pathlib.Path(path.name.removesuffix(".gz")).suffix


def recognise(folder: pathlib.Path) -> Layout:
    """The layout of a folder.

    Raises:
      DataError: the folder has none of the layouts, or several; tells what there is and what each layout needs.
    """
    matching = [layout for layout in LAYOUTS if all(find(folder, mark) for mark in layout.marks)]
    if not matching and find(folder, "train"):
        matching = [SPLIT_FILES]
    alone = [path for path in sorted(folder.iterdir()) if suffix_of(path) in RDF_SUFFIXES and path.is_file()]
    if not matching and len(alone) == 1:
        matching = [Layout("one RDF file", (alone[0].name,), (alone[0].name,))]
    if len(matching) == 1:
        return matching[0]
    found = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    shown = ", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "") or "nothing"
    needs = "".join(f"\n  {layout.name}: {', '.join(layout.marks)}" for layout in (*LAYOUTS, SPLIT_FILES))
    problem = f"several layouts at once ({', '.join(layout.name for layout in matching)})" if matching else "no known layout"
    raise DataError(
        f"{folder}: {problem}. It holds {shown}. Layouts are known by these files (train is train.txt, .tsv, .csv, .parquet, "
        f".nt, .ttl or .rdf, also with .gz):{needs}\n  one RDF file: a single {', '.join(RDF_SUFFIXES)}"
    )


def locate(folder: pathlib.Path, layout: Layout, part: Part) -> list[pathlib.Path]:
    """The files of one part of a graph.

    Raises:
      DataError: the layout has no such part, or a file is missing.
    """
    needed = getattr(layout, part)
    if not needed:
        raise DataError(f"{folder}: holds no {part} graph; its layout is that of {layout.name}.")
    paths = []
    for name in needed:
        path = find(folder, name)
        if path is None:
            missing, wanted = (", ".join(_shown(folder, n) for n in names) for names in ((name,), needed))
            raise DataError(f"{folder / missing}: no such file. The {part} graph of a folder ({layout.name}) needs {wanted}.")
        paths.append(path)
    return paths


def find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The one file of that name, or of that name without suffix; of alternatives (a|b) the first that is there.

    Raises:
      DataError: there are several.
    """
    for alternative in name.split("|"):
        path = folder / alternative.format(name=folder.resolve().name)
        if ".." in path.parts:
            path = path.resolve()  # beside the folder itself, where that is a link, and readable in messages
        suffixes = ("",) if path.suffix in (*SUFFIXES, ".gz", ".json") else [s + gz for s in SUFFIXES for gz in ("", ".gz")]
        found = [path.with_name(path.name + suffix) for suffix in suffixes if path.with_name(path.name + suffix).is_file()]
        if len(found) > 1:
            raise DataError(f"{folder}: {' and '.join(p.name for p in found)} hold the same split; keep one.")
        if found:
            return found[0]
    return None


def _shown(folder: pathlib.Path, name: str) -> str:
    name = name.rpartition("|")[2].format(name=folder.resolve().name)
    return name if pathlib.PurePath(name).suffix else f"{name}.txt"
