"""Train a model further on one graph, as long as it gets better on facts held out of it, then test it there.

    tofu-jax finetune --checkpoint=runs/mix --graph=elements
    tofu-jax finetune --checkpoint=runs/mix --graph=<folder> --held_out=train --config.steps=1000

The best step stays, which is the checkpoint itself if training on does not help. Of a folder with inference_graph.txt the
inference graph is meant. The same command again resumes; on SIGTERM it saves and ends. Results: as of pretrain.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from tofu_jax import launching
from tofu_jax.training.defaults import finetuning_config

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder of a pre-training run.")
STEP = flags.DEFINE_string("step", "best", "Checkpoint step: a number, latest, or best (by held-out facts of its graphs).")
GRAPH = flags.DEFINE_string("graph", None, "A folder, or the name of a built-in graph.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default: runs/<checkpoint>_on_<graph>.")
HELD_OUT = flags.DEFINE_enum(
    "held_out", "valid", ["valid", "train"], "Facts that rate a step: the valid split, or a tenth taken out of train."
)
IMAGE_TOKENS = flags.DEFINE_string("image_tokens", None, "An .npz of imported image token ids (tofu_jax/tokens/image.py).")
KEEP_UNSEEN = flags.DEFINE_bool("keep_unseen_entities", False, "Accept held-out entities about which nothing is known.")
FALL_BACK = flags.DEFINE_bool("fall_back", False, "Set damaged checkpoints aside and continue from the latest good one.")
CONFIG = config_flags.DEFINE_config_dict("config", finetuning_config(), "Fields of training: tofu_jax/training/defaults.py.")
flags.mark_flags_as_required(["checkpoint", "graph"])


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.evaluation.zero_shot import evaluate_and_report
    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.training.checkpoint import parse_step
    from tofu_jax.training.finetuning import finetuning_run
    from tofu_jax.training.loop import pretrain

    console = launching.console()
    checkpoint = pathlib.Path(CHECKPOINT.value)
    graph = load_graph(GRAPH.value, keep_unseen_entities=KEEP_UNSEEN.value)
    workdir = pathlib.Path(WORKDIR.value or f"runs/{checkpoint.resolve().name}_on_{graph.name}")
    config = finetuning_run(
        CONFIG.value,
        checkpoint,
        parse_step(STEP.value),
        GRAPH.value,
        HELD_OUT.value,
        IMAGE_TOKENS.value,
        KEEP_UNSEEN.value,
    )
    tokenizers = pretrain(config, workdir, console, fall_back=FALL_BACK.value)
    if tokenizers is None:
        return
    pretrained = load_pretrained(workdir, "best", tokenizers.image)
    evaluate_and_report(pretrained, graph, console, workdir / "report" / graph.name)
    console.print(f"Everything is in {workdir}/ (curves.png, report/, metrics.jsonl, tensorboard/).", highlight=False)
