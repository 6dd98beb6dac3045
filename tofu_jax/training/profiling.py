"""A JAX profile of a few training steps, on demand."""

import pathlib
from typing import Self

import jax

WARM_UP_STEPS = 5  # of a process: most of what compiles is behind it then


class Profiler:
    """A context manager that records some steps for TensorBoard's profile tab, Perfetto or XProf."""

    def __init__(self, folder: pathlib.Path, steps: int):
        """Prepares.

        Args:
          folder: for the profile.
          steps: to record, after WARM_UP_STEPS others; 0 records nothing.
        """
        self._folder, self._steps, self._seen, self._running = folder, steps, 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        if self._running:
            jax.profiler.stop_trace()

    def before_step(self) -> None:
        """Starts or ends the recording where it is time; call once before each step."""
        if self._steps and self._seen == WARM_UP_STEPS:
            jax.profiler.start_trace(self._folder)
            self._running = True
        if self._running and self._seen == WARM_UP_STEPS + self._steps:
            jax.profiler.stop_trace()
            self._running = False
        self._seen += 1
