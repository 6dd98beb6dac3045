"""Measure how well a trained model predicts the links of a graph that it has not seen; no training.

    tofu-jax zero-shot --graph=elements
    tofu-jax zero-shot --checkpoint=runs/mix --graph=<folder> --split=valid+test --output=<folder>

A folder with inference_graph.txt is evaluated on its inference graph. Files: tofu_jax/graphs/readers/__init__.py.
"""

import pathlib

from absl import flags

from tofu_jax import launching
from tofu_jax.command_flags import GraphFlags, ModelFlags

GRAPH, MODEL = GraphFlags(), ModelFlags()
SPLIT = flags.DEFINE_enum("split", "test", ["test", "valid", "valid+test"], "Which held-out facts to rank.")
MAX_TRIPLES = flags.DEFINE_integer("max_triples", None, "Rank a fixed sample of so many facts; default: all.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the sample and of the shuffle control.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for report.html, report.md, report.png and results.json.")
CONTROLS = flags.DEFINE_bool("controls", True, "Also rank with shuffled and missing modalities and with an untrained model.")


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.evaluation.zero_shot import evaluate_and_report
    from tofu_jax.ops.relational import describe_backend

    console = launching.console()
    graph = GRAPH.load()
    console.print(graph.summary(), highlight=False, soft_wrap=True)
    console.print(describe_backend(), highlight=False)
    evaluate_and_report(
        MODEL.load(graph),
        graph,
        console,
        pathlib.Path(OUTPUT.value) if OUTPUT.value else None,
        pathlib.Path(MODEL.checkpoint) / "curves.png" if MODEL.checkpoint else None,
        split=SPLIT.value,
        max_triples=MAX_TRIPLES.value,
        seed=SEED.value,
        modalities=MODEL.modalities,
        controls=CONTROLS.value,
    )
