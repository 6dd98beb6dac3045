"""Evaluate a scorer beside its baselines, and put the figures on disk, on the terminal, in a picture and on a page.

The figures are one plain dictionary (`evaluate`); the files, the tables and the picture are made from it alone, so a
report can be written again from its results.json. Only pictures of entities have to come from the graph.
"""

import collections.abc
import json
import pathlib
import time
import typing

import numpy as np
import rich.console
import rich.markup
import rich.table

from tofu_jax.errors import DataError
from tofu_jax.evaluation.mistakes import worst_mistakes
from tofu_jax.evaluation.page import render_page
from tofu_jax.evaluation.picture import plot_mrr_bars
from tofu_jax.evaluation.ranking import (
    POLICIES,
    Ranks,
    Scorer,
    half_links,
    queries_of,
    rank_queries,
)
from tofu_jax.evaluation.tables import MODEL_NAME, Results, markdown_table, tables
from tofu_jax.files import write_whole
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.shapes import Array


def evaluate(
    scorer: Scorer,
    graph: KnowledgeGraph,
    triples: Array,
    *,
    checkpoint: str | None,
    split: str = "test",
    batch_size: int = 64,
    baselines: collections.abc.Mapping[str, Scorer] | None = None,
    controls: collections.abc.Mapping[str, Scorer] | None = None,
    on_batch: collections.abc.Callable[[str, int, int], None] | None = None,
) -> Results:
    """Filtered ranks of a scorer and of those beside it, under the default protocol.

    Args:
      scorer: the model.
      graph: candidates, message graph (its training facts) and known answers (its three splits).
      triples: int32 [n, 3] to evaluate, two queries each.
      checkpoint: what the scorer was restored from, for the report; None without one.
      split: what `triples` are, for the report.
      batch_size: most queries in a call of a scorer.
      baselines: name → scorer that learns nothing.
      controls: name → the model with something taken away, e.g. with shuffled texts.
      on_batch: called with (name, ranks done, ranks in all) after each batch.

    Returns:
      Plain values that JSON can hold: "graph", "checkpoint", "metrics" (policy → metrics), "strata", "sides" and
      "relations" (name → "queries" and realistic metrics; of an empty stratum only "queries"), "baselines" and
      "controls" (name → policy → metrics; "controls" only if given), "mistakes" (`worst_mistakes`), "protocol", "seconds"
      (wall time of the model's ranks alone) and "queries" (2·n). Each stratum also has "others": the MRR in it of each
      baseline and control.

    Raises:
      ScoreError: scores that cannot be ranked, see `rank_queries`.
      DataError: there is nothing to evaluate, or a baseline and a control share a name.
    """
    taken_twice = {*(baselines or {})} & {*(controls or {})}
    if taken_twice:
        raise DataError(f"{sorted(taken_twice)} name both a baseline and a control; give each its own name.")
    known = KnownAnswers.of_graph(graph)

    def ranks_of(name: str, ranked: Scorer) -> Ranks:
        report = None if on_batch is None else lambda done, total: on_batch(name, done, total)
        return rank_queries(ranked, graph, triples, batch_size, known, report)

    started = time.perf_counter()
    ranks = ranks_of(MODEL_NAME, scorer)
    seconds = time.perf_counter() - started
    baseline_ranks = {name: ranks_of(name, baseline) for name, baseline in (baselines or {}).items()}
    control_ranks = {name: ranks_of(name, control) for name, control in (controls or {}).items()}
    results: Results = {
        "graph": graph.name,
        "checkpoint": checkpoint,
        "metrics": _all_policies(ranks),
        "strata": _strata(ranks, baseline_ranks | control_ranks, graph, triples),
        "sides": _sides(ranks),
        "relations": _relations(ranks, graph, triples),
        "baselines": {name: _all_policies(others) for name, others in baseline_ranks.items()},
    }
    if controls is not None:
        results["controls"] = {name: _all_policies(others) for name, others in control_ranks.items()}
    return results | {
        "mistakes": worst_mistakes(scorer, graph, triples, ranks, known),
        "protocol": _protocol(graph, triples, split, known),
        "seconds": round(seconds, 3),
        "queries": 2 * len(triples),
    }


def _all_policies(ranks: Ranks) -> dict[str, dict[str, float]]:
    return {policy: ranks.metrics(policy) for policy in POLICIES}


def _part(ranks: Ranks, chosen: Array) -> dict[str, typing.Any]:
    """Count and realistic metrics of some queries; of none the count only, for there is no mean of nothing."""
    queries = int(np.count_nonzero(chosen))
    return {"queries": queries} | (ranks.take(chosen).metrics() if queries else {})


def _strata(ranks: Ranks, others: dict[str, Ranks], graph: KnowledgeGraph, triples: Array) -> dict[str, dict[str, typing.Any]]:
    linked = half_links(graph, *queries_of(triples, graph.num_relations))
    strata = {}
    for name, chosen in (("half_link", linked), ("no_half_link", ~linked)):
        mrr = {other: _part(other_ranks, chosen).get("mrr") for other, other_ranks in others.items()}
        strata[name] = _part(ranks, chosen) | {"others": mrr}
    return strata


def _sides(ranks: Ranks) -> dict[str, dict[str, typing.Any]]:
    is_tail = np.arange(len(ranks.optimistic)) < len(ranks.optimistic) // 2
    return {"tail": _part(ranks, is_tail), "head": _part(ranks, ~is_tail)}


def _relations(ranks: Ranks, graph: KnowledgeGraph, triples: Array) -> dict[str, dict[str, typing.Any]]:
    """Both sides of each relation that occurs, by its id in the source."""
    relation_of = np.tile(triples[:, 1], 2)
    return {
        graph.relations[relation]: {"label": graph.relation_labels[relation]} | _part(ranks, relation_of == relation)
        for relation in np.unique(relation_of)
    }


def _protocol(graph: KnowledgeGraph, triples: Array, split: str, known: KnownAnswers) -> dict[str, str | int]:
    message = {tuple(fact) for fact in graph.train.tolist()}
    leaked = sum(tuple(fact) in message for fact in triples.tolist())
    valid = sum(tuple(fact) in message for fact in graph.valid.tolist())
    return {
        "split": split,
        "triples": len(triples),
        "sides": "two queries a triple: (h, r, ?) and (?, r, t)",
        "candidates": "all entities of the graph",
        "candidate_entities": graph.num_entities,
        "filter": "other known answers (train + valid + test) removed, the right answer never",
        "known_facts": known.num_facts,
        "message_graph": "training facts only",
        "message_facts": len(graph.train),
        "evaluated_triples_in_message_graph": leaked,
        "valid_facts_in_message_graph": valid,
        "ties": "realistic: mean of optimistic and pessimistic rank; published ULTRA-style figures are pessimistic",
        "half_link": "the answer has a training fact of the query relation, on the answer's side",
        "seconds": "wall time of the model's ranks alone",
    }


def _headline(results: Results) -> str:
    rate = results["queries"] / max(results["seconds"], 1e-3)
    return f"{results['queries']:,} queries in {results['seconds']:,.1f} s ({rate:,.0f}/s)"


def print_report(results: Results, console: rich.console.Console) -> None:
    """Prints the tables of `results`; they fit a terminal of 100 columns."""
    title = f"{results['graph']}: MRR {results['metrics']['realistic']['mrr']:.3f}"
    console.print(f"[bold]{rich.markup.escape(title)}[/bold]  {_headline(results)}")
    console.print(f"checkpoint: {results['checkpoint'] or 'none'}", markup=False, highlight=False)
    for table in tables(results):
        grid = rich.table.Table(
            title=table.title, title_justify="left", title_style="bold", box=rich.box.SIMPLE_HEAD, pad_edge=False
        )
        for position, heading in enumerate(table.headings):
            is_words = position == 0 or table.title == "Protocol"
            justify = "left" if is_words else "right"
            grid.add_column(heading, justify=justify, overflow="fold")
        for row in table.rows:
            is_model = table.headings[0] == "scorer" and row[0] == MODEL_NAME
            grid.add_row(*map(rich.markup.escape, row), style="bold" if is_model else None)
        console.print(grid)


def write_report(
    results: Results, folder: pathlib.Path, graph: KnowledgeGraph | None = None, curves: pathlib.Path | None = None
) -> pathlib.Path:
    """Writes results.json, report.md, report.png and report.html; a reader sees each file as it was or whole.

    Args:
      results: of `evaluate`.
      folder: made if it does not exist.
      graph: has the pictures of entities for report.html; None leaves them out.
      curves: a PNG of the training curves for report.html; left out where it is None or not there.

    Returns:
      The path of report.md.

    Raises:
      ValueError: results hold a number that JSON does not have (NaN, infinity).
      OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # All are made before the first is written, so that an error leaves an older report as it was; results.json
    # comes last, so that where it is new the others are too.
    contents = {
        "report.png": plot_mrr_bars(results),
        "report.md": _markdown(results).encode(),
        "report.html": render_page(results, graph, curves).encode(),
        "results.json": (json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    for name, content in contents.items():
        write_whole(folder / name, content)
    return folder / "report.md"


def _markdown(results: Results) -> str:
    lines = [f"# {results['graph']}: MRR {results['metrics']['realistic']['mrr']:.3f}", ""]
    lines += [f"Checkpoint: {results['checkpoint'] or 'none'}. {_headline(results)}.", ""]
    lines += ["![MRR of the model beside the others](report.png)", ""]
    for table in tables(results):
        num_words = 2 if table.title == "Protocol" else 1
        lines += [f"## {table.title}", "", markdown_table(table.headings, table.rows, num_words), ""]
    if results.get("controls"):
        lines += ["A control that comes close to the model shows that what was taken away made no difference.", ""]
    return "\n".join(lines)
