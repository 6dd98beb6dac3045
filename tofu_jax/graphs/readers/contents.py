"""The contents of a file: unpacked, and known to be UTF-8."""

import codecs
import gzip
import pathlib
import zlib
from collections.abc import Iterator

from tofu_jax.errors import DataError

_STEP = 2**22  # bytes checked at a time
# Triples shrink to a tenth of their size; a file that grows by more than this factor when unpacked is a trap.
_MOST_GROWTH = 200
_LEAST_LIMIT = 2**26  # bytes that any file may have unpacked


def read_bytes(path: pathlib.Path) -> bytes:
    """All bytes of a file; a file that ends in .gz is unpacked.

    Raises:
      DataError: the file cannot be read, or is packed so tightly that it must be a trap.
    """
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        limit = max(_LEAST_LIMIT, _MOST_GROWTH * path.stat().st_size)
        with gzip.open(path) as stream:
            data = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if len(data) > limit:
        raise DataError(f"{path}: unpacks to more than {limit:,} bytes; look at it and unpack it yourself.")
    return data


def read_utf8(path: pathlib.Path) -> bytes:
    """All bytes of a text file without its byte order mark, which is no part of the first name.

    Raises:
      DataError: as `read_bytes`, or the file is not UTF-8; names the first byte that is not.
    """
    data = read_bytes(path)
    start = 0
    # In steps, since the text of millions of triples is not wanted as one string.
    while start < len(data):
        step = data[start : start + _STEP]
        try:
            start += codecs.utf_8_decode(step, "strict", start + _STEP >= len(data))[1]
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 at byte {start + error.start}; convert the file to UTF-8.") from error
    return data.removeprefix(codecs.BOM_UTF8)


def tab_rows(path: pathlib.Path, least: int) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, columns) of a tab-separated file whose rows may differ in length.

    Only a line feed ends a line; carriage returns before it are dropped.

    Args:
      path: of the file.
      least: columns that every line must have.

    Raises:
      DataError: as `read_utf8`, or a line has too few columns.
    """
    lines = read_utf8(path).decode().split("\n")
    if not lines[-1].strip("\r"):
        lines.pop()
    for number, line in enumerate(lines, start=1):
        columns = line.rstrip("\r").split("\t")
        if len(columns) < least:
            raise wrong_columns(path, number, len(columns), f"at least {least}", line)
        yield number, columns


def wrong_columns(path: pathlib.Path, line: int, count: int, expected: str, text: str, delimiter: str = "\t") -> DataError:
    """The error for a row of `count` columns, which begins like `text`."""
    separator = {"\t": "tabs", ",": "commas", " ": "spaces"}[delimiter]
    return DataError(
        f"{path}:{line}: {count} column(s), expected {expected}, separated by {separator}. The line: {text[:80]!r}"
    )


def require_unicode(path: pathlib.Path, line: int, text: str) -> str:
    """Returns the text; half a surrogate pair, which an escape can spell but UTF-8 cannot, is a DataError."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path}:{line}: {text[:80]!r} holds half a surrogate pair; correct the escape.") from error
    return text
