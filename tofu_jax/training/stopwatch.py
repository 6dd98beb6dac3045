"""Where the time of a run goes, and how much memory it takes."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator

import jax

# Preparing: graphs, tokens, first parameters. Compiling: steps whose program has not run before in this process. Batch: waiting
# for one that is not ready yet (`prefetch`). Everything else of the wall time is "other".
PHASES = ("preparing", "compiling", "batch", "step", "evaluation", "saving")


class Stopwatch:
    """Sums up seconds by phase, since the last line of the metrics and over the whole run of this process."""

    def __init__(self) -> None:
        """Starts with the wall clock of the run."""
        self._started = self._logged = time.perf_counter()
        self._total = dict.fromkeys(PHASES, 0.0)
        self._recent = dict.fromkeys(PHASES, 0.0)
        self._steps = self._recent_steps = self._recent_queries = 0

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts what happens inside as one of `PHASES`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            self._total[name] += seconds
            self._recent[name] += seconds

    def count_step(self, num_queries: int) -> None:
        """One more training step is done; num_queries: over all devices."""
        self._steps += 1
        self._recent_steps += 1
        self._recent_queries += num_queries

    def lap(self) -> dict[str, float]:
        """What a line of the metrics says, and a new beginning for the next one.

        Returns:
          "time/<phase>_s": seconds since the last lap, with "other" as the rest of them.
          "time/steps_per_s", "time/queries_per_s": over all of the time since the last lap.
          "time/goodput": share of the wall time since the start of this process's run that went into steps.
          "memory/peak_gib": see `peak_memory_bytes`.
        """
        now = time.perf_counter()
        wall = now - self._logged
        rates = {"time/steps_per_s": self._recent_steps / wall, "time/queries_per_s": self._recent_queries / wall}
        phases = {**self._recent, "other": wall - sum(self._recent.values())}
        values = {f"time/{name}_s": seconds for name, seconds in phases.items()}
        self._logged, self._recent_steps, self._recent_queries, self._recent = now, 0, 0, dict.fromkeys(PHASES, 0.0)
        return {
            **values,
            **rates,
            "time/goodput": self._total["step"] / (now - self._started),
            "memory/peak_gib": peak_memory_bytes() / 2**30,
        }

    def summary(self) -> str:
        """One line for the end of a run."""
        wall = time.perf_counter() - self._started
        shares = {**self._total, "other": wall - sum(self._total.values())}
        listed = ", ".join(f"{name} {seconds / wall:.0%}" for name, seconds in shares.items())
        rate = self._steps / self._total["step"] if self._total["step"] else 0.0
        return (
            f"{self._steps:,} steps in {wall // 60:.0f} min {wall % 60:02.0f} s, {rate:.1f} a second while stepping; "
            f"time: {listed}; peak memory {peak_memory_bytes() / 2**30:.1f} GiB"
        )


def peak_memory_bytes() -> int:
    """The most memory so far: of an accelerator where the first device is one, else of this process."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics:
        return statistics["peak_bytes_in_use"]
    # macOS counts bytes, Linux KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
