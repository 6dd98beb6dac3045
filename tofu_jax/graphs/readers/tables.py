"""Delimited tables: tab-separated without quotes, comma-separated with them, parsed by pyarrow."""

import csv
import dataclasses
import io
import itertools
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers.contents import read_utf8, wrong_columns
from tofu_jax.graphs.readers.named import Column, NamedSplit
from tofu_jax.shapes import Array

TRIPLE = ("head", "relation", "tail")
_BLOCK = 2**24  # bytes parsed at a time; a longer row makes the whole file one block


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """Where head, relation and tail stand in delimited tables and Parquet files.

    Attributes:
      columns: what the columns hold, from left to right: "head", "relation" and "tail" once each; a column of any other
        name is skipped. Not used if the file itself has columns of these three names.
      header: whether the first line names the columns; None takes it for a header exactly if it names head, relation and
        tail. Parquet files always name their columns.
    """

    columns: tuple[str, ...] = TRIPLE
    header: bool | None = None

    def __post_init__(self) -> None:
        if any(self.columns.count(name) != 1 for name in TRIPLE):
            raise DataError(f"columns={self.columns}: give head, relation and tail once each, and any names for others.")

    def positions(self, names: Sequence[str] | None) -> list[int]:
        """Positions of head, relation and tail in a file that names its columns so; None where it does not."""
        return [names.index(name) if names_triple(names) else self.columns.index(name) for name in TRIPLE]


def names_triple(names: Sequence[str] | None) -> bool:
    """Whether head, relation and tail each stand once among the names."""
    return names is not None and all(list(names).count(name) == 1 for name in TRIPLE)


def read_table(path: pathlib.Path, options: TableOptions) -> NamedSplit:
    """Reads the facts of a table: comma-separated with quotes if it ends in .csv (or .csv.gz), else tab-separated without.

    Of a comma-separated table, names in quotes may hold line ends; a line is then the one that the row begins in. Only
    line feeds, with or without a carriage return before them, end lines; any other control character may stand in a name.

    Raises:
      DataError: the file cannot be read, is empty or not UTF-8, a row has the wrong number of columns or an empty name.
    """
    data = read_utf8(path)
    delimiter = "," if ".csv" in path.suffixes else "\t"
    cells = _first_row(data, delimiter)
    header = names_triple(cells) if options.header is None else options.header
    named = cells if header else None
    width = len(cells) if names_triple(named) else len(options.columns)
    columns, lines = parse(path, data, width, delimiter)
    if header:
        columns, lines = [Column(column.codes[1:], column.names) for column in columns], lines[1:]
    triple = [columns[position] for position in options.positions(named)]
    return NamedSplit(path, *require_names(path, data, triple, lines, width, delimiter), lines)


def read_rows(path: pathlib.Path) -> tuple[Array, list[list[str]]]:
    """All cells of a comma-separated table.

    Returns:
      int64 [n] line of each row, and the columns, n cells each.
    """
    data = read_utf8(path)
    columns, lines = parse(path, data, len(_first_row(data, ",")), ",")
    return lines, [[column.names[code] for code in column.codes] for column in columns]


def parse(path: pathlib.Path, data: bytes, width: int, delimiter: str, first_line: int = 1) -> tuple[list[Column], Array]:
    """Parses a table of names.

    Args:
      path: for messages.
      data: UTF-8.
      width: columns that every row must have.
      delimiter: between columns; a comma means that cells may be quoted.
      first_line: number of the first line of `data` in the file.

    Returns:
      `width` columns and int64 [n] line of each row.

    Raises:
      DataError: a row has another number of columns; names its line.
    """
    quoted = delimiter == ","
    data, stand_in = _without_carriage_returns(path, data, quoted)
    if not data:
        none = Column(np.zeros(0, np.int32), [])
        return [none] * width, np.zeros(0, np.int64)
    wrong: list[pa.csv.InvalidRow] = []
    table = _parse_blocks(path, data, width, delimiter, wrong)
    columns = [_column(table.column(i), stand_in) for i in range(width)]
    # Rows have as many lines as their cells have line feeds; without quotes a row is a line.
    extra = sum(np.array([name.count("\n") for name in names], np.int64)[codes] for codes, names in columns if quoted)
    after = np.cumsum(np.broadcast_to(extra + 1, len(table)))
    lines = first_line + np.concatenate([[0], after])
    if wrong:
        # pyarrow counts rows from 1, the wrong ones included: those before the first wrong one are all in the table.
        text = wrong[0].text.replace(stand_in, "\r") if stand_in else wrong[0].text
        line = int(lines[wrong[0].number - 1])
        raise wrong_columns(path, line, wrong[0].actual_columns, str(width), text, delimiter)
    return columns, lines[:-1]


def require_names(
    path: pathlib.Path, data: bytes, columns: Sequence[Column], lines: Array, width: int, delimiter: str, first_line: int = 1
) -> Sequence[Column]:
    """Returns the columns; an empty name or an empty line, which pyarrow takes for a row of empty names, is a DataError."""
    empty = [np.flatnonzero(column.codes == column.names.index("")) for column in columns if "" in column.names]
    rows = [found[0] for found in empty if len(found)]
    if rows:
        line = int(lines[min(rows)])
        text = data.split(b"\n", line - first_line + 1)[line - first_line].decode().rstrip("\r")
        if not text:
            raise wrong_columns(path, line, 1, str(width), text, delimiter)
        raise DataError(f"{path}:{line}: an empty head, relation or tail; every column needs a name.")
    return columns


def _first_row(data: bytes, delimiter: str) -> list[str]:
    """Cells of the first row; none where it cannot be told."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="")
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    try:
        return next(csv.reader(text, delimiter=delimiter, quoting=quoting), [])
    except csv.Error:
        return []


def _without_carriage_returns(path: pathlib.Path, data: bytes, quoted: bool) -> tuple[bytes, str]:
    """pyarrow ends a line at every carriage return; this leaves only those before a line feed.

    Returns:
      the data, where a character that does not occur in it stands in for carriage returns inside names, and that
      character; it is empty where none was needed.
    """
    if b"\r" not in data:
        return data, ""
    if not quoted:
        # Before a line feed, or at the end, they belong to the line end. (The look-behind keeps this linear.)
        data = re.sub(rb"(?<!\r)\r++(?=\n|\Z)", b"", data)
    if not re.search(rb"\r(?!\n)", data):
        return data, ""
    private = itertools.chain(range(0xE000, 0xF900), range(0xF0000, 0xF1000))
    stand_in = next((chr(code) for code in private if chr(code).encode() not in data), None)
    if stand_in is None:
        raise DataError(f"{path}: carriage returns inside names beside thousands of private-use characters; remove them.")
    return re.sub(rb"\r(?!\n)", stand_in.encode(), data), stand_in


def _parse_blocks(path: pathlib.Path, data: bytes, width: int, delimiter: str, wrong: list) -> pa.Table:
    """Parses the rows of `width` columns; the first of the others is added to `wrong`."""
    names = [str(i) for i in range(width)]
    quoted = delimiter == ","

    def skip(row: pa.csv.InvalidRow) -> str:
        if not wrong:
            wrong.append(row)
        return "skip"

    for block_size in (_BLOCK, min(len(data) + 1, 2**31 - 1)):
        wrong.clear()
        try:
            return pa.csv.read_csv(
                pa.BufferReader(data),
                # One thread: others would make pyarrow forget which row is wrong.
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=block_size, column_names=names),
                parse_options=pa.csv.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if quoted else False,
                    double_quote=quoted,
                    escape_char=False,
                    newlines_in_values=quoted,
                    ignore_empty_lines=False,
                    invalid_row_handler=skip,
                ),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.dictionary(pa.int32(), pa.string())),
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
        except pa.ArrowInvalid as error:
            reason = str(error)
    raise DataError(f"{path}: cannot be parsed ({reason[:200]}).")


def _column(chunks: pa.ChunkedArray, stand_in: str) -> Column:
    """One column out of the dictionary-encoded blocks."""
    blocks = chunks.unify_dictionaries().chunks
    if not blocks:
        return Column(np.zeros(0, np.int32), [])
    names = blocks[0].dictionary.to_pylist()
    if stand_in:
        names = [name.replace(stand_in, "\r") for name in names]
    return Column(np.concatenate([block.indices.to_numpy() for block in blocks]), names)
