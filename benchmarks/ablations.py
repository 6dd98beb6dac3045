"""What each part of the model is worth: the same short training with one thing changed, judged on facts of four graphs.

    python benchmarks/ablations.py --data=<folder> --output=<folder> [--only=<name>,<name>] [--steps=500]

<folder> holds grail/fb237_v1, grail/WN18RR_v1, grail/nell_v1, CoDEx-S and images/visual_tokens_effnet_k1024.npz. Models train
on the training graphs of the first two (configs/grail_v1.py) and rank validation facts of the inference graphs of the first
three and of CoDEx-S (at most 200 facts of each), which they have never seen. Test facts are not looked at. Killed, the same
command goes on: trained models stay in <output>/runs, figures in results.json. Writes ablations.md.
"""

import contextlib
import json
import pathlib
import runpy
import sys
import unittest.mock

import jax
from absl import flags
from alternatives import (
    binary_loss,
    gated_sum,
    no_content_match,
    no_mentions,
    no_overlap,
    no_prompts,
    no_relation_graph,
    vectors_of_tokens,
)

from tofu_jax import launching
from tofu_jax.evaluation.ranking import rank_queries, sample_triples
from tofu_jax.files import write_whole
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.graphs.registry import load_graph
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.tokens.tokenizers import open_image_tokenizer
from tofu_jax.training.loop import pretrain

DATA = flags.DEFINE_string("data", None, "Folder of the graphs.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for runs, results.json and ablations.md.")
ONLY = flags.DEFINE_list("only", [], "Names of some of the variations; default: all.")
STEPS = flags.DEFINE_integer("steps", 500, "Training steps of each.", lower_bound=1)
flags.mark_flags_as_required(["data", "output"])

BASE = "as configured"
# Name → what is changed in configs/grail_v1.py.
VARIATIONS = {
    BASE: {},
    "other seed": {"seed": 1},
    "messages: translation alone": {"model.operators": ("translation",)},
    "messages: product alone": {"model.operators": ("product",)},
    "messages: rotation alone": {"model.operators": ("rotation",)},
    "prompts: 1 example": {"batch.examples": 1},
    "prompts: 8 examples": {"batch.examples": 8},
    "prompts: 1 layer": {"model.prompt_layers": 1},
    "relation graph: 1 layer": {"model.relation_layers": 1},
    "width 16": {"model.width": 16},
    "width 64": {"model.width": 64},
    "3 layers": {"model.layers": 3},
    "no relation masking": {"batch.relation_masking": 0.0},
    "no modality dropout": {"batch.modality_dropout": 0.0},
    "prompts alone": {},
    "relation graph alone": {},
    "a gate for each edge": {},
    "loss: binary cross-entropy": {},
    "no mentions": {},
    "no overlap of relations": {},
    "no content match": {},
    "texts compared by their tokens": {},
}
# Name → what else stands in the place of which function.
REPLACED = {
    "prompts alone": ("tofu_jax.model.tofu.RelationGraphEncoder", no_relation_graph),
    "relation graph alone": ("tofu_jax.model.tofu.PromptEncoder", no_prompts),
    "a gate for each edge": ("tofu_jax.model.graph_encoder.relational_sum", gated_sum),
    "loss: binary cross-entropy": ("tofu_jax.training.step.link_loss", binary_loss),
    "no mentions": ("tofu_jax.tokens.tokenizers.mentions", no_mentions),
    "no overlap of relations": ("tofu_jax.graphs.graphs_tuple.overlap", no_overlap),
    "no content match": ("tofu_jax.model.tofu.ContentMatch", no_content_match),
    "texts compared by their tokens": ("tofu_jax.tokens.text.TextTokenizer.vectors", vectors_of_tokens),
}
GRAPHS = {"fb237_v1": "grail/fb237_v1", "WN18RR_v1": "grail/WN18RR_v1", "nell_v1": "grail/nell_v1", "CoDEx-S": "CoDEx-S"}
SAMPLE = 200
ALL, BARE = "text and image", "structure only"
# Label → what an entity's tokens become.
SEEN = {
    ALL: lambda tokens: tokens,
    "text": lambda tokens: tokens.without("image"),
    "image": lambda tokens: tokens.without("text"),
    "both shuffled": lambda tokens: tokens.shuffled(0),
    BARE: lambda tokens: tokens.without("text").without("image"),
}


def train(name: str, console) -> pathlib.Path:
    """Trains a variation, or goes on with it; returns its folder."""
    config = runpy.run_path("configs/grail_v1.py")["get_config"](DATA.value)
    config.update({"steps": STEPS.value, "evaluate_every": STEPS.value, "zero_shot": (), "valid_triples": 20})
    config.update_from_flattened_dict(VARIATIONS[name])
    folder = pathlib.Path(OUTPUT.value) / "runs" / name.replace(" ", "_").replace(":", "")
    pretrain(config, folder, console)
    return folder


def measure(run: pathlib.Path, name: str, labels: list[str]) -> dict[str, float]:
    """Realistic MRR on one graph of a model that sees this much of it, by label."""
    graph = load_graph(str(pathlib.Path(DATA.value) / GRAPHS[name]), keep_unseen_entities=True)
    images = open_image_tokenizer(f"{DATA.value}/images/visual_tokens_effnet_k1024.npz", [graph.name])
    model = load_pretrained(run, image_tokens=images)
    prepared, tokens = model.prepare(graph)
    triples, known = sample_triples(graph.valid, SAMPLE, 0), KnownAnswers.of_graph(graph)
    mrr = {}
    for label in labels:
        scorer = model.scorer(prepared.with_tokens(SEEN[label](tokens)))
        mrr[label] = rank_queries(scorer, graph, triples, 64, known, lambda *_: None).metrics()["mrr"]
    return mrr


def markdown(results: dict[str, dict[str, float]]) -> str:
    """A line for each variation and what it saw; the mean is over graphs."""
    lines = ["| | sees | " + " | ".join([*GRAPHS, "mean"]) + " |", "| :-- | :-- |" + " --: |" * (len(GRAPHS) + 1)]
    for key, mrr in results.items():
        values = [mrr[name] for name in GRAPHS]
        lines.append(f"| {key} | " + " | ".join(f"{v:.3f}" for v in [*values, sum(values) / len(values)]) + " |")
    return "\n".join(lines) + "\n"


def main(argv) -> None:
    launching.arguments(argv)
    console, folder = launching.console(), pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in ONLY.value or VARIATIONS:
        labels = list(SEEN) if name == BASE else [ALL, BARE]
        if all(f"{name} | {label}" in results for label in labels):
            continue
        # A program that is kept would go on with the function that is replaced; and those of a dozen models together take more
        # memory maps than Linux allows a process.
        jax.clear_caches()
        with unittest.mock.patch(*REPLACED[name]) if name in REPLACED else contextlib.nullcontext():
            run = train(name, console)
            found = {graph: measure(run, graph, labels) for graph in GRAPHS}
        results |= {f"{name} | {label}": {graph: mrr[label] for graph, mrr in found.items()} for label in labels}
        write_whole(path, (json.dumps(results, indent=1) + "\n").encode())
        write_whole(folder / "ablations.md", markdown(results).encode())
    console.print(markdown(results), highlight=False)


if __name__ == "__main__":
    launching.run(sys.modules[__name__])
