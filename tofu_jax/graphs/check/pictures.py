"""How many facts entities and relations have, and how many heads go with a tail, as pictures on logarithmic axes."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tofu_jax.graphs.check.facts import shown
from tofu_jax.graphs.check.findings import GraphCheck
from tofu_jax.shapes import Array

_BLUE, _ORANGE, _GREY = "#1b6ca8", "#e0a458", "#9aa5ae"
_KINDS = {"1-1": "#5a9e6f", "1-N": "#e0a458", "N-1": "#9467bd", "N-N": "#1b6ca8"}
_NAMED = 20  # relations that get their name beside their bar


def plot_degrees(check: GraphCheck) -> bytes:
    """Draws how many entities have how many training facts, in bins that double every other time.

    Returns:
      A PNG. Drawn without pyplot, so no backend is chosen for and no figure kept in the caller's process.
    """
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    histograms = {side: np.array(pairs, np.int64).reshape(-1, 2) for side, pairs in check.degrees.items()}
    highest = max(1, histograms["both"][:, 0].max(initial=0))
    edges = _bins(highest)
    axes.stairs(_binned(histograms["both"], edges), edges, fill=True, color=_BLUE, alpha=0.35, label="as either")
    axes.stairs(_binned(histograms["head"], edges), edges, color=_ORANGE, linewidth=1.8, label="as head")
    axes.stairs(_binned(histograms["tail"], edges), edges, color="#333333", linewidth=1.2, label="as tail")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0.7)
    axes.set_xlabel("training facts of an entity")
    axes.set_ylabel("entities")
    without = sum(count for degree, count in check.degrees["both"] if degree == 0)
    note = f", {without:,} in no training fact" if without else ""
    axes.set_title(f"{_escaped(check.graph)}: {check.entities:,} entities{note}", loc="left")
    axes.legend(frameon=False)
    return _finished(figure, canvas, [axes])


def plot_relations(check: GraphCheck) -> bytes:
    """Draws the facts of every relation, and which relations have many heads or tails.

    Returns:
      A PNG, see `plot_degrees`.
    """
    figure = Figure(figsize=(11, 4.5), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    rows = [row for row in check.relations if row.train]
    sizes = np.array(sorted((row.train for row in rows), reverse=True), np.int64)
    if len(rows) <= _NAMED:
        left.barh(range(len(sizes)), sizes, color=_BLUE, height=0.7)
        left.set_yticks(
            range(len(sizes)), [_escaped(row.label) for row in sorted(rows, key=lambda row: -row.train)], fontsize=8
        )
        left.invert_yaxis()
        left.set_xscale("log")
        left.set_xlim(left=0.7)
        left.set_xlabel("training facts")
    else:
        left.bar(np.arange(1, len(sizes) + 1), sizes, width=1.0 if len(sizes) > 60 else 0.8, color=_BLUE)
        left.set_yscale("log")
        left.set_ylim(bottom=0.7)
        left.set_xlim(0, len(sizes) + 1)
        left.set_xlabel("relations, the largest first")
        left.set_ylabel("training facts")
    left.set_title(f"{_escaped(check.graph)}: {len(rows):,} relations", loc="left")
    for kind, colour in _KINDS.items():
        chosen = [row for row in rows if row.cardinality == kind]
        area = np.array([8 + 250 * (row.train / sizes[0]) ** 0.5 for row in chosen])
        right.scatter(
            [row.tails_per_head for row in chosen],
            [row.heads_per_tail for row in chosen],
            s=area,
            color=colour,
            alpha=0.65,
            linewidths=0,
        )
        right.scatter([], [], s=30, color=colour, alpha=0.65, linewidths=0, label=f"{kind}: {len(chosen):,}")
    for line in (right.axvline, right.axhline):
        line(1.5, color=_GREY, linewidth=0.8, linestyle="--")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlim(left=0.9)
    right.set_ylim(bottom=0.9)
    right.set_xlabel("tails per head (mean)")
    right.set_ylabel("heads per tail (mean)")
    right.set_title("heads-tails; larger dot: more facts", loc="left")
    right.legend(frameon=False)
    return _finished(figure, canvas, [left, right])


def _bins(highest: int) -> Array:
    """Edges between integers, about √2 apart: no bin is without an integer in it."""
    ends = np.unique(np.round(2 ** (np.arange(2 * np.log2(highest) + 4) / 2)).astype(np.int64))
    return ends[: np.searchsorted(ends, highest, side="right") + 1] - 0.5


def _binned(histogram: Array, edges: Array) -> Array:
    counts, _ = np.histogram(histogram[:, 0], edges, weights=histogram[:, 1])
    return counts


def _escaped(name: str) -> str:
    """A name for a title; `$` would start a formula."""
    return shown(name).replace("$", r"\$")


def _finished(figure: Figure, canvas: FigureCanvasAgg, all_axes: list[Axes]) -> bytes:
    for axes in all_axes:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                low, high = axis.get_view_interval()
                axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
                axis.set_minor_formatter(NullFormatter())
    png = io.BytesIO()
    canvas.print_png(png)
    return png.getvalue()
