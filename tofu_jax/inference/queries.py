"""Questions about a graph: a fact with one part left open."""

import pathlib
from typing import NamedTuple

from tofu_jax.errors import DataError

OPEN = "?"


class Query(NamedTuple):
    """A fact of which one part is asked for.

    Attributes:
      head, relation, tail: ids or labels; exactly one of them is None: the part that is asked for.
      source: where the question stands, for error messages ("" where it stands nowhere).
    """

    head: str | None
    relation: str | None
    tail: str | None
    source: str = ""

    @property
    def asked(self) -> str:
        """Which part is open: "head", "relation" or "tail".

        Raises:
          DataError: none is, or more than one.
        """
        parts = [name for name, value in zip(("head", "relation", "tail"), self[:3], strict=True) if value is None]
        if len(parts) != 1:
            raise DataError(
                f"{f'{self.source}: ' if self.source else ''}{len(parts)} of head, relation and tail are left open; leave open "
                "exactly one: that is what is asked for."
            )
        return parts[0]


def read_queries(path: str | pathlib.Path) -> list[Query]:
    """Reads a UTF-8 file of lines head TAB relation TAB tail, with ? for the part that is asked for.

    Raises:
      DataError: the file cannot be read or holds nothing, or a line has not three columns; names file and line. Whether one
        part is open shows when the questions are answered.
    """
    path = pathlib.Path(path)
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; convert the file to UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    if not lines[-1].strip("\r"):
        lines.pop()
    if not lines:
        raise DataError(f"{path}: no questions; write lines of head TAB relation TAB tail with {OPEN} for what is asked.")
    queries = []
    for number, line in enumerate(lines, start=1):
        columns = line.rstrip("\r").split("\t")
        if len(columns) != 3:
            raise DataError(f"{path}:{number}: {len(columns)} column(s), expected 3, separated by tabs: {line[:80]!r}")
        queries.append(Query(*(None if column == OPEN else column for column in columns), source=f"{path}:{number}"))
    return queries
