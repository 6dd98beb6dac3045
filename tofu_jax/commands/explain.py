"""Explain a prediction: the strongest paths from head to tail, and what texts, images and structure are worth.

    tofu-jax explain --graph=countries --head=France --relation=borders --tail=Spain
    tofu-jax explain --graph=<folder or file> --head=… --relation=… --tail=… --k=10 --output=why.png

Entities and relations are called by id or label. A fact that the model would see is hidden from it for the explanation. How to
read one: docs/explain.md.
"""

import pathlib

from absl import flags

from tofu_jax import launching

FORMATS = {".png": "to_png", ".svg": "to_svg", ".json": "to_json"}

CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Folder of a run or of an exported model, or owner/name[@revision] on the hub; default: the model of the package.",
)
STEP = flags.DEFINE_integer("step", None, "Checkpoint step of a run; default: the latest.")
GRAPH = flags.DEFINE_string("graph", None, "A folder or file, or the name of a built-in graph.")
HEAD = flags.DEFINE_string("head", None, "Id or label.")
RELATION = flags.DEFINE_string("relation", None, "Id or label.")
TAIL = flags.DEFINE_string("tail", None, "Id or label.")
K = flags.DEFINE_integer("k", 5, "Most paths.", lower_bound=1)
MESSAGES = flags.DEFINE_enum(
    "messages", "train", ["train", "all"], "Facts that the model sees: those of the training split, or all of them."
)
OUTPUT = flags.DEFINE_string("output", None, f"A file to write: a drawing or values, ending in {', '.join(FORMATS)}.")
IMAGE_TOKENS = flags.DEFINE_string("image_tokens", None, "Image token ids: see `tofu-jax tokenize --help`.")
flags.mark_flags_as_required(["graph", "head", "relation", "tail"])
flags.register_validator(
    "output", lambda path: path is None or pathlib.Path(path).suffix in FORMATS, f"must end in {', '.join(FORMATS)}"
)


def main(argv) -> None:
    launching.arguments(argv)

    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.ops.relational import describe_backend
    from tofu_jax.tokens.tokenizers import open_image_tokenizer

    console = launching.console()
    graph = load_graph(GRAPH.value, keep_unseen_entities=True)
    console.print(graph.summary(), highlight=False, soft_wrap=True)
    console.print(describe_backend(), highlight=False)
    image_tokens = open_image_tokenizer(IMAGE_TOKENS.value, [graph.name]) if IMAGE_TOKENS.value else None
    pretrained = load_pretrained(CHECKPOINT.value, STEP.value, image_tokens)
    explanation = pretrained.explain(
        graph, head=HEAD.value, relation=RELATION.value, tail=TAIL.value, k=K.value, messages=MESSAGES.value
    )
    console.print(explanation)
    if OUTPUT.value:
        getattr(explanation, FORMATS[pathlib.Path(OUTPUT.value).suffix])(OUTPUT.value)
        console.print(f"The explanation is in {OUTPUT.value}.", highlight=False, soft_wrap=True)
