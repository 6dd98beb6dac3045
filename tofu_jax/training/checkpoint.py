"""Orbax checkpoints: parameters, optimizer state, image codebook and what the model saw.

A step becomes visible only when it is whole; a kill in mid-save leaves the step before as the latest.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from tofu_jax.errors import CheckpointError
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.training.step import TrainState


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
    """The checkpoints of one run."""

    def __init__(self, folder: pathlib.Path, keep: int = 2):
        """Opens (and makes) the folder.

        Args:
          folder: of this run's checkpoints.
          keep: how many of the latest steps stay.
        """
        self.folder = folder.absolute()  # Orbax refuses relative paths
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def latest_step(self) -> int | None:
        """The latest complete step, None without one."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, image_codebook: Codebook, meta: Mapping[str, Any]) -> None:
        """Saves in the background; a step that is there already is left alone.

        Args:
          step: training steps done.
          state: host arrays without a device axis.
          image_codebook: see `Restored`.
          meta: JSON values.
        """
        if step == self.latest_step():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.params),
                optimizer=ocp.args.StandardSave(state.optimizer),
                image_codebook=ocp.args.StandardSave({"vectors": image_codebook.vectors}),
                meta=ocp.args.JsonSave(dict(meta)),
            ),
        )

    def restore_state(self, step: int, template: TrainState) -> TrainState:
        """Restores parameters and optimizer state, bit for bit.

        Args:
          step: to restore.
          template: a state of the expected shapes.

        Raises:
          CheckpointError: the checkpoint has other parameters than the template, or cannot be read.
        """
        check_tree(template.params, read_checkpoint(self.folder, step).params)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardRestore(template.params),
                    optimizer=ocp.args.StandardRestore(template.optimizer),
                ),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.folder}/{step}: cannot be read ({error}). Delete this step to resume from the one before."
            ) from error
        return TrainState(restored["params"], restored["optimizer"])

    def close(self) -> None:
        """Waits for saves under way."""
        self._manager.wait_until_finished()
        self._manager.close()


def read_checkpoint(folder: pathlib.Path, step: int | None = None) -> Restored:
    """Reads what inference needs of a checkpoint.

    Args:
      folder: a run folder, or its folder checkpoints/.
      step: None for the latest.

    Raises:
      CheckpointError: there is no checkpoint, or it cannot be read.
    """
    folder = pathlib.Path(folder).absolute()
    folder = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    steps = saved_steps(folder)
    if not steps:
        raise CheckpointError(f"{folder}: no checkpoint here. Give the folder of a run (--workdir of launch/pretrain.py).")
    if step is not None and step not in steps:
        raise CheckpointError(f"{folder}: no step {step}; there are {', '.join(map(str, steps))}.")
    step = steps[-1] if step is None else step
    try:
        with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
            items = ocp.args.Composite(
                params=ocp.args.StandardRestore(),
                image_codebook=ocp.args.StandardRestore(),
                meta=ocp.args.JsonRestore(),
            )
            restored = manager.restore(step, args=items)
        meta = restored["meta"]
        params = jax.tree.map(np.asarray, restored["params"])
        codebook = Codebook(meta["codebooks"]["image"]["name"], np.asarray(restored["image_codebook"]["vectors"]))
        codebook.check(meta["codebooks"]["image"]["name"], meta["codebooks"]["image"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}/{step}: damaged or not written by this program ({error}).") from error
    return Restored(step, params, codebook, meta)


def saved_steps(folder: pathlib.Path) -> list[int]:
    """Complete steps in a folder of checkpoints, oldest first; none if there is no such folder."""
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


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
