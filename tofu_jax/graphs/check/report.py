"""A check for people and programs: on the terminal, and as check.json, check.md and two pictures."""

import dataclasses
import json
import pathlib

import rich.box
import rich.console
import rich.table
import rich.text

from tofu_jax.files import write_whole
from tofu_jax.graphs.check.facts import amount, shown
from tofu_jax.graphs.check.findings import GRADES, Finding, GraphCheck, RelationRow
from tofu_jax.graphs.check.pictures import plot_degrees, plot_relations

_COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_RELATIONS = 10  # on the terminal; check.md has all
_EXAMPLES, _HUBS = 3, 3  # likewise
_RELATION_HEADINGS = ("relation", "train", "valid", "test", "tails/head", "heads/tail", "kind", "symmetric")
_CARDINALITIES = ("1-1", "1-N", "N-1", "N-N")


def print_check(check: GraphCheck, console: rich.console.Console) -> None:
    """Prints the figures, the findings and the largest relations; fits a terminal of 100 columns."""
    console.print(rich.text.Text(shown(check.graph), style="bold"))
    for line in _figures(check):
        console.print(line, markup=False, highlight=False)
    console.print()
    for finding in check.findings:
        console.print(_finding_block(finding))
    console.print(_relation_table(check))
    console.print(verdict(check), style="bold", markup=False, highlight=False)


def write_check(check: GraphCheck, folder: pathlib.Path) -> None:
    """Writes check.json, check.md, degrees.png and relations.png; a reader sees each file as it was or whole.

    Args:
      check: of `check_graph`.
      folder: made if it does not exist.

    Raises:
      OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # All are made before the first is written, so that an error leaves older files as they were.
    contents = {
        "degrees.png": plot_degrees(check),
        "relations.png": plot_relations(check),
        "check.md": _markdown(check).encode("utf-8", "backslashreplace"),
        "check.json": _json(check),
    }
    for name, content in contents.items():
        write_whole(folder / name, content)


def verdict(check: GraphCheck) -> str:
    """How many findings of each grade there are, in a line."""
    counts = [f"{check.count(grade)} {grade}{'' if check.count(grade) == 1 else 's'}" for grade in GRADES]
    return f"{shown(check.graph)}: {', '.join(counts)}."


def _figures(check: GraphCheck) -> list[str]:
    """The graph in a few lines."""
    facts = " / ".join(f"{count:,}" for count in check.facts.values())
    degrees = [(degree, count) for degree, count in check.degrees["both"] if degree]
    kinds = [sum(row.cardinality == kind for row in check.relations) for kind in _CARDINALITIES]
    hubs = ", ".join(f"{shown(name)} {degree:,}" for name, degree in check.hubs[:_HUBS])
    parts = sum(count for _, count in check.components)
    missing = f", {check.missing_images:,} of them not there" if check.missing_images else ""

    def share(count: int) -> str:
        return f"{count / max(check.entities, 1):.1%}"

    return [
        f"{check.entities:,} entities, {len(check.relations):,} relations, {facts} train / valid / test facts",
        f"entities with text: {share(check.with_text)}, with more than a name: {share(check.with_description)}, "
        f"with images: {share(check.with_image)} ({amount(check.images, 'file')}{missing})",
        f"training facts of an entity: median {_quantile(degrees, 0.5):,}, 99 of 100 have at most {_quantile(degrees, 0.99):,}",
        f"largest: {hubs}",
        f"connected parts of the training graph: {parts:,}"
        + (f", the largest of {check.components[0][0]:,} entities" if parts else ""),
        "relations by kind (heads-tails): " + ", ".join(f"{kind} {n:,}" for kind, n in zip(_CARDINALITIES, kinds, strict=True)),
    ]


def _quantile(histogram: list[tuple[int, int]], share: float) -> int:
    """The least value that `share` of all do not exceed; histogram: (value, how often), ascending."""
    total, seen = sum(count for _, count in histogram), 0
    for value, count in histogram:
        seen += count
        if seen >= share * total:
            return value
    return 0


def _finding_block(finding: Finding) -> rich.table.Table:
    """Grade on the left; sentence, places and advice on the right, wrapped under one another."""
    grid = rich.table.Table.grid(padding=(0, 1))
    grid.add_column(width=max(map(len, GRADES)))
    grid.add_column(overflow="fold")
    grid.add_row(rich.text.Text(finding.grade, style=_COLOURS[finding.grade]), rich.text.Text(finding.what))
    for example in finding.examples[:_EXAMPLES]:
        grid.add_row("", _marked("-", example, "dim"))
    grid.add_row("", _marked("→", finding.todo))
    grid.add_row("", "")
    return grid


def _marked(mark: str, text: str, style: str = "") -> rich.table.Table:
    """A line that is wrapped beside its mark."""
    grid = rich.table.Table.grid(padding=(0, 1))
    grid.add_row(mark, rich.text.Text(text, overflow="fold"), style=style)
    return grid


def _relation_table(check: GraphCheck) -> rich.table.Table:
    more = len(check.relations) > _RELATIONS
    grid = rich.table.Table(
        title=f"The {_RELATIONS} largest of {len(check.relations):,} relations" if more else "Relations",
        title_justify="left",
        title_style="bold",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for position, heading in enumerate(_RELATION_HEADINGS):
        grid.add_column(heading, justify="right" if position else "left", overflow="fold", no_wrap=position > 0)
    for row in check.relations[:_RELATIONS]:
        grid.add_row(rich.text.Text(shown(row.label)), *_cells(row))
    return grid


def _cells(row: RelationRow) -> tuple[str, ...]:
    """All cells but the name."""
    counts = (f"{count:,}" for count in (row.train, row.valid, row.test))
    return (*counts, f"{row.tails_per_head:.1f}", f"{row.heads_per_tail:.1f}", row.cardinality, f"{row.symmetric:.0%}")


def _json(check: GraphCheck) -> bytes:
    # ASCII with escapes, since names may hold what UTF-8 cannot (half a surrogate pair).
    return (json.dumps(dataclasses.asdict(check), indent=1, allow_nan=False) + "\n").encode("ascii")


def _markdown(check: GraphCheck) -> str:
    lines = [f"# Check of {shown(check.graph)}", "", verdict(check), ""]
    lines += [f"- {line}" for line in _figures(check)] + [""]
    lines += [f"- {split}: {path}" for split, path in check.files.items()] + [""]
    for grade, meaning in GRADES.items():
        findings = [finding for finding in check.findings if finding.grade == grade]
        if findings:
            lines += [f"## {grade.capitalize()}s: {meaning}", ""]
        for finding in findings:
            lines += [f"### {finding.kind.capitalize()}", "", finding.what, ""]
            # Indented, so that nothing in a name can be taken for Markdown.
            lines += [f"    {example}" for example in finding.examples] + [""] * bool(finding.examples)
            lines += [f"→ {finding.todo}", ""]
    lines += ["All places are in check.json.", "", "![Degrees](degrees.png)", "", "![Relations](relations.png)", ""]
    lines += ["## Relations", ""]
    alignment = [":--"] + ["--:"] * (len(_RELATION_HEADINGS) - 1)
    rows = [_RELATION_HEADINGS, alignment]
    for row in check.relations:
        name = shown(row.label) if row.label == row.relation else f"{shown(row.label)} ({shown(row.relation)})"
        rows.append((name, *_cells(row)))
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([*lines, ""])
