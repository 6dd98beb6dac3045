"""Turn a training run into a folder to share: weights as safetensors, settings as JSON, and a model card.

    tofu-jax export --checkpoint=runs/mix --output=<folder>
    tofu-jax export --checkpoint=runs/mix --output=<folder> --licence=apache-2.0 \\
        --figures=runs/mix/report/elements/results.json

Wherever a checkpoint is asked for, the folder can be given. `hf upload <owner>/<name> <folder>` puts it on the
Hugging Face hub, from where --checkpoint=<owner>/<name> loads it.
"""

import pathlib

from absl import flags

from tofu_jax import launching

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of a run.")
STEP = flags.DEFINE_string("step", "latest", "Step of a run: a number, latest, or best (by held-out facts of its graphs).")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the model; an older export in it is replaced.")
NAME = flags.DEFINE_string("name", None, "Of the model, for its card; default: the name of the folder.")
LICENCE = flags.DEFINE_string("licence", None, "Of the weights, as the hub spells it, such as apache-2.0; default: not stated.")
EXAMPLES = flags.DEFINE_integer(
    "examples", None, "Example facts of a relation that the model reads; default: as many as in training.", lower_bound=1
)
FIGURES = flags.DEFINE_list("figures", [], "Files results.json of zero-shot, with figures of this model for its card.")
flags.mark_flags_as_required(["checkpoint", "output"])


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.inference.model_folder import FILES
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.training.checkpoint import parse_step

    console, folder = launching.console(), pathlib.Path(OUTPUT.value)
    pretrained = load_pretrained(CHECKPOINT.value, parse_step(STEP.value))
    if EXAMPLES.value is not None:
        pretrained = pretrained.with_examples(EXAMPLES.value)
    pretrained.save_pretrained(folder, name=NAME.value, licence=LICENCE.value, figures=FIGURES.value)
    for file in sorted(FILES):
        console.print(f"{folder / file}: {(folder / file).stat().st_size:,} bytes", highlight=False, soft_wrap=True)
    console.print(f"exported {pretrained.source}", highlight=False, soft_wrap=True)
