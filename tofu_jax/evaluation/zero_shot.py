"""Zero-shot evaluation of a checkpoint on one graph: the model, its baselines and its controls side by side."""

import pathlib
from collections.abc import Mapping

import numpy as np
import rich.console

from tofu_jax.errors import DataError
from tofu_jax.evaluation.baselines import default_baselines
from tofu_jax.evaluation.environment import environment
from tofu_jax.evaluation.ranking import Scorer, sample_triples
from tofu_jax.evaluation.report import evaluate, print_report, write_report
from tofu_jax.evaluation.tables import MODEL_NAME, Results
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.inference.pretrained import Pretrained
from tofu_jax.model.fusion import MODALITIES
from tofu_jax.progress import Progress
from tofu_jax.shapes import Array

SPLITS = ("test", "valid", "valid+test")


def evaluate_zero_shot(
    pretrained: Pretrained,
    graph: KnowledgeGraph,
    console: rich.console.Console,
    *,
    split: str = "test",
    max_triples: int | None = None,
    seed: int = 0,
    modalities: tuple[str, ...] = MODALITIES,
    controls: bool = True,
    compared: Mapping[str, Pretrained] | None = None,
) -> Results:
    """Ranks held-out facts of a graph under the default protocol (`evaluation.report.evaluate`).

    Args:
      pretrained: the model.
      graph: whose training facts are the message graph.
      console: for progress.
      split: one of SPLITS.
      max_triples, seed: evaluate a fixed sample (`ranking.sample_triples`).
      modalities: what the model may see beside structure.
      controls: also rank with shuffled texts and images, without each modality present, and with an untrained model.
      compared: name → model with the same tokenizers, ranked as one more control.

    Returns:
      Results as of `evaluate`, with "configuration" (what was asked for, and what the checkpoint says of itself) and
      "environment".

    Raises:
      DataError: the split is unknown or empty.
    """
    triples = sample_triples(_facts(graph, split), max_triples, seed)
    prepared, tokens = pretrained.prepare(graph, modalities, console)
    others: dict[str, Scorer] = {}
    if controls:
        present = [m for m in MODALITIES if getattr(tokens, f"{m}_mask").any()]
        if present:
            shuffled = prepared.with_tokens(tokens.shuffled(seed))
            others[f"{' and '.join(present)} shuffled"] = pretrained.scorer(shuffled)
            bare = tokens.without("text").without("image")
            others["structure only"] = pretrained.scorer(prepared.with_tokens(bare))
        others["untrained"] = pretrained.untrained(seed).scorer(prepared)
    others |= {name: model.scorer(prepared) for name, model in (compared or {}).items()}
    baselines = default_baselines(graph, seed)
    names = [MODEL_NAME, *baselines, *others]
    with Progress(f"ranking {graph.name}", len(names) * 2 * len(triples), console) as progress:
        results = evaluate(
            pretrained.scorer(prepared),
            graph,
            triples,
            checkpoint=pretrained.source,
            split=split,
            baselines=baselines,
            controls=others,
            on_batch=lambda name, done, total: progress.update(names.index(name) * total + done, name),
        )
    asked = {
        "split": split,
        "max_triples": max_triples,
        "seed": seed,
        "modalities": list(modalities),
        "controls": controls,
    }
    return results | {"configuration": {"evaluation": asked, **_told_by(pretrained)}, "environment": environment()}


def _told_by(pretrained: Pretrained) -> dict[str, dict]:
    """What a checkpoint says about itself, without hashes."""
    meta = pretrained.meta
    told = {name: dict(meta[name]) for name in ("model", "tokens") if name in meta}
    if "codebooks" in meta:
        told["codebooks"] = {name: book["name"] for name, book in meta["codebooks"].items()}
    graphs = sorted({source["name"] for source in meta.get("sources", ())})
    return told | {"training": {"step": pretrained.step, "graphs": graphs}}


def _facts(graph: KnowledgeGraph, split: str) -> Array:
    """The held-out facts of a split, in the order of the source."""
    if split not in SPLITS:
        raise DataError(f"Unknown split {split!r}; choose one of {', '.join(SPLITS)}.")
    facts = np.concatenate([getattr(graph, part) for part in split.split("+")])
    if not len(facts):
        raise DataError(f"{graph.name}: no facts in split {split!r}, nothing to evaluate.")
    return facts


def evaluate_and_report(
    pretrained: Pretrained,
    graph: KnowledgeGraph,
    console: rich.console.Console,
    output: pathlib.Path | None,
    curves: pathlib.Path | None = None,
    **options,
) -> Results:
    """Evaluates, prints the tables and writes the report.

    Args:
      pretrained, graph, console, options: as in `evaluate_zero_shot`.
      output: folder for results.json, report.md, report.png and report.html; None writes nothing.
      curves: see `evaluation.report.write_report`.

    Returns:
      Results as of `evaluation.report.evaluate`.
    """
    results = evaluate_zero_shot(pretrained, graph, console, **options)
    print_report(results, console)
    if output is not None:
        console.print(f"report: {write_report(results, output, graph, curves)}", highlight=False, soft_wrap=True)
    return results
