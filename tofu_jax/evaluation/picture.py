"""The model's MRR beside that of its baselines and controls, as bars."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tofu_jax.evaluation.tables import MODEL_NAME, Results

COLOURS = {"model": "#1b6ca8", "control": "#e0a458", "baseline": "#9aa5ae"}


def plot_mrr_bars(results: Results) -> bytes:
    """Draws one bar for each scorer, the highest on top; whiskers where the tie policy matters.

    Args:
      results: of `evaluate`.

    Returns:
      A PNG. Drawn without pyplot, so no backend is chosen for and no figure kept in the caller's process.
    """
    bars = [(MODEL_NAME, "model", results["metrics"])]
    bars += [(name, "baseline", policies) for name, policies in results["baselines"].items()]
    bars += [(name, "control", policies) for name, policies in results.get("controls", {}).items()]
    bars.sort(key=lambda bar: bar[2]["realistic"]["mrr"])
    mrr, low, high = (
        [policies[policy]["mrr"] for _, _, policies in bars] for policy in ("realistic", "pessimistic", "optimistic")
    )
    figure = Figure(figsize=(8, 1.7 + 0.42 * len(bars)), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.barh(range(len(bars)), mrr, color=[COLOURS[kind] for _, kind, _ in bars], height=0.68)
    axes.hlines(range(len(bars)), low, high, color="#333333", linewidth=1.2)
    for position, (value, top) in enumerate(zip(mrr, high, strict=True)):
        axes.annotate(f"{value:.3f}", (top, position), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), [_shortened(name) for name, _, _ in bars])
    axes.set_xlim(0, max(*high, 0.01) * 1.12)
    axes.set_xlabel("filtered MRR (bar: realistic ties; line: pessimistic to optimistic)")
    title = f"{results['graph']}, {results['protocol']['split']}: {results['queries']:,} queries"
    axes.set_title(_shortened(title, width=80), loc="left")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    kinds = {kind for _, kind, _ in bars}
    handles = [Patch(color=colour, label=kind) for kind, colour in COLOURS.items() if kind in kinds]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False)
    png = io.BytesIO()
    canvas.print_png(png)
    return png.getvalue()


def _shortened(name: str, width: int = 34) -> str:
    """A label that leaves room for the bars; `$` would start a formula."""
    return (name if len(name) <= width else name[: width - 1] + "…").replace("$", r"\$")
