"""SIGTERM while training: a request to save and to end, not an end in the middle of something."""

import signal
import threading
import types
from typing import Self

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
    """Work that can be done again later is given up, since the process has been asked to end."""


class StopRequest:
    """A context manager inside which SIGTERM only leaves a note.

    With several processes JAX's own handler takes the note of whichever is asked, and all of them stop at the same step.
    """

    def __init__(self) -> None:
        """Nothing has been asked for yet."""
        self._noted = False

    def __enter__(self) -> Self:
        # Python hands signals to the main thread alone; in another one (a notebook's) SIGTERM keeps its meaning.
        self._listens = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        if self._listens:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_) -> None:
        if self._listens:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        self._noted = True

    def at(self, step: int) -> bool:
        """Whether to save and end now; every process has to ask after every step."""
        return multihost_utils.reached_preemption_sync_point(step) if jax.process_count() > 1 else self._noted

    def give_up(self) -> None:
        """Raises `Interrupted` if this process, being the only one, has been asked to end."""
        if self._noted:
            raise Interrupted
