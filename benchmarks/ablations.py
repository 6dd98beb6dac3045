"""What each part of the model is worth: the same short training with one thing changed, judged on facts of four graphs.

    python benchmarks/ablations.py --data=<folder> --output=<folder> [--only=<name>,<name>] [--steps=600]

<folder> holds grail/fb237_v1, grail/WN18RR_v1, grail/nell_v1, CoDEx-S and images/visual_tokens_effnet_k1024.npz. Models train
on the training graphs of the first two (configs/grail_v1.py) and rank validation facts of the inference graphs of the first
three and of CoDEx-S (at most 300), which they have never seen. Test facts are not looked at. Killed, the same command goes on:
trained models stay in <output>/runs, figures in results.json. Writes ablations.md.
"""

import json
import pathlib
import subprocess
import sys

from absl import flags

from tofu_jax import launching
from tofu_jax.evaluation.zero_shot import evaluate_zero_shot
from tofu_jax.files import write_whole
from tofu_jax.graphs.registry import load_graph
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.tokens.tokenizers import open_image_tokenizer

DATA = flags.DEFINE_string("data", None, "Folder of the graphs.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for runs, results.json and ablations.md.")
ONLY = flags.DEFINE_list("only", [], "Names of some of the variations; default: all.")
STEPS = flags.DEFINE_integer("steps", 600, "Training steps of each.", lower_bound=1)
flags.mark_flags_as_required(["data", "output"])

BASE = "as configured"
# Name → overrides of configs/grail_v1.py.
VARIATIONS = {
    BASE: [],
    "other seed": ["--config.seed=1"],
    "messages: translation alone": ["--config.model.operators=('translation',)"],
    "messages: product alone": ["--config.model.operators=('product',)"],
    "messages: rotation alone": ["--config.model.operators=('rotation',)"],
    "prompts: 1 example": ["--config.batch.examples=1"],
    "prompts: 5 examples": ["--config.batch.examples=5"],
    "prompts: 1 layer": ["--config.model.prompt_layers=1"],
    "relations: 2 layers": ["--config.model.relation_layers=2"],
    "width 16": ["--config.model.width=16"],
    "width 64": ["--config.model.width=64"],
    "3 layers": ["--config.model.layers=3"],
    "no relation masking": ["--config.batch.relation_masking=0.0"],
    "no modality dropout": ["--config.batch.modality_dropout=0.0"],
}
GRAPHS = {"fb237_v1": "grail/fb237_v1", "WN18RR_v1": "grail/WN18RR_v1", "nell_v1": "grail/nell_v1", "CoDEx-S": "CoDEx-S"}
SAMPLE = 300
SEEN = {"all": ("text", "image"), "+ text": ("text",), "+ image": ("image",), "structure only": ()}


def train(name: str) -> pathlib.Path:
    """Trains a variation, or goes on with it; returns its folder."""
    run = pathlib.Path(OUTPUT.value) / "runs" / name.replace(" ", "_").replace(":", "")
    command = [
        *(sys.executable, "launch/pretrain.py", f"--config=configs/grail_v1.py:{DATA.value}", f"--workdir={run}"),
        *(
            f"--config.steps={STEPS.value}",
            "--config.zero_shot=()",
            f"--config.evaluate_every={STEPS.value}",
            *VARIATIONS[name],
        ),
    ]
    subprocess.run(command, check=True)
    return run


def measure(run: pathlib.Path, seen: tuple[str, ...], console) -> dict[str, float]:
    """Realistic MRR on each graph of a model that sees structure and so many modalities."""
    mrr = {}
    for name, path in GRAPHS.items():
        graph = load_graph(str(pathlib.Path(DATA.value) / path), keep_unseen_entities=True)
        tokens = open_image_tokenizer(f"{DATA.value}/images/visual_tokens_effnet_k1024.npz", [graph.name])
        model = load_pretrained(run, image_tokens=tokens)
        results = evaluate_zero_shot(model, graph, console, split="valid", max_triples=SAMPLE, modalities=seen, controls=False)
        mrr[name] = results["metrics"]["realistic"]["mrr"]
    return mrr


def markdown(results: dict[str, dict[str, float]]) -> str:
    """A line for each variation and what it saw."""
    lines = ["| | " + " | ".join([*GRAPHS, "mean"]) + " |", "| :-- |" + " --: |" * (len(GRAPHS) + 1)]
    for label, mrr in results.items():
        values = [mrr[name] for name in GRAPHS]
        lines.append(f"| {label} | " + " | ".join(f"{v:.3f}" for v in [*values, sum(values) / len(values)]) + " |")
    return "\n".join(lines) + "\n"


def main(argv) -> None:
    launching.arguments(argv)
    console, folder = launching.console(), pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in ONLY.value or VARIATIONS:
        run = None
        for label, seen in SEEN.items():
            if name != BASE and label not in ("all", "structure only"):
                continue
            key = f"{name}, {label}"
            if key in results:
                continue
            run = run or train(name)
            results[key] = measure(run, seen, console)
            write_whole(path, (json.dumps(results, indent=1) + "\n").encode())
            write_whole(folder / "ablations.md", markdown(results).encode())
    console.print(markdown(results), highlight=False)


if __name__ == "__main__":
    launching.run(sys.modules[__name__])
