"""What the readers of all formats make of a file: facts by name, which are then numbered."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.raw import RawSplit
from tofu_jax.shapes import Array


class Column(NamedTuple):
    """One column of a table of names.

    Attributes:
      codes: int32 [n], positions in `names`.
      names: different names; some may be unused.
    """

    codes: Array
    names: Sequence[str]


@dataclasses.dataclass(frozen=True, eq=False)
class NamedSplit:
    """The facts of one split by name.

    Attributes:
      source: the file.
      head, relation, tail: columns of n names each.
      lines: int64 [n] 1-based line of each fact, or its row where the format has no lines.
    """

    source: pathlib.Path
    head: Column
    relation: Column
    tail: Column
    lines: Array

    def __post_init__(self) -> None:
        if not len(self.lines):
            raise DataError(f"{self.source}: no triples; the split is empty.")


def number_names(splits: Sequence[NamedSplit]) -> tuple[tuple[str, ...], tuple[str, ...], list[RawSplit]]:
    """Numbers entities and relations by first appearance: split by split, fact by fact, head before tail.

    Returns:
      entities, relations, and each split with ids.
    """
    ends, entities = _common_codes([column for split in splits for column in (split.head, split.tail)])
    types, relations = _common_codes([split.relation for split in splits])
    pairs = [np.stack(ends[2 * i : 2 * i + 2], axis=1) for i in range(len(splits))]
    entity_ids, entities = _by_first_appearance(np.concatenate(pairs).ravel(), entities)
    relation_ids, relations = _by_first_appearance(np.concatenate(types), relations)
    numbered = []
    for split, pair, relation in zip(splits, pairs, types, strict=True):
        triples = np.empty((len(relation), 3), np.int32)
        triples[:, [0, 2]] = entity_ids[pair]
        triples[:, 1] = relation_ids[relation]
        numbered.append(RawSplit(split.source, triples, split.lines))
    return entities, relations, numbered


def _common_codes(columns: Sequence[Column]) -> tuple[list[Array], list[str]]:
    """The columns' codes with respect to one list of names."""
    codes: dict[str, int] = {}
    recoded = []
    for column in columns:
        common = np.array([codes.setdefault(name, len(codes)) for name in column.names], np.int32)
        recoded.append(common[column.codes])
    return recoded, list(codes)


def _by_first_appearance(sequence: Array, names: list[str]) -> tuple[Array, tuple[str, ...]]:
    """int32 [len(names)] new id of each name, and the names that occur in the sequence in the order of their ids."""
    first = np.full(len(names), len(sequence), np.int64)
    np.minimum.at(first, sequence, np.arange(len(sequence)))
    order = np.argsort(first)
    ids = np.empty(len(names), np.int32)
    ids[order] = np.arange(len(names), dtype=np.int32)
    used = int((first < len(sequence)).sum())
    return ids, tuple(names[i] for i in order[:used])
