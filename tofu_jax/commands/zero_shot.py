"""Measure how well a trained model predicts the links of a graph that it has not seen; no training.

    tofu-jax zero-shot --graph=elements
    tofu-jax zero-shot --checkpoint=runs/mix --graph=<folder> --split=valid+test --output=<folder>

A folder with inference_graph.txt is evaluated on its inference graph. Files: tofu_jax/graphs/readers/__init__.py.
"""

import pathlib

from absl import flags

from tofu_jax import launching

CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Folder of a run or of an exported model, or owner/name[@revision] on the hub; default: the model of the package.",
)
STEP = flags.DEFINE_integer("step", None, "Checkpoint step of a run; default: the latest.")
GRAPH = flags.DEFINE_string("graph", None, "The name of a data set, or a folder or file.")
SPLIT = flags.DEFINE_enum("split", "test", ["test", "valid", "valid+test"], "Which held-out facts to rank.")
MAX_TRIPLES = flags.DEFINE_integer("max_triples", None, "Rank a fixed sample of so many facts; default: all.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the sample and of the shuffle control.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for report.html, report.md, report.png and results.json.")
IMAGE_TOKENS = flags.DEFINE_string("image_tokens", None, "Image token ids: see `tofu-jax tokenize --help`.")
MODALITIES = flags.DEFINE_list("modalities", ["structure", "text", "image"], "What the model may see.")
CONTROLS = flags.DEFINE_bool("controls", True, "Also rank with shuffled and missing modalities and with an untrained model.")
KEEP_UNSEEN = flags.DEFINE_bool("keep_unseen_entities", False, "Accept held-out entities about which nothing is known.")
flags.mark_flag_as_required("graph")
flags.register_validator(
    "modalities",
    lambda names: "structure" in names and set(names) <= {"structure", "text", "image"},
    "must hold structure, and may add text and image",
)


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.evaluation.zero_shot import evaluate_and_report
    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.ops.relational import describe_backend
    from tofu_jax.tokens.tokenizers import open_image_tokenizer

    console = launching.console()
    graph = load_graph(GRAPH.value, keep_unseen_entities=KEEP_UNSEEN.value)
    console.print(graph.summary(), highlight=False, soft_wrap=True)
    console.print(describe_backend(), highlight=False)
    image_tokens = open_image_tokenizer(IMAGE_TOKENS.value, [graph.name]) if IMAGE_TOKENS.value else None
    pretrained = load_pretrained(CHECKPOINT.value, STEP.value, image_tokens)
    evaluate_and_report(
        pretrained,
        graph,
        console,
        pathlib.Path(OUTPUT.value) if OUTPUT.value else None,
        pathlib.Path(CHECKPOINT.value) / "curves.png" if CHECKPOINT.value else None,
        split=SPLIT.value,
        max_triples=MAX_TRIPLES.value,
        seed=SEED.value,
        modalities=tuple(name for name in MODALITIES.value if name != "structure"),
        controls=CONTROLS.value,
    )
