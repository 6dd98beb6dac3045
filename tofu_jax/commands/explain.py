"""Explain a prediction: the strongest paths from head to tail, and what texts, images and structure are worth.

    tofu-jax explain --graph=countries --head=France --relation=borders --tail=Spain
    tofu-jax explain --graph=<folder or file> --head=… --relation=… --tail=… --k=10 --output=why.png

Entities and relations are called by id or label. A fact that the model would see is hidden from it for the explanation. How to
read one: docs/explain.md.
"""

import pathlib

from absl import flags

from tofu_jax import launching
from tofu_jax.command_flags import GraphFlags, ModelFlags

FORMATS = {".png": "to_png", ".svg": "to_svg", ".json": "to_json"}

GRAPH, MODEL = GraphFlags(keep_unseen_entities=True), ModelFlags(modalities=False)
HEAD = flags.DEFINE_string("head", None, "Id or label.")
RELATION = flags.DEFINE_string("relation", None, "Id or label.")
TAIL = flags.DEFINE_string("tail", None, "Id or label.")
K = flags.DEFINE_integer("k", 5, "Most paths.", lower_bound=1)
MESSAGES = flags.DEFINE_enum(
    "messages", "train", ["train", "all"], "Facts that the model sees: those of the training split, or all of them."
)
OUTPUT = flags.DEFINE_string("output", None, f"A file to write: a drawing or values, ending in {', '.join(FORMATS)}.")
flags.mark_flags_as_required(["head", "relation", "tail"])
flags.register_validator(
    "output", lambda path: path is None or pathlib.Path(path).suffix in FORMATS, f"must end in {', '.join(FORMATS)}"
)


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.ops.relational import describe_backend

    console = launching.console()
    graph = GRAPH.load()
    console.print(graph.summary(), highlight=False, soft_wrap=True)
    console.print(describe_backend(), highlight=False)
    explanation = MODEL.load(graph).explain(
        graph, head=HEAD.value, relation=RELATION.value, tail=TAIL.value, k=K.value, messages=MESSAGES.value
    )
    console.print(explanation)
    if OUTPUT.value:
        getattr(explanation, FORMATS[pathlib.Path(OUTPUT.value).suffix])(OUTPUT.value)
        console.print(f"The explanation is in {OUTPUT.value}.", highlight=False, soft_wrap=True)
