"""The figures of an evaluation as tables for people, the same ones on the terminal and in report.md."""

import dataclasses
import typing
from collections.abc import Sequence

from tofu_jax.evaluation.ranking import HITS, POLICIES

Results = dict[str, typing.Any]
METRICS = ("mrr", *(f"hits@{k}" for k in HITS), "mean_rank")
HEADINGS = ("MRR", *(f"Hits@{k}" for k in HITS), "mean rank")
STRATA = {"half_link": "half-link", "no_half_link": "no half-link"}
MODEL_NAME = "model"
FEWEST_QUERIES = 10  # a relation with fewer is left out of the extremes, where chance would put it
EXTREMES = 5


@dataclasses.dataclass(frozen=True)
class Table:
    """A table for people: the first column is words, the rest are numbers, already formatted."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(results: Results) -> list[Table]:
    """The tables of a report, made from results alone, so that the terminal and report.md say the same."""
    return [*overall_tables(results), *_relation_tables(results["relations"]), protocol_table(results)]


def overall_tables(results: Results) -> list[Table]:
    """The tables that are not about single relations."""
    return [
        Table("Metrics by tie policy", ("ties", *HEADINGS), [(p, *_cells(results["metrics"][p])) for p in POLICIES]),
        *_comparison_tables(results),
        _parts_table("Strata", "stratum", {STRATA[name]: part for name, part in results["strata"].items()}),
        _parts_table("Sides", "answer", results["sides"]),
    ]


def protocol_table(results: Results) -> Table:
    """How it was measured."""
    words = [(name.replace("_", " "), f"{v:,}" if isinstance(v, int) else v) for name, v in results["protocol"].items()]
    return Table("Protocol", ("what", "value"), words)


def relation_table(relations: dict[str, dict[str, typing.Any]], most: int) -> Table:
    """The relations with the most queries, at most so many, the best first."""
    frequent = sorted(relations.values(), key=lambda part: -part["queries"])[:most]
    shown = f"{len(frequent)} of {len(relations)}, those with the most queries" if len(frequent) < len(relations) else "all"
    return _of_relations(f"Relations ({shown})", sorted(frequent, key=lambda part: -part["mrr"]))


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], num_words: int = 1) -> str:
    """A table in Markdown; the first `num_words` columns are words, aligned to the left, the rest are numbers."""
    alignment = [":--" if column < num_words else "--:" for column in range(len(headings))]
    lines = [[cell.replace("|", "\\|") for cell in cells] for cells in (headings, alignment, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _comparison_tables(results: Results) -> list[Table]:
    """Everything that was ranked; the strata show where texts and images should help."""
    others = [
        (name, policies["realistic"]) for kind in ("baselines", "controls") for name, policies in results.get(kind, {}).items()
    ]
    rows = [(name, *_cells(metrics)) for name, metrics in [(MODEL_NAME, results["metrics"]["realistic"]), *others]]
    strata = results["strata"]
    mrr = [(MODEL_NAME, *(_figure(part.get("mrr")) for part in strata.values()))]
    mrr += [(name, *(_figure(part["others"][name]) for part in strata.values())) for name, _ in others]
    return [
        Table("Beside the model (realistic)", ("scorer", *HEADINGS), rows),
        Table("MRR by stratum (realistic)", ("scorer", *(STRATA[name] for name in strata)), mrr),
    ]


def _parts_table(title: str, what: str, parts: dict[str, dict[str, typing.Any]]) -> Table:
    rows = [(name, f"{part['queries']:,}", *_cells(part)) for name, part in parts.items()]
    return Table(f"{title} (realistic)", (what, "queries", *HEADINGS), rows)


def _relation_tables(relations: dict[str, dict[str, typing.Any]]) -> list[Table]:
    """All relations where they are few, else the best and the worst."""
    counted = [part for part in relations.values() if part["queries"] >= FEWEST_QUERIES]
    ordered = sorted(counted, key=lambda part: -part["mrr"])
    note = f"with {FEWEST_QUERIES} queries or more"
    if len(ordered) <= 2 * EXTREMES:
        return [_of_relations(f"Relations {note} ({len(ordered)} of {len(relations)})", ordered)] if ordered else []
    return [
        _of_relations(f"Best {EXTREMES} of the {len(ordered)} relations {note}", ordered[:EXTREMES]),
        _of_relations(f"Worst {EXTREMES} of the {len(ordered)} relations {note}", ordered[-EXTREMES:]),
    ]


def _of_relations(title: str, parts: list[dict[str, typing.Any]]) -> Table:
    rows = [(part["label"], f"{part['queries']:,}", *_cells(part)) for part in parts]
    return Table(title, ("relation", "queries", *HEADINGS), rows)


def _cells(metrics: dict[str, float]) -> tuple[str, ...]:
    return tuple(_figure(metrics.get(name), name) for name in METRICS)


def _figure(value: float | None, metric: str = "mrr") -> str:
    """A metric as people read it; an en dash where there were no queries."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if metric == "mean_rank" else f"{value:.3f}"
