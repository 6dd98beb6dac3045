"""Progress of a long loop: a bar with time left on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator

import jax
import rich.console
import rich.progress

PLAIN_INTERVAL_S = 10.0


class Progress:
    """Iterates with progress; only process 0 prints."""

    def __init__(self, what: str, first: int, total: int, console: rich.console.Console):
        """Prepares the bar.

        Args:
          what: is being done, for the reader.
          first: items that were done before (a resumed run).
          total: items in all.
          console: to print on.
        """
        self._what, self._first, self._total, self._console = what, first, total, console
        self._note = ""

    def note(self, text: str) -> None:
        """Shows a short text beside the progress, such as the loss."""
        self._note = text

    def __iter__(self) -> Iterator[int]:
        """Yields first..total-1."""
        steps = range(self._first, self._total)
        if jax.process_index() != 0:
            return iter(steps)
        return self._bar(steps) if self._console.is_terminal else self._lines(steps)

    def _bar(self, steps: Iterable[int]) -> Iterator[int]:
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[note]}"),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(),
        )
        with rich.progress.Progress(*columns, console=self._console) as bar:
            task = bar.add_task(self._what, total=self._total, completed=self._first, note="")
            for step in steps:
                yield step
                bar.update(task, completed=step + 1, note=self._note)

    def _lines(self, steps: Iterable[int]) -> Iterator[int]:
        started = last = time.monotonic()
        for step in steps:
            yield step
            now = time.monotonic()
            if now - last >= PLAIN_INTERVAL_S or step + 1 == self._total:
                left_s = (now - started) / (step + 1 - self._first) * (self._total - step - 1)
                self._console.print(
                    f"{self._what} {step + 1}/{self._total}  {self._note}  {left_s // 60:.0f} min {left_s % 60:02.0f} s left",
                    highlight=False,
                )
                sys.stdout.flush()
                last = now
