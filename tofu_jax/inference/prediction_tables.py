"""Predictions as tables for people, one for each question."""

import math
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import rich.box
import rich.table
import rich.text

if TYPE_CHECKING:
    from tofu_jax.inference.predictions import Predictions

_MOST_ROWS = 50  # of a question
_MOST_QUERIES = 20
_PARTS = ("head", "relation", "tail")
_JOINERS = "\u200c\u200d"  # of letters and of emoji: the only characters without a glyph that may stay


def render(predictions: "Predictions") -> Iterator[rich.table.Table | rich.text.Text]:
    """Tables of at most 50 rows for the first 20 questions, and a line about what is left out."""
    if not len(predictions):
        yield rich.text.Text("No predictions: every candidate is known.")
        return
    numbers, starts = np.unique(predictions.query, return_index=True)
    groups = np.split(np.arange(len(predictions)), starts[1:])
    for rows in groups[:_MOST_QUERIES]:
        yield _table(predictions, rows[:_MOST_ROWS])
        if len(rows) > _MOST_ROWS:
            yield rich.text.Text(f"… and {len(rows) - _MOST_ROWS:,} more")
    if len(numbers) > _MOST_QUERIES:
        yield rich.text.Text(f"… and the answers to {len(numbers) - _MOST_QUERIES:,} more questions")


def _table(predictions: "Predictions", rows: np.ndarray) -> rich.table.Table:
    asked = predictions.asked[rows[0]]
    table = rich.table.Table(title=_title(predictions, rows[0]), title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right")
    columns = {}
    for part in _PARTS if asked == "fact" else (asked,):
        ids, labels = ([getattr(predictions, name)[row] for row in rows] for name in (part, f"{part}_label"))
        columns[part] = labels
        if ids != labels and asked != "fact":
            columns["id"] = ids
    for name in columns:
        table.add_column(name, overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("known in")
    if predictions.probability is not None:
        table.add_column("probability", justify="right")
    for position, row in enumerate(rows):
        cells = [str(predictions.rank[row]), *(rich.text.Text(printable(values[position])) for values in columns.values())]
        cells += [f"{predictions.score[row]:.2f}", predictions.known[row]]
        if predictions.probability is not None:
            probability = predictions.probability[row]
            cells.append("" if math.isnan(probability) else f"{probability:.2f}")
        table.add_row(*cells, style="dim" if predictions.known[row] else None)
    return table


def _title(predictions: "Predictions", row: int) -> rich.text.Text:
    """The question: (head, relation, ?), with labels."""
    asked = predictions.asked[row]
    if asked == "fact":
        return rich.text.Text(f"New facts of {printable(predictions.graph)}", style="bold")
    parts = ("?" if part == asked else printable(getattr(predictions, f"{part}_label")[row]) for part in _PARTS)
    return rich.text.Text(f"({', '.join(parts)})", style="bold")


def printable(name: str) -> str:
    """A name on one line, without what would move the cursor or turn the direction of writing."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join("�" if unicodedata.category(c) in hidden and c not in _JOINERS else c for c in name)
