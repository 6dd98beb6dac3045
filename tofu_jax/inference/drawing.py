"""The paths of an explanation as a picture: a row for each path, from the head on the left to the tail on the right."""

import io
import textwrap
import warnings

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tofu_jax.inference.explanation import ExplainedPath, Explanation, Step
from tofu_jax.inference.prediction_tables import printable

# Inches: width and height of an entity, width of a relation, height of a path, margins.
_BOX, _BOX_HEIGHT, _GAP, _ROW = 1.6, 0.46, 1.8, 0.8
_SIDE, _TOP, _BOTTOM = 0.3, 0.85, 0.55
_LEGEND = 1.0
_ENDS, _BETWEEN, _FOR, _AGAINST, _WORDS, _INK = "#1b6ca8", "#e9eef2", "#1b6ca8", "#c8553d", "#555555", "#222222"
_THINNEST, _THICKEST = 0.8, 6.0  # points
_ENTITY_LETTERS, _RELATION_LETTERS = 18, 21  # in a line


def draw(explanation: Explanation, kind: str) -> bytes:
    """Draws the paths. Thickness of an arrow: weight of the message; its direction: that of the fact.

    Args:
      explanation: with or without paths.
      kind: "png" or "svg".

    Returns:
      The file. Drawn without pyplot, so no backend is chosen for and no figure kept in the caller's process.
    """
    rows = max(len(explanation.paths), 1)
    columns = max((len(path.steps) for path in explanation.paths), default=2)
    inner = columns * _GAP + (columns - 1) * _BOX
    width = 2 * (_SIDE + _BOX) + inner + (_LEGEND if explanation.paths else 0)
    height = _TOP + rows * _ROW + _BOTTOM
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    _write(axes, _SIDE, height - 0.3, _title(explanation, int(width * 8)), size=13, colour=_INK, weight="bold")
    _write(axes, _SIDE, height - 0.58, _cut(f"{explanation.graph}: {explanation.verdict}", int(width * 13)), size=9)

    middle, tall = _BOTTOM + rows * _ROW / 2, (rows - 1) * _ROW + _BOX_HEIGHT
    right = _SIDE + _BOX + inner
    _draw_box(axes, _SIDE, middle, explanation.head.label, tall, _ENDS, "white")
    _draw_box(axes, right, middle, explanation.tail.label, tall, _ENDS, "white")
    strongest = max((abs(step.weight) for path in explanation.paths for step in path.steps), default=0) or 1
    for row, path in enumerate(explanation.paths):
        y = _BOTTOM + (rows - row - 0.5) * _ROW
        _draw_path(axes, path, y, inner, strongest)
        _write(axes, right + _BOX + 0.15, y, f"{path.weight:+.3f}", size=9)
    if explanation.paths:
        _write(axes, right + _BOX + 0.15, _BOTTOM + rows * _ROW + 0.05, "weight", size=8)
        note = "Arrows: facts, or a text that names. Thickness: what a message is worth to the score"
        _write(axes, _SIDE, 0.25, f"{note}; red: it counts against.", size=8)
    else:
        text = "\n".join(textwrap.wrap(explanation.no_path, int(inner * 11)))
        _write(axes, _SIDE + _BOX + inner / 2, middle, text, size=9, ha="center")
    return _saved(figure, kind)


def _draw_path(axes: Axes, path: ExplainedPath, y: float, inner: float, strongest: float) -> None:
    """One row: arrows and the entities between them, spread over the room between head and tail."""
    gap = (inner - (len(path.steps) - 1) * _BOX) / len(path.steps)
    x = _SIDE + _BOX
    for step in path.steps:
        _draw_step(axes, step, x, x + gap, y, strongest)
        x += gap
        if step is not path.steps[-1]:
            _draw_box(axes, x, y, step.receiver.label, _BOX_HEIGHT, _BETWEEN, _INK)
            x += _BOX


def _draw_step(axes: Axes, step: Step, left: float, right: float, y: float, strongest: float) -> None:
    thickness = _THINNEST + (_THICKEST - _THINNEST) * abs(step.weight) / strongest
    colour = _FOR if step.weight >= 0 else _AGAINST
    ends = ((left + 0.06, y), (right - 0.06, y))
    head = f"-|>,head_length={4 + 0.7 * thickness},head_width={1.5 + 0.6 * thickness}"
    axes.add_patch(
        FancyArrowPatch(
            *(ends if step.forward else ends[::-1]),
            arrowstyle=head,
            mutation_scale=1,
            linewidth=thickness,
            color=colour,
            shrinkA=0,
            shrinkB=0,
            joinstyle="miter",
            capstyle="butt",
        )
    )
    letters = int(_RELATION_LETTERS * (right - left) / _GAP)
    _write(axes, (left + right) / 2, y + 0.12, _wrapped(step.relation.label, letters), size=8, ha="center", va="bottom")


def _draw_box(axes: Axes, left: float, y: float, label: str, height: float, colour: str, ink: str) -> None:
    """An entity; `y` is the middle of its box."""
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((left, y - height / 2), _BOX, height, boxstyle=style, facecolor=colour, edgecolor="none"))
    _write(axes, left + _BOX / 2, y, _wrapped(label, _ENTITY_LETTERS), size=9.5, colour=ink, ha="center")


def _write(axes: Axes, x: float, y: float, text: str, size: float, colour: str = _WORDS, va: str = "center", **how) -> None:
    axes.text(x, y, text, fontsize=size, color=colour, va=va, linespacing=1.05, parse_math=False, **how)


def _title(explanation: Explanation, letters: int) -> str:
    """The fact, its names shortened where they are long."""
    head, relation, tail = (
        _cut(printable(name.label), letters // 3 - 2) for name in (explanation.head, explanation.relation, explanation.tail)
    )
    return f"{head} —{relation}→ {tail}"


def _wrapped(name: str, letters: int) -> str:
    """A name on at most two lines; of a longer one the beginning and the end, which often says more."""
    name = printable(name)
    lines = textwrap.wrap(name, letters) or [""]
    if len(lines) <= 2:
        return "\n".join(lines)
    end = name[1 - letters :]
    whole_words = end.partition(" ")[2] if " " in end.rstrip() else end
    return f"{lines[0]}\n…{whole_words}"


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _saved(figure: Figure, kind: str) -> bytes:
    canvas = FigureCanvasAgg(figure)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes; one remark for each letter helps nobody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if kind == "svg":
            figure.savefig(file, format="svg", metadata={"Date": None})  # the same file each time
        else:
            canvas.print_png(file)
    return file.getvalue()
