"""The splits of a raw graph as sorted keys, and how a fact and its place are written for people."""

import re

import numpy as np

from tofu_jax.graphs.knowledge_graph import fact_keys, facts_of_keys
from tofu_jax.graphs.raw import RawGraph, RawSplit
from tofu_jax.shapes import Array

SPLITS = ("train", "valid", "test")
HELD_OUT = ("valid", "test")
EXAMPLES = 5  # places that a finding shows
_LONGEST_NAME = 44
_IRI = re.compile(r"<?https?://\S*[/#]([^\s/#>]+)>?")


class Facts:
    """A raw graph whose facts can be looked up by key.

    Attributes:
      raw: the graph.
      files: split → name of its file, as short as tells the splits apart; empty splits have none.
    """

    def __init__(self, raw: RawGraph) -> None:
        self.raw = raw
        self.files = _file_names(raw)
        self._sorted = {split: _sort(self.split(split).triples) for split in SPLITS}

    def split(self, name: str) -> RawSplit:
        """A split by its name."""
        return getattr(self.raw, name)

    def sorted_keys(self, split: str) -> tuple[Array, Array]:
        """Keys of a split in ascending order and the rows they stand in, int64 [n] each; equal keys by row."""
        return self._sorted[split]

    def distinct(self, split: str) -> Array:
        """int32 [., 3], each fact of a split once."""
        return facts_of_keys(_without_repeats(self._sorted[split][0]))

    def first_rows(self, split: str, triples: Array) -> Array:
        """int64 [n]: the first row of the split that holds each of the triples [n, 3]; -1 where none does."""
        keys, rows = self._sorted[split]
        wanted = fact_keys(triples)
        order = np.argsort(wanted)
        position = positions(keys, wanted[order])
        found = np.full(len(triples), -1, np.int64)
        found[order[position >= 0]] = rows[position[position >= 0]]
        return found

    def lines(self, split: str, rows: Array) -> list[int]:
        """1-based lines of rows of a split."""
        return self.split(split).lines[rows].tolist()

    def place(self, split: str, row: int) -> str:
        """File and line."""
        return f"{self.files[split]}:{self.split(split).lines[row]}"

    def fact(self, split: str, row: int) -> str:
        """A fact in words; without ids, since it stands beside its place."""
        head, relation, tail = self.split(split).triples[row].tolist()
        return " · ".join(map(shown, (self.raw.labels[head], self.raw.relation_labels[relation], self.raw.labels[tail])))

    def entity(self, entity: int) -> str:
        """Label of an entity, and its id where that is another."""
        label, name = self.raw.labels[entity], self.raw.entities[entity]
        return shown(label) if label == name else f"{shown(label)} ({shown(name)})"

    def relation(self, relation: int) -> str:
        """Label of a relation; ids of relations are long and say the same."""
        return shown(self.raw.relation_labels[relation])

    def first_place_of(self, entity: int) -> str:
        """Where an entity stands first; empty if it stands in no fact."""
        for split in SPLITS:
            rows = np.flatnonzero((self.split(split).triples[:, [0, 2]] == entity).any(axis=1))
            if len(rows):
                return self.place(split, rows[0])
        return ""


def reverse(triples: Array) -> Array:
    """Head and tail exchanged, int32 [n, 3]."""
    return triples[:, ::-1]


def sorted_distinct(keys: Array) -> Array:
    """int64 [.]: the keys in ascending order, each once (numpy's own `unique` takes five times as long on millions)."""
    return _without_repeats(np.sort(keys))


def positions(keys: Array, wanted: Array) -> Array:
    """Where keys stand among others.

    Args:
      keys: int64 [m], ascending.
      wanted: int64 [n], ascending, for a search that goes through the memory in one direction.

    Returns:
      int64 [n] the first position of each in `keys`, -1 where it is not there.
    """
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    position = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[position] == wanted, position, -1)


def shown(name: str) -> str:
    """A name as people can read it anywhere: without what a terminal would obey, of bounded length, the end of an IRI only."""
    iri = _IRI.fullmatch(name)
    name = f"…{iri[1]}" if iri else name
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in name)
    half = _LONGEST_NAME // 2
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[: half - 1]}…{plain[-half:]}"


def amount(count: int, one: str, many: str = "") -> str:
    """A count and what is counted; many: its plural where that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def counted(part: int, whole: int, of_what: str) -> str:
    """A count with its share; only all are 100% and only none are 0%."""
    share = "100%" if part == whole else f"{min(max(part / whole, 0.001 * (part > 0)), 0.999):.1%}"
    return f"{part:,} of {whole:,} {of_what} ({share})"


def _without_repeats(keys: Array) -> Array:
    first = np.ones(len(keys), bool)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first]


def _sort(triples: Array) -> tuple[Array, Array]:
    keys = fact_keys(triples)
    rows = np.argsort(keys, kind="stable")
    return keys[rows], rows


def _file_names(raw: RawGraph) -> dict[str, str]:
    """Base names; whole paths where those are equal; with the split where even paths are."""
    paths = {split: getattr(raw, split).source for split in SPLITS if len(getattr(raw, split).triples)}
    for name in (lambda split: paths[split].name, lambda split: str(paths[split])):
        names = {split: name(split) for split in paths}
        if len(set(names.values())) == len(names):
            return names
    return {split: f"{path.name} ({split})" for split, path in paths.items()}
