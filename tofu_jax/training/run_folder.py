"""What a run leaves behind: config.json, metrics.jsonl, TensorBoard events, checkpoints/, report/, curves.png.

Of several processes only the first writes here (Orbax, which writes checkpoints/, sees to its own).
"""

import contextlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tofu_jax.errors import CheckpointError, TrainingError
from tofu_jax.files import write_whole
from tofu_jax.training.event_file import EventFile
from tofu_jax.training.parallel import is_first_process

_MOST_NAMED = 8  # graphs that a picture can tell apart
_FAINT = {"color": "0.8", "linewidth": 0.8}
_WINDOW = 20  # logged steps of one graph that a point of the smoothed loss curve averages


class RunFolder:
    """One folder per run. Opening it again with the same configuration continues the run."""

    def __init__(self, folder: pathlib.Path, config: Mapping[str, Any]):
        """Makes the folder, or checks that it belongs to this configuration.

        Args:
          folder: of the run.
          config: JSON values, all that determines the run.

        Raises:
          CheckpointError: see `refuse_other_run`.
          TrainingError: the folder cannot be written.
        """
        refuse_other_run(folder, config)
        self.folder = folder
        path = folder / "config.json"
        if is_first_process() and not path.exists():
            with writing_to(folder):
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(path, (json.dumps(config, indent=1) + "\n").encode())

    @property
    def checkpoints(self) -> pathlib.Path:
        """The folder of Orbax checkpoints."""
        return self.folder / "checkpoints"

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl, oldest first; numbers that are not finite as the strings that `MetricsWriter` writes."""
        path = self.folder / "metrics.jsonl"
        # A line without its end was cut off when the run was killed.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def plot_curves(self) -> pathlib.Path:
        """Draws loss and held-out MRR by step as curves.png."""
        lines = self.metrics()
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        loss_axes, mrr_axes = figure.subplots(1, 2)
        names = sorted({line["graph"] for line in lines if "loss" in line})
        _draw_losses(loss_axes, {name: _values(lines, "loss", name) for name in names})
        loss_axes.set(title=f"Training loss (line: mean of {_WINDOW} steps)", xlabel="step", ylabel="cross-entropy (nats)")
        for name in names:
            if len(points := _values(lines, f"valid_mrr/{name}")):
                style = {"marker": "o", "markersize": 3, "label": name} if len(names) <= _MOST_NAMED else _FAINT
                mrr_axes.plot(*points.T, **style)
        if len(names) > _MOST_NAMED and len(points := _values(lines, "valid_mrr")):
            mrr_axes.plot(*points.T, marker="o", markersize=3, label=f"mean of {len(names)} graphs")
        mrr_axes.set(title="Held-out facts of the training graphs", xlabel="step", ylabel="MRR", ylim=(0, 1))
        for axes in (loss_axes, mrr_axes):
            if axes.lines:
                axes.legend(frameon=False)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        with writing_to(self.folder):
            figure.savefig(self.folder / "curves.png", dpi=150)
        return self.folder / "curves.png"


def _values(lines: list[dict], key: str, graph: str | None = None) -> np.ndarray:
    """(step, value) [n, 2] of the lines that hold the key (and are of the graph)."""
    found = [(line["step"], float(line[key])) for line in lines if key in line and graph in (None, line.get("graph"))]
    return np.array(found, np.float64).reshape(-1, 2)


def _draw_losses(axes: Axes, losses: Mapping[str, np.ndarray]) -> None:
    """One colour a graph; of many graphs only the mean over all of them can be read."""
    if len(losses) > _MOST_NAMED:
        together = np.concatenate(list(losses.values()))
        losses = {f"{len(losses)} graphs": together[np.argsort(together[:, 0])]}
    for name, values in losses.items():
        window = np.ones(min(len(values), _WINDOW))
        mean = np.convolve(values[:, 1], window, "valid") / len(window)
        (points,) = axes.plot(*values.T, ".", markersize=2, alpha=0.3)
        axes.plot(values[len(window) - 1 :, 0], mean, color=points.get_color(), label=name)


class MetricsWriter:
    """Appends to metrics.jsonl and TensorBoard; after a resume, lines of steps that are trained again are dropped.

    Every line is JSON that any reader takes: a number that is not finite stands as "NaN", "Infinity" or "-Infinity", which
    Python's `float` and JavaScript's `Number` read back.
    """

    def __init__(self, folder: RunFolder, done_steps: int):
        """Opens both, in the first process only.

        Args:
          folder: of the run.
          done_steps: steps that the restored checkpoint has seen; later lines are dropped.

        Raises:
          TrainingError: the folder cannot be written.
        """
        self._folder, self._file, self._events = folder.folder, None, None
        if not is_first_process():
            return
        path = folder.folder / "metrics.jsonl"
        kept = [line for line in folder.metrics() if line["step"] <= done_steps]
        with writing_to(self._folder):
            write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
            self._file = path.open("a", encoding="utf-8")
            self._events = EventFile(folder.folder / "tensorboard", done_steps + 1)

    def write(self, step: int, values: Mapping[str, float | str]) -> None:
        """Writes one line; numbers go to TensorBoard too.

        Raises:
          TrainingError: the disk is full, or the folder cannot be written any more.
        """
        if self._file is None:
            return
        line = {"step": step, **{name: _as_json(value) for name, value in values.items()}}
        with writing_to(self._folder):
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
            self._events.write(step, {name: value for name, value in values.items() if not isinstance(value, str)})

    def close(self) -> None:
        """Flushes and closes both."""
        if self._file is None:
            return
        for file in (self._file, self._events):
            with contextlib.suppress(OSError):  # a full disk is reported by `write`
                file.close()


def _as_json(value: float | str) -> float | str:
    if isinstance(value, str) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@contextlib.contextmanager
def writing_to(folder: pathlib.Path) -> Iterator[None]:
    """Turns an `OSError` into a `TrainingError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot be written ({error}). Free space, correct the permissions or give another --workdir; the same "
            "command again continues from the last checkpoint."
        ) from error


def refuse_other_run(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Raises a `CheckpointError` that lists the differences if the folder holds a run with another configuration."""
    path = folder / "config.json"
    if not path.exists():
        return
    before = _flat(json.loads(path.read_text(encoding="utf-8")))
    after = _flat(json.loads(json.dumps(config)))  # tuples become lists, as in the file
    lines = [
        f"  {key}: {before.get(key, 'absent')!r} there, {after.get(key, 'absent')!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    if lines:
        raise CheckpointError(
            f"{path}: the folder holds a run with another configuration:\n" + "\n".join(lines) + "\n"
            "Give another --workdir, or the old configuration to resume."
        )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as {dotted key: value}."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {key: value for name, child in tree.items() for key, value in _flat(child, f"{prefix}.{name}".lstrip(".")).items()}
