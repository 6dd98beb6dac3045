"""The next batch is made while the devices work on this one."""

import concurrent.futures
from collections.abc import Callable
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """A context manager that makes items 0, 1, 2, … on a thread, one ahead of the one in use.

    What is made has to depend on its number alone; then it makes no difference when, and a run can begin at any number.
    """

    def __init__(self, make: Callable[[int], Item], end: int):
        """Nothing is made before the first `take`.

        Args:
          make: the item of a number; runs on another thread.
          end: no item of this number or a later one is wanted.
        """
        self._make, self._end = make, end
        self._ahead: tuple[int, concurrent.futures.Future[Item]] | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="next batch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        """Waits for the item that is being made; it is not used."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self, number: int) -> Item:
        """The item of a number, with whatever exception making it has raised; the next one is then begun."""
        if self._ahead is None or self._ahead[0] != number:
            self._begin(number)
        item = self._ahead[1].result()
        if number + 1 < self._end:
            self._begin(number + 1)
        return item

    def _begin(self, number: int) -> None:
        self._ahead = number, self._thread.submit(self._make, number)
