"""Are probabilities right? Expected calibration error, and a picture."""

import dataclasses
import io
from typing import Self

import numpy as np

from tofu_jax.shapes import Array

BINS = 10


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Predictions sorted by probability into ten bins of equal width; those without a prediction are left out.

    Attributes:
      predicted: mean probability of each bin.
      found: share of each bin that came true.
      count: predictions in each bin.
    """

    predicted: tuple[float, ...] = ()
    found: tuple[float, ...] = ()
    count: tuple[int, ...] = ()

    @classmethod
    def of(cls, probabilities: Array, found: Array) -> Self:
        """Sorts predictions into bins.

        Args:
          probabilities: float [n] in 0..1.
          found: bool [n], which came true.
        """
        place = np.minimum((probabilities * BINS).astype(int), BINS - 1)
        count = np.bincount(place, minlength=BINS)
        used = count > 0
        means = (np.bincount(place, values, BINS)[used] / count[used] for values in (probabilities, found))
        return cls(*(tuple(mean.tolist()) for mean in means), tuple(count[used].tolist()))

    @property
    def expected_calibration_error(self) -> float:
        """Mean distance between probability and share, weighted by predictions (Naeini et al. 2015): 0 is perfect, 1 worst."""
        gaps = np.abs(np.subtract(self.predicted, self.found))
        return float(np.average(gaps, weights=self.count))


def plot_reliability(reliability: Reliability, title: str) -> bytes:
    """Draws share against probability, and how many predictions stand behind each point; returns a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, since few predictions need a picture
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#9aa5ae", linewidth=1, linestyle="--")
    axes.plot(reliability.predicted, reliability.found, marker="o", color="#1b6ca8")
    for predicted, found, count in zip(reliability.predicted, reliability.found, reliability.count, strict=True):
        axes.annotate(f"{count:,}", (predicted, found), (6, -10), textcoords="offset points", fontsize=8, color="#555555")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("probability")
    axes.set_ylabel("share found among the held-out facts (numbers: predictions)")
    error = reliability.expected_calibration_error
    axes.set_title(f"{title.replace('$', chr(92) + '$')}\nexpected calibration error {error:.3f}", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    png = io.BytesIO()
    canvas.print_png(png)
    return png.getvalue()
