"""Probabilities for predictions, by comparison with held-out facts.

The validation facts of a graph are hidden and asked for, among all entities that are not known to be answers; a logistic curve
is fitted to how often a candidate of a given score is one of them (Platt 1999, on the log-odds of the candidate's share). So a
probability answers this: the question has an answer that the graph lacks, as the questions of the validation split do; how
often is a candidate with this score it? What nobody has written down counts as false, which makes the probabilities careful.
"""

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import rich.console
from scipy.special import expit

from tofu_jax.errors import DataError
from tofu_jax.evaluation.ranking import sample_triples
from tofu_jax.files import write_whole
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.inference.queries import Query
from tofu_jax.inference.reliability import Reliability, plot_reliability
from tofu_jax.shapes import Array

if TYPE_CHECKING:
    from tofu_jax.inference.predict import GraphPredictor

CANDIDATES = 10  # of each question, the best ones: what people look at
FEWEST_FOUND = 10  # held-out answers among them, below which nothing is fitted
FILE, PICTURE = "calibration.json", "reliability.png"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A logistic curve from scores to probabilities, for one model on one graph.

    Attributes:
      slope, intercept: of the curve over the log-odds of a candidate's share.
      graph: name, and
      fingerprint: of the graph (`KnowledgeGraph.fingerprint`).
      checkpoint: of the model.
      questions: that the curve was fitted to; as many others gave `reliability`.
      reliability: how good the probabilities are, on questions that were not fitted to.
    """

    slope: float
    intercept: float
    graph: str
    fingerprint: str
    checkpoint: str
    questions: int
    reliability: Reliability

    def probabilities(self, scores: Array) -> Array:
        """float64 [n] in 0..1, of scores [n] of candidates that are not known."""
        return expit(self.slope * _log_odds(scores) + self.intercept)

    def check(self, graph: KnowledgeGraph, checkpoint: str, messages: str) -> None:
        """Raises a `DataError` where it was made for another model or graph, or for a graph of other visible facts."""
        if (self.fingerprint, self.checkpoint) != (graph.fingerprint, checkpoint):
            raise DataError(
                f"The calibration is of {self.checkpoint} on {self.graph}, not of {checkpoint} on {graph.name} as it is now; "
                "calibrate again."
            )
        if messages != "train":
            raise DataError(
                "Probabilities are fitted with held-out facts hidden from the model; they hold with messages='train' only."
            )

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes calibration.json and reliability.png."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        picture = plot_reliability(self.reliability, f"{self.graph}: {self.questions} questions")
        content = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(folder / PICTURE, picture)
        write_whole(folder / FILE, content.encode())

    @classmethod
    def load(cls, folder: str | pathlib.Path) -> "Calibration":
        """Reads what `save` wrote.

        Raises:
          DataError: there is no such file, or it holds something else.
        """
        path = pathlib.Path(folder) / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            bins = {name: tuple(column) for name, column in values["reliability"].items()}
            return cls(**{**values, "reliability": Reliability(**bins)})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{path}: no calibration ({error}). Name another folder, or delete the file.") from error


def calibrate(
    predictor: "GraphPredictor", max_facts: int = 300, seed: int = 0, console: rich.console.Console | None = None
) -> Calibration:
    """Fits probabilities to the validation facts of a graph: one half of their questions for the curve, the other to check it.

    Args:
      predictor: of the model and the graph, with messages="train".
      max_facts: validation facts to ask for, two questions each; a fixed sample.
      seed: of the sample and of the halves.
      console: to show progress on.

    Raises:
      DataError: the graph has too few validation facts, or the model finds too few of them.
    """
    from sklearn.linear_model import LogisticRegression  # here, since it takes a second and few predictions need it

    graph = predictor.graph
    facts = sample_triples(graph.valid, max_facts, seed)
    questions = sorted({question for h, r, t in facts.tolist() for question in ((h, r, -1), (-1, r, t))})
    scores, found, question = _candidates(predictor, questions, console)
    half = np.random.default_rng(seed).permutation(len(questions)) % 2 == 0
    fitted = half[question]
    fewest = min(found[fitted].sum(), found[~fitted].sum())
    if fewest < FEWEST_FOUND:
        raise DataError(
            f"{graph.name}: among the {CANDIDATES} best answers to questions from the validation split only {found.sum()} are "
            f"right; probabilities need {2 * FEWEST_FOUND} or more. Use scores, for ranking."
        )
    curve = LogisticRegression(C=np.inf).fit(_log_odds(scores[fitted])[:, None], found[fitted])
    slope, intercept = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    if slope <= 0:
        raise DataError(f"{graph.name}: held-out facts score no higher than others; such scores cannot become probabilities.")
    checked = expit(slope * _log_odds(scores[~fitted]) + intercept)
    return Calibration(
        slope=slope,
        intercept=intercept,
        graph=graph.name,
        fingerprint=graph.fingerprint,
        checkpoint=predictor.checkpoint,
        questions=int(half.sum()),
        reliability=Reliability.of(checked, found[~fitted]),
    )


def _candidates(
    predictor: "GraphPredictor", questions: list[tuple[int, int, int]], console: rich.console.Console | None
) -> tuple[Array, Array, Array]:
    """The best candidates of each question with the validation facts hidden: score, whether it is one of these, question."""
    graph = predictor.graph
    hidden = predictor.hiding("valid")
    entities, relations = graph.entities, graph.relations

    def name(names: tuple[str, ...], position: int) -> str | None:
        return None if position < 0 else names[position]

    asked = [Query(name(entities, h), name(relations, r), name(entities, t)) for h, r, t in questions]
    predictions = hidden.answer(asked, CANDIDATES, "drop", console=console)
    held_out = {(entities[h], relations[r], entities[t]) for h, r, t in graph.valid.tolist()}
    named = zip(predictions.head, predictions.relation, predictions.tail, strict=True)
    return predictions.score, np.array([fact in held_out for fact in named], bool), predictions.query


def _log_odds(scores: Array) -> Array:
    """Log-odds of the share whose logarithm a score is; a candidate that has all of it stays finite."""
    scores = np.minimum(scores, -1e-6)
    return scores - np.log1p(-np.exp(scores))
