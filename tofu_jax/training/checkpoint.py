"""Orbax checkpoints: parameters, optimizer state, image codebook and what the model saw.

    checkpoints/<step>/          one folder per step; it becomes visible only when it is whole
    checkpoints/valid_mrr.json   {step: held-out MRR} of the steps that were evaluated: which one is the best

Steps are written in the background. A kill in mid-save leaves the step before as the latest.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import jax
import numpy as np
import orbax.checkpoint as ocp

from tofu_jax.errors import CheckpointError, LostProcessError
from tofu_jax.files import write_whole
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.training.parallel import is_first_process, wait_for_all
from tofu_jax.training.step import TrainState

Step = int | Literal["best"] | None  # None: the latest

_RATINGS = "valid_mrr.json"
# What Orbax and its array store raise when a file cannot be written.
_FAILURES = (OSError, ValueError, KeyError, TypeError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint holds for inference.

    Attributes:
      step: training step after which it was saved.
      params: parameters, numpy arrays.
      image_codebook: of the image tokenizer (the text codebook is too large to be copied; its hash is in `meta`).
      meta: JSON: model config, token settings, codebook hashes, graphs seen.
    """

    step: int
    params: Any
    image_codebook: Codebook
    meta: Mapping[str, Any]


class CheckpointStore:
    """The checkpoints of one run: the latest ones, and the best one; a context manager that closes it."""

    def __init__(self, folder: pathlib.Path, keep_last: int = 2):
        """Opens (and makes) the folder; what a kill has left half-written is deleted.

        Args:
          folder: of this run's checkpoints.
          keep_last: how many of the latest steps stay; the best rated one stays besides.

        Raises:
          CheckpointError: the folder cannot be made or read.
        """
        self.folder = folder.absolute()  # Orbax refuses relative paths
        # A step that was rated, but whose save did not come to its end, will be trained and rated again.
        latest = max(saved_steps(self.folder), default=-1)
        self._ratings = {step: mrr for step, mrr in _read_ratings(self.folder).items() if step <= latest}
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_LatestAndBest(keep_last, self._ratings), cleanup_tmp_directories=True
        )
        with self._failures("cannot be opened"):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        if kind is None or not issubclass(kind, LostProcessError):  # a save under way would wait for the lost one
            self.close()

    def save(self, step: int, state: TrainState, image_codebook: Codebook, meta: Mapping[str, Any]) -> None:
        """Saves in the background; a step that is there already is left alone.

        Args:
          step: training steps done.
          state: host arrays without a device axis.
          image_codebook: see `Restored`.
          meta: JSON values.

        Raises:
          CheckpointError: this step or the one before it could not be written.
        """
        if step == self.latest_step():
            return
        hashes = {name: tree_hash(getattr(state, name)) for name in TrainState._fields}
        with self._failures(f"step {step} cannot be saved"):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(state.params),
                    optimizer=ocp.args.StandardSave(state.optimizer),
                    image_codebook=ocp.args.StandardSave({"vectors": image_codebook.vectors}),
                    meta=ocp.args.JsonSave({**meta, "sha256": hashes}),
                ),
            )

    def latest_step(self) -> int | None:
        """The latest step, which may still be on its way to the disk; None without one."""
        return self._manager.latest_step()

    def check_saves(self) -> None:
        """Raises a `CheckpointError` if a save in the background has failed."""
        with self._failures("a step cannot be saved"):
            # Not `check_for_errors`, which Orbax's own thread may have asked first: an error is told once.
            if not self._manager.is_saving_in_progress():
                self._manager.wait_until_finished()

    def rate(self, step: int, valid_mrr: float) -> None:
        """Notes how good a saved step is; the best one is never deleted."""
        self._ratings[step] = valid_mrr
        if is_first_process():
            with self._failures(f"the rating of step {step} cannot be saved"):
                write_whole(self.folder / _RATINGS, json.dumps(self._ratings).encode())

    def is_rated(self, step: int) -> bool:
        """Whether the step has been evaluated."""
        return step in self._ratings

    def best_step(self) -> int | None:
        """The step with the highest rating, the earliest of equals; None where nothing is rated."""
        return _best(self._ratings, self._ratings)

    def restore_state(self, step: int, template: TrainState) -> TrainState:
        """Restores parameters and optimizer state, bit for bit, on whatever devices the template lies.

        Args:
          step: to restore.
          template: a state of the expected shapes.

        Raises:
          CheckpointError: the checkpoint has other parameters than the template, or cannot be read.
        """
        restored = read_checkpoint(self.folder, step)
        check_tree(template.params, restored.params)
        with _damage(self.folder, step):
            items = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardRestore(template.params),
                    optimizer=ocp.args.StandardRestore(template.optimizer),
                    meta=ocp.args.JsonRestore(),
                ),
            )
            _check_hash(items, "optimizer")
        return TrainState(items["params"], items["optimizer"])

    def close(self) -> None:
        """Waits for saves under way.

        Raises:
          CheckpointError: one of them has failed.
        """
        with self._failures("a step cannot be saved"):
            self._manager.wait_until_finished()
            self._manager.close()

    @contextlib.contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Turns what Orbax raises into a `CheckpointError`."""
        try:
            yield
        except _FAILURES as error:
            steps = saved_steps(self.folder)
            raise CheckpointError(
                f"{self.folder}: {what} ({_first_line(error)}). Complete steps: {', '.join(map(str, steps)) or 'none'}. "
                "Look for a full disk and for missing permissions, then run the same command again."
            ) from error


@dataclasses.dataclass(frozen=True)
class _LatestAndBest:
    """An Orbax `PreservationPolicy`: which steps stay when another one is saved.

    Attributes:
      keep_last: number of latest steps that stay, the new one included.
      ratings: {step: MRR}; changes while the run goes on.
    """

    keep_last: int
    ratings: Mapping[int, float]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer per step; checkpoints: in the order of their steps."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*steps[-self.keep_last :], _best(self.ratings, steps)}
        return [step in kept for step in steps]


def read_checkpoint(folder: pathlib.Path, step: Step = None) -> Restored:
    """Reads what inference needs of a checkpoint.

    Args:
      folder: a run folder, or its folder checkpoints/.
      step: a number, "best" for the one with the highest held-out MRR, or None for the latest.

    Raises:
      CheckpointError: there is no such checkpoint, or it cannot be read, or is not what was saved.
    """
    folder = pathlib.Path(folder).absolute()
    folder = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    step = _chosen_step(folder, step)
    with _damage(folder, step):
        items = _read_items(
            folder,
            step,
            params=ocp.args.StandardRestore(),
            image_codebook=ocp.args.StandardRestore(),
            meta=ocp.args.JsonRestore(),
        )
        _check_hash(items, "params")
        meta = {name: value for name, value in items["meta"].items() if name != "sha256"}
        params = jax.tree.map(np.asarray, items["params"])
        codebook = Codebook(meta["codebooks"]["image"]["name"], np.asarray(items["image_codebook"]["vectors"]))
        if codebook.sha256 != meta["codebooks"]["image"]["sha256"]:
            raise ValueError("the image codebook is not the one that was saved")
    return Restored(step, params, codebook, meta)


def parse_step(text: str) -> Step:
    """A step as it is written on the command line: a number, "best" or "latest".

    Raises:
      CheckpointError: it is something else.
    """
    if text in ("best", "latest"):
        return "best" if text == "best" else None
    if not text.isdecimal():
        raise CheckpointError(f"step {text!r}: give a number, 'best' or 'latest'.")
    return int(text)


def set_aside_damaged_steps(folder: pathlib.Path) -> list[str]:
    """Renames every step that cannot be read to <step>.damaged, so that the one before it is the latest.

    Args:
      folder: of checkpoints; need not exist.

    Returns:
      one message for each such step: what is wrong with it and where it is now.
    """
    messages = []
    for step in saved_steps(folder):
        try:
            read_checkpoint(folder, step)
            with _damage(folder, step):
                items = _read_items(folder, step, optimizer=ocp.args.StandardRestore(), meta=ocp.args.JsonRestore())
                _check_hash(items, "optimizer")
        except CheckpointError as error:
            aside = folder / f"{step}.damaged"
            if is_first_process():
                (folder / str(step)).rename(aside)
            messages.append(f"{error} It is {aside.name} now.")
    wait_for_all("damaged steps are set aside")
    return messages


def saved_steps(folder: pathlib.Path) -> list[int]:
    """Complete steps in a folder of checkpoints, oldest first; none if there is no such folder."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def tree_hash(tree: Any) -> str:
    """SHA-256 over the arrays of a tree: their types, shapes and bits, whatever the containers are called."""
    # Sorted, since without a template a tree comes back as nested dictionaries, whose leaves stand in another order.
    leaves = sorted(_array_hash(np.asarray(leaf)) for leaf in jax.tree.leaves(tree))
    return hashlib.sha256(b"".join(leaves)).hexdigest()


def check_tree(expected: Any, found: Any) -> None:
    """Raises a `CheckpointError` that lists every parameter which is missing, left over, or of another shape."""
    shapes = [
        {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (expected, found)
    ]
    lines = [
        f"  {key}: model {shapes[0].get(key, 'has none')}, checkpoint {shapes[1].get(key, 'has none')}"
        for key in sorted(shapes[0].keys() | shapes[1].keys())
        if shapes[0].get(key) != shapes[1].get(key)
    ]
    if lines:
        more = f"\n  … and {len(lines) - 10} more" if len(lines) > 10 else ""
        raise CheckpointError(
            "The checkpoint has other parameters than this model:\n" + "\n".join(lines[:10]) + more + "\n"
            "Use the configuration it was trained with, or another --workdir."
        )


def _chosen_step(folder: pathlib.Path, step: Step) -> int:
    """The number of a step that is there."""
    steps = saved_steps(folder)
    if not steps:
        raise CheckpointError(f"{folder}: no checkpoint here. Give the folder of a run (--workdir of launch/pretrain.py).")
    if step is None:
        return steps[-1]
    listed = ", ".join(map(str, steps))
    if step == "best":
        best = _best(_read_ratings(folder), steps)
        if best is None:
            raise CheckpointError(f"{folder}: none of the steps {listed} has been evaluated; choose one by its number.")
        return best
    if step not in steps:
        raise CheckpointError(f"{folder}: no step {step}; there are {listed}.")
    return step


def _best(ratings: Mapping[int, float], steps: Iterable[int]) -> int | None:
    """The step with the highest rating, the earliest of equals."""
    return max((step for step in steps if step in ratings), key=lambda step: (ratings[step], -step), default=None)


def _read_ratings(folder: pathlib.Path) -> dict[int, float]:
    path = folder / _RATINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {int(step): float(mrr) for step, mrr in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({_first_line(error)}). Delete it; the steps evaluated so far then count as not evaluated."
        ) from error


def _read_items(folder: pathlib.Path, step: int, **items: ocp.args.CheckpointArgs) -> Mapping[str, Any]:
    # Each process reads for itself: no other has to wait for it, or to share its failure.
    alone = ocp.options.MultiprocessingOptions(
        primary_host=None,
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"read_{jax.process_index()}",
    )
    options = ocp.CheckpointManagerOptions(read_only=True, multiprocessing_options=alone)
    with ocp.CheckpointManager(folder, options=options) as manager:
        return manager.restore(step, args=ocp.args.Composite(**items))


@contextlib.contextmanager
def _damage(folder: pathlib.Path, step: int) -> Iterator[None]:
    """Turns whatever reading a damaged step raises into a `CheckpointError` that says what to do."""
    try:
        yield
    except Exception as error:  # Orbax raises just that where an array is cut
        raise CheckpointError(
            f"{folder}/{step}: damaged or not written by this program ({_first_line(error)}). Choose another step "
            "(--step), or let training go on from the one before it (--fall_back)."
        ) from error


def _check_hash(items: Mapping[str, Any], name: str) -> None:
    if tree_hash(items[name]) != items["meta"]["sha256"][name]:
        raise ValueError(f"the arrays of {name} are not those that were saved")


def _array_hash(array: np.ndarray) -> bytes:
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).digest()


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:300]
