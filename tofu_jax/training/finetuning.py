"""Fine-tuning: pre-training that begins with a checkpoint, on the one graph that is asked about."""

import pathlib

from ml_collections import ConfigDict

from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.training.checkpoint import Step, read_checkpoint
from tofu_jax.training.defaults import default_config


def finetuning_run(
    settings: ConfigDict,
    checkpoint: pathlib.Path,
    step: Step,
    graph: str,
    held_out: str,
    image_tokens: str | None = None,
    keep_unseen_entities: bool = False,
) -> ConfigDict:
    """The configuration with which `loop.pretrain` fine-tunes.

    Args:
      settings: fields of `defaults.finetuning_config`.
      checkpoint: the folder of a run; model and tokens are as there.
      step: of the checkpoint, see `checkpoint.read_checkpoint`.
      graph: a built-in name or a folder; of an inductive folder the inference graph.
      held_out: "valid" or "train", see `defaults.default_config`.
      image_tokens: an .npz of imported image token ids, where the checkpoint was trained on such.
      keep_unseen_entities: see `readers.read_folder`.

    Raises:
      CheckpointError: there is no such checkpoint, or it was made by another version.
    """
    number = read_checkpoint(checkpoint, step).step
    meta = load_pretrained(checkpoint, number).meta
    config = default_config()
    config.update(settings)
    config.graphs, config.part, config.zero_shot = (graph,), None, ()
    config.held_out, config.keep_unseen_entities = held_out, keep_unseen_entities
    config.initial_checkpoint, config.initial_step = str(checkpoint), str(number)
    config.model.update({**meta["model"], "operators": tuple(meta["model"]["operators"])})
    config.tokens.update({"text_tokens": meta["tokens"]["text"], "image_tokens": meta["tokens"]["image"]})
    config.tokens.images = image_tokens or "patches"
    config.batch.examples = meta["tokens"]["examples"]
    return config
