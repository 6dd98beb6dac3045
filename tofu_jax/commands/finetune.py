"""Train a model further on one graph, as long as it gets better on facts held out of it, then test it there.

    tofu-jax finetune --graph=elements
    tofu-jax finetune --graph=<folder> --checkpoint=runs/mix --held_out=train --config.steps=1000

The best step stays, which is the model itself if training on does not help. Of a folder with inference_graph.txt the
inference graph is meant. The same command again resumes; on SIGTERM it saves and ends. Results: as of pretrain; the report
stands beside that of the model as it was before.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from tofu_jax import launching
from tofu_jax.command_flags import ModelFlags
from tofu_jax.training.defaults import finetuning_config

GRAPH = flags.DEFINE_string("graph", None, "The name of a data set, or a folder or file.")
MODEL = ModelFlags(step="best", modalities=False)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default: runs/<model>_on_<graph>.")
HELD_OUT = flags.DEFINE_enum(
    "held_out", "valid", ["valid", "train"], "Facts that rate a step: the valid split, or a tenth taken out of train."
)
MAX_TRIPLES = flags.DEFINE_integer("max_triples", None, "Test a fixed sample of so many facts; default: all.", lower_bound=1)
KEEP_UNSEEN = flags.DEFINE_bool("keep_unseen_entities", False, "Accept held-out entities about which nothing is known.")
FALL_BACK = flags.DEFINE_bool("fall_back", False, "Set damaged checkpoints aside and continue from the latest good one.")
PROFILE_STEPS = flags.DEFINE_integer("profile_steps", 0, "Record so many steps in <workdir>/profile.", lower_bound=0)
CONFIG = config_flags.DEFINE_config_dict("config", finetuning_config(), "Fields of training: tofu_jax/training/defaults.py.")
flags.mark_flag_as_required("graph")

_BEFORE = "before fine-tuning"


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.evaluation.zero_shot import evaluate_and_report
    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.training.finetuning import check_held_out, finetuning_run
    from tofu_jax.training.loop import pretrain

    console = launching.console()
    graph = load_graph(GRAPH.value, keep_unseen_entities=KEEP_UNSEEN.value)
    check_held_out(graph, HELD_OUT.value)
    before = MODEL.load(graph)
    workdir = pathlib.Path(WORKDIR.value or f"runs/{_short_name(MODEL.checkpoint)}_on_{graph.name}")
    config = finetuning_run(CONFIG.value, before, GRAPH.value, HELD_OUT.value, MODEL.image_tokens, KEEP_UNSEEN.value)
    tokenizers = pretrain(
        config, workdir, console, initial=before, fall_back=FALL_BACK.value, profile_steps=PROFILE_STEPS.value
    )
    if tokenizers is None:
        return
    after = load_pretrained(workdir, "best", tokenizers.image)
    if len(graph.test):
        report = workdir / "report" / graph.name
        compared = {_BEFORE: before}
        results = evaluate_and_report(after, graph, console, report, max_triples=MAX_TRIPLES.value, compared=compared)
        mrr = [scored["realistic"]["mrr"] for scored in (results["controls"][_BEFORE], results["metrics"])]
        console.print(
            f"{graph.name}, test facts: MRR {mrr[0]:.3f} {_BEFORE}, {mrr[1]:.3f} after it (step {after.step})", highlight=False
        )
    console.print(f"Everything is in {workdir}/ (curves.png, report/, metrics.jsonl, tensorboard/).", highlight=False)


def _short_name(checkpoint: str | None) -> str:
    """Of a model, for the name of a folder."""
    return pathlib.Path(checkpoint).resolve().name.split("@")[0] if checkpoint else "tofu"
