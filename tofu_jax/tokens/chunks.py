"""Long work in chunks: the result of each is kept as soon as it is there, so that killed work goes on where it was."""

import contextlib
import io
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import rich.console

from tofu_jax.errors import DataError
from tofu_jax.files import write_whole
from tofu_jax.progress import Progress
from tofu_jax.shapes import Array
from tofu_jax.tokens.codebook import read_arrays

Item = TypeVar("Item")
Chunk = Mapping[str, Array]


class ChunkedWork:
    """Where the results of chunks are kept, and where progress is shown; both are optional.

    Attributes:
      broken_images: why, by image file: what tokenizers could not read.
    """

    def __init__(
        self,
        console: rich.console.Console | None = None,
        folder: pathlib.Path | None = None,
        settings: Mapping[str, str] | None = None,
    ):
        """Opens the folder of unfinished work, or makes it.

        Args:
          console: for progress; None shows none.
          folder: of finished chunks; None keeps nothing on disk.
          settings: all that determines the results, for a folder: its chunks are of no use to work with other settings.

        Raises:
          DataError: the folder holds work with other settings, or is none of this class.
        """
        self.broken_images: dict[str, str] = {}
        self._console = console
        self._folder = folder
        if folder is not None:
            _claim(folder, dict(settings or {}))

    def in_chunks(
        self,
        what: str,
        items: Sequence[Item],
        chunk_size: int,
        compute: Callable[[list[Sequence[Item]]], Iterator[Chunk]],
    ) -> list[Chunk]:
        """Computes arrays for all items, chunk by chunk; those that the folder holds already are not computed again.

        Args:
          what: the items are, for progress and as the name of their files.
          items: in a fixed order.
          chunk_size: items per chunk.
          compute: given the chunks that are missing, yields the arrays of each, in this order.

        Returns:
          The arrays of every chunk, in the order of the items.
        """
        chunks = [items[start : start + chunk_size] for start in range(0, len(items), chunk_size)]
        found = {number: arrays for number in range(len(chunks)) if (arrays := self._read(what, number)) is not None}
        missing = [number for number in range(len(chunks)) if number not in found]
        done = sum(len(chunks[number]) for number in found)
        shown = self._console is not None and len(missing) > 1  # one chunk is done before there is anything to show
        display = Progress(what, len(items), self._console, done) if shown else contextlib.nullcontext()
        with display as progress, contextlib.closing(compute([chunks[number] for number in missing])) as results:
            for number, arrays in zip(missing, results, strict=True):
                found[number] = arrays
                self._write(what, number, arrays)
                done += len(chunks[number])
                if progress is not None:
                    progress.update(done)
        return [found[number] for number in range(len(chunks))]

    def _path(self, what: str, number: int) -> pathlib.Path:
        return self._folder / f"{what.replace(' ', '_')}-{number:06d}.npz"

    def _read(self, what: str, number: int) -> Chunk | None:
        if self._folder is None or not self._path(what, number).exists():
            return None
        # A chunk that the disk has lost half of is simply computed again.
        with contextlib.suppress(DataError):
            return read_arrays(self._path(what, number))
        return None

    def _write(self, what: str, number: int, arrays: Chunk) -> None:
        if self._folder is None:
            return
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_whole(self._path(what, number), content.getvalue())


def _claim(folder: pathlib.Path, settings: dict[str, str]) -> None:
    """Makes the folder for these settings, or checks that it was made for them."""
    path = folder / "settings.json"
    if not folder.exists():
        folder.mkdir(parents=True)
    elif not path.exists() and any(child.suffix != ".unfinished" for child in folder.iterdir()):
        raise DataError(f"{folder}: in the way: no unfinished work of this command. Move it, or choose another --output.")
    if not path.exists():
        write_whole(path, (json.dumps(settings, indent=1) + "\n").encode())
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); delete {folder} to start again.") from error
    different = [
        f"  {name}: {before.get(name, 'absent')} there, {settings.get(name, 'absent')} now"
        for name in sorted(before.keys() | settings.keys())
        if before.get(name) != settings.get(name)
    ]
    if different:
        raise DataError(
            f"{folder}: holds unfinished work with other settings:\n" + "\n".join(different) + "\n"
            "Delete it to start again, give the old settings to go on with it, or choose another --output."
        )
