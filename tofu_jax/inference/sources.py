"""Where a model can come from: this package, a training run, an exported folder, the Hugging Face hub."""

import os
import pathlib
import re

from tofu_jax.errors import CheckpointError
from tofu_jax.inference.model_folder import FILES, WEIGHTS, read_model
from tofu_jax.training.checkpoint import Restored, Step, read_checkpoint, saved_steps

SHIPPED = pathlib.Path(__file__).parents[1] / "pretrained"

# Letters, digits, "-", "_" and "." inside each part: no way to leave a folder or to name another host.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_HUB_MODEL = re.compile(rf"({_NAME}/{_NAME})(?:@({_NAME}(?:/{_NAME})*))?")
_MOST_LISTED = 8


def find_model(source: str | os.PathLike[str] | None, step: Step = None) -> tuple[Restored, str]:
    """Reads a model, wherever it is.

    Args:
      source: as of `pretrained.load_pretrained`.
      step: of a run: a number, "best" or None for the latest; a model that is no run has one step, and so no number.

    Returns:
      The model, and one line on where it came from.

    Raises:
      CheckpointError: there is no model, or it cannot be used; says what was found instead.
    """
    if source is None:
        found = "tofu_jax's own model", _read_shipped(step)
    else:
        found = _find_folder(source, step) or _find_on_hub(source, step)
    where, restored = found
    return restored, f"{where} step {restored.step}"


def _read_shipped(step: Step) -> Restored:
    if not SHIPPED.is_dir():
        raise CheckpointError(
            "This installation ships no model of its own. Name one with --checkpoint: the folder of a run, an exported folder, "
            "or owner/name on the Hugging Face hub. `tofu-jax pretrain --config=configs/mix.py` makes a run in some minutes."
        )
    _refuse_step("the model of the package", step)
    return read_model(SHIPPED)


def _find_folder(source: str | os.PathLike[str], step: Step) -> tuple[str, Restored] | None:
    """A run or an exported model on this machine; None if there is nothing of that name."""
    folder = pathlib.Path(source)
    if (folder / WEIGHTS).exists():
        _refuse_step(str(folder), step)
        return str(folder), read_model(folder)
    if (folder / "checkpoints").is_dir() or saved_steps(folder):
        return str(folder), read_checkpoint(folder, step)
    if not folder.exists():
        return None
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    holds = f"it holds {', '.join(found[:_MOST_LISTED]) or 'nothing'}{more}" if folder.is_dir() else "it is a file"
    raise CheckpointError(
        f"{folder}: no checkpoint here. Give the folder of a run (--workdir of pretrain), which holds checkpoints/, or of an "
        f"exported model, which holds {WEIGHTS}; {holds}."
    )


def _find_on_hub(source: str | os.PathLike[str], step: Step) -> tuple[str, Restored]:
    """A model on the Hugging Face hub, from its cache if it was fetched before."""
    named = _HUB_MODEL.fullmatch(str(source)) if isinstance(source, str) else None
    # "runs/mixx" beside a folder runs/ is a slip: nobody wants it to be sent to the hub.
    if not named or ".." in source or pathlib.Path(source).parts[0] in os.listdir():
        raise CheckpointError(
            f"{source}: no checkpoint here, there is no such folder. Give the folder of a run or of an exported model, or the "
            "name of a model on the Hugging Face hub as owner/name or owner/name@revision."
        )
    _refuse_step(str(source), step)
    repository, revision = named.groups()
    from huggingface_hub import snapshot_download

    try:
        folder = pathlib.Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    # The hub client raises errors of its own, of its HTTP library and OSError; all mean "cannot be had" here.
    except Exception as error:
        details = "".join(str(error).splitlines()[:1])
        raise CheckpointError(
            f"{source}: neither a folder here nor to be had from the Hugging Face hub ({type(error).__name__}: {details}). "
            "Check the name, the network and, for a private model, `hf auth login`."
        ) from error
    # The cache keeps a commit as links to files that stand beside its folder snapshots/.
    return f"{repository}@{folder.name[:12]}", read_model(folder, root=folder.parents[1])


def _refuse_step(where: str, step: Step) -> None:
    if isinstance(step, int):
        raise CheckpointError(f"{where}: step {step} asked for, but an exported model has one step only; leave --step out.")
