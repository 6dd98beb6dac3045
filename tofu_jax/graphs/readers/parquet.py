"""Parquet files, parsed by pyarrow."""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers.contents import read_bytes
from tofu_jax.graphs.readers.named import Column, NamedSplit
from tofu_jax.graphs.readers.tables import TRIPLE, TableOptions, names_triple
from tofu_jax.shapes import Array

_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)  # what pyarrow raises for bytes that are no Parquet file


def read_parquet(path: pathlib.Path, options: TableOptions) -> NamedSplit:
    """Reads the facts of a Parquet file: three columns of text (or of whole numbers); rows count as lines.

    Raises:
      DataError: the file cannot be read, is damaged or empty, a column is missing or of another kind, a name is empty.
    """
    file, names = _open(path)
    if not names_triple(names) and len(names) != len(options.columns):
        expected = f"head, relation and tail among them, or {len(options.columns)} columns"
        raise DataError(f"{path}: columns {', '.join(names)}; expected {expected}.")
    columns = [_column(path, file, position) for position in options.positions(names)]
    for name, (codes, values) in zip(TRIPLE, columns, strict=True):
        if "" in values and (codes == values.index("")).any():
            row = np.flatnonzero(codes == values.index(""))[0] + 1
            raise DataError(f"{path}:{row}: an empty {name}; every column needs a name in every row.")
    return NamedSplit(path, *columns, np.arange(1, len(columns[0].codes) + 1))


def read_rows(path: pathlib.Path) -> tuple[Array, list[list[str]]]:
    """All cells of a Parquet file as text, empty where there is none.

    Returns:
      int64 [n] number of each row, and the columns, n cells each.
    """
    file, names = _open(path)
    columns = [_column(path, file, i) for i in range(len(names))]
    cells = [[column.names[code] for code in column.codes] for column in columns]
    return np.arange(1, file.metadata.num_rows + 1), cells


def _open(path: pathlib.Path) -> tuple[pa.parquet.ParquetFile, list[str]]:
    """The file and the names of its columns."""
    try:
        file = pa.parquet.ParquetFile(pa.BufferReader(read_bytes(path)))
        names = file.schema_arrow.names
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    if len(set(names)) != len(names):
        raise DataError(f"{path}: columns {', '.join(names)}; give each another name.")
    return file, names


def _damaged(path: pathlib.Path, error: Exception) -> DataError:
    return DataError(f"{path}: not a Parquet file, or a damaged one ({str(error)[:200]}).")


def _column(path: pathlib.Path, file: pa.parquet.ParquetFile, position: int) -> Column:
    """One column as text; a missing value is an empty name."""
    field = file.schema_arrow.field(position)
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise DataError(f"{path}: column {field.name!r} holds {field.type}; expected text.")
    try:
        chunks = file.read(columns=[field.name]).column(0).cast(pa.string()).fill_null("")
        # A Parquet file may hold any bytes as text.
        chunks.validate(full=True)
        blocks = chunks.dictionary_encode().unify_dictionaries().chunks
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    if not blocks:
        return Column(np.zeros(0, np.int32), [])
    return Column(np.concatenate([block.indices.to_numpy() for block in blocks]), blocks[0].dictionary.to_pylist())
