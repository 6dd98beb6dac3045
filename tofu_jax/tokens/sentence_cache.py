"""Vectors of texts in the user's cache folder: a text is encoded once, whatever graph or command meets it first.

One SQLite file, which several processes may read and write. What is kept in it can always be computed again, so whatever is
wrong with it costs a note on standard error, and time.
"""

import contextlib
import hashlib
import os
import pathlib
import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
import rich.console

from tofu_jax.shapes import Array
from tofu_jax.user_cache import user_cache

VARIABLE = "TOFU_JAX_TEXT_CACHE"
_NAME = "sentences-1.sqlite3"  # another number where the same text gets another vector
_KEYS_PER_QUESTION = 500
_TIMEOUT_S = 30.0  # for another process to finish writing


def text_keys(texts: Sequence[str], encoder: str) -> list[bytes]:
    """16 bytes for each text as one encoder, told by its SHA-256, sees it."""
    # Half a surrogate pair has no plain UTF-8.
    return [
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=encoder[:64].encode()).digest()
        for text in texts
    ]


class SentenceCache:
    """A file of vectors; TOFU_JAX_TEXT_CACHE names its folder, an empty value turns it off."""

    def __init__(self, width: int):
        """Nothing is opened yet; width: c, of a vector."""
        self._width, self._path = width, _path()

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """Those of the vectors that are there, float16 [c] each."""
        if self._path is None:
            return {}
        found: dict[bytes, Array] = {}
        with self._noting("read"), _connection(self._path) as connection:
            for start in range(0, len(keys), _KEYS_PER_QUESTION):
                asked = keys[start : start + _KEYS_PER_QUESTION]
                places = ",".join("?" * len(asked))
                for key, data in connection.execute(f"SELECT key, vector FROM vectors WHERE key IN ({places})", asked):  # noqa: S608 (question marks)
                    vector = np.frombuffer(data, "<f2")
                    if len(vector) == self._width and np.isfinite(vector).all():
                        found[key] = vector
        return found

    def keep(self, keys: Sequence[bytes], vectors: Array) -> None:
        """Adds vectors float16 [n, c]."""
        if self._path is None:
            return
        rows = [(key, vector.astype("<f2").tobytes()) for key, vector in zip(keys, vectors, strict=True)]
        with self._noting("written"), _connection(self._path) as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    @contextlib.contextmanager
    def _noting(self, verb: str) -> Iterator[None]:
        """What goes wrong inside costs a note, and ends the use of the cache."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            rich.console.Console(stderr=True).print(
                f"{self._path}: cannot be {verb} ({error}); texts are encoded anew. {VARIABLE} names another folder.",
                highlight=False,
                soft_wrap=True,
            )
            self._path = None


@contextlib.contextmanager
def _connection(path: pathlib.Path) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, timeout=_TIMEOUT_S)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        yield connection


def _path() -> pathlib.Path | None:
    named = os.environ.get(VARIABLE)
    if named is not None:
        return pathlib.Path(named) / _NAME if named else None
    try:
        return user_cache("texts") / _NAME
    except RuntimeError:  # no home folder
        return None
