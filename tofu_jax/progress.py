"""Progress of long work with the time left: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Self

import rich.console
import rich.progress

PLAIN_INTERVAL_S = 10.0


class Progress:
    """A context manager that is told how much is done; only process 0 prints."""

    def __init__(self, what: str, total: int, console: rich.console.Console, done: int = 0):
        """Prepares the display.

        Args:
          what: is being done, for the reader.
          total: items in all.
          console: to print on.
          done: items that were done before (a resumed run); they do not count for the time left.
        """
        self._what, self._total, self._console, self._first = what, total, console, done
        self._bar: rich.progress.Progress | None = None
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and _is_first_process():
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TextColumn("{task.fields[note]}"),
                rich.progress.TimeRemainingColumn(),
                rich.progress.TextColumn("left"),
                console=self._console,
            )
            self._task = self._bar.add_task(self._what, total=self._total, completed=self._first, note="")
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Shows that `done` items are done, and a short note such as the loss."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if _is_first_process() and (now - self._printed >= PLAIN_INTERVAL_S or done == self._total):
            self._printed = now
            left_s = (now - self._started) / max(done - self._first, 1) * (self._total - done)
            left = f"{left_s // 60:.0f} min {left_s % 60:02.0f} s left"
            self._console.print(f"{self._what} {done:,}/{self._total:,}  {note}  {left}", highlight=False, soft_wrap=True)


def _is_first_process() -> bool:
    """Whether this process prints; one that has not imported JAX, which takes a while, works alone."""
    jax = sys.modules.get("jax")
    return jax is None or jax.process_index() == 0
