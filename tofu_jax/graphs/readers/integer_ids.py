"""Layouts whose facts name entities and relations by number: OpenKE, and MyGO (data sets after MMKB).

    OpenKE   entity2id.txt relation2id.txt            how many, then a line each: name TAB number
             train2id.txt valid2id.txt test2id.txt    how many, then a line each: head SPACE tail SPACE relation, in this order
    MyGO     entities.txt relations.txt               a line each: the name that the facts use, mostly a number
             train.txt valid.txt test.txt             head TAB relation TAB tail
             entity2id.txt relation2id.txt            optional, a line each: URI SPACE the name in entities.txt

An entity's id is its name in OpenKE's entity2id.txt; in MyGO it is the URI where there is one and the line of entities.txt
otherwise, which are the keys of MyGO's token files (`PrecomputedTokens.from_mygo`). An entity that is listed but stands in no
fact is not read.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers.contents import read_utf8
from tofu_jax.graphs.readers.named import Column, NamedSplit
from tofu_jax.graphs.readers.tables import TableOptions, parse, read_table, require_names


def read_openke(paths: Sequence[pathlib.Path]) -> list[NamedSplit]:
    """Reads train2id.txt and the like, with the vocabularies beside them.

    Raises:
      DataError: a file is damaged, holds another number of lines than it says, or a fact a number that has no name.
    """
    entities = _names_by_number(paths[0].parent / "entity2id.txt", counted=True)
    relations = _names_by_number(paths[0].parent / "relation2id.txt", counted=True)
    return [_renamed(_read_counted(path), entities, relations, "entity2id.txt", "relation2id.txt") for path in paths]


def read_mygo(paths: Sequence[pathlib.Path], options: TableOptions) -> list[NamedSplit]:
    """Reads train.txt and the like, with the vocabularies beside them.

    Raises:
      DataError: a file is damaged, or a fact holds a name that the vocabularies do not.
    """
    folder = paths[0].parent
    vocabularies = []
    for listed, numbered in (("entities.txt", "entity2id.txt"), ("relations.txt", "relation2id.txt")):
        names = {name: name for name in _lines(folder / listed)}
        if (folder / numbered).is_file():
            names |= {key: name for key, name in _names_by_number(folder / numbered, counted=False).items() if key in names}
        vocabularies.append(names)
    return [_renamed(read_table(path, options), *vocabularies, "entities.txt", "relations.txt") for path in paths]


def _lines(path: pathlib.Path) -> list[str]:
    lines = [line.rstrip("\r") for line in read_utf8(path).decode().split("\n")]
    return lines[:-1] if not lines[-1] else lines


def _names_by_number(path: pathlib.Path, counted: bool) -> dict[str, str]:
    """The names of a vocabulary under their numbers, as these stand in the file."""
    lines = _lines(path)
    names: dict[str, str] = {}
    for number, line in enumerate(lines[counted:], start=1 + counted):
        # The number is behind the last space or tab; a name may hold others.
        name, _, key = line.rstrip().replace("\t", " ").rpartition(" ")
        name = line[: len(name)].rstrip()
        if not name or not key.isdecimal():
            raise DataError(f"{path}:{number}: expected a name and its number, got {line[:80]!r}.")
        if names.setdefault(key, name) != name:
            raise DataError(f"{path}:{number}: number {key} stands twice; give every name its own.")
    if len(set(names.values())) != len(names):
        raise DataError(f"{path}: a name has two numbers; keep one.")
    if counted:
        _require_count(path, lines[0] if lines else "", len(lines) - 1)
    return names


def _read_counted(path: pathlib.Path) -> NamedSplit:
    """Facts by number: a count, then head, tail and relation."""
    data = read_utf8(path)
    first, _, rest = data.replace(b"\t", b" ").partition(b"\n")
    columns, lines = parse(path, rest, 3, " ", first_line=2)
    _require_count(path, first.decode(), len(lines))
    head, tail, relation = require_names(path, rest, columns, lines, 3, " ", first_line=2)
    return NamedSplit(path, head, relation, tail, lines)


def _require_count(path: pathlib.Path, text: str, count: int) -> None:
    if text.strip() != str(count):
        raise DataError(f"{path}:1: says {text.strip()[:80]!r}, but {count} lines follow; the first line is their number.")


def _renamed(
    split: NamedSplit, entities: Mapping[str, str], relations: Mapping[str, str], entity_file: str, relation_file: str
) -> NamedSplit:
    """The same facts under the names that the vocabularies give."""

    def rename(column: Column, names: Mapping[str, str], file: str) -> Column:
        unknown = [code for code, name in enumerate(column.names) if name not in names]
        rows = np.flatnonzero(np.isin(column.codes, unknown)) if unknown else []
        if len(rows):
            name = column.names[column.codes[rows[0]]]
            raise DataError(f"{split.source}:{split.lines[rows[0]]}: {name!r} is not in {file}; correct one of them.")
        # A header's names have no row and no name here.
        return column._replace(names=[names.get(name, name) for name in column.names])

    return dataclasses.replace(
        split,
        head=rename(split.head, entities, entity_file),
        relation=rename(split.relation, relations, relation_file),
        tail=rename(split.tail, entities, entity_file),
    )
