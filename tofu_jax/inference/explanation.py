"""An explanation of one prediction as people read it: words for the terminal, JSON, and a drawing (`inference.drawing`)."""

import dataclasses
import io
import json
import os
import pathlib
from typing import Any, NamedTuple

import rich.box
import rich.console
import rich.table
import rich.text

from tofu_jax.files import write_whole
from tofu_jax.inference.prediction_tables import printable

NOTE = (
    "Weights are gradients: how fast the score grows with the strength of a message. They show what the model used, not why "
    "something is true. Scores are logarithms of shares among the candidates."
)


class Name(NamedTuple):
    """Of an entity or a relation: its id in the source, and its name for people."""

    id: str
    label: str


class Step(NamedTuple):
    """A fact as a path takes it, or a mention.

    Attributes:
      sender, receiver: entities, in the order of the path.
      relation: between them; of a mention "text names", without an id.
      forward: whether it reads (sender, relation, receiver); else (receiver, relation, sender).
      weight: ∂score/∂weight of the message, at the layer where the path takes it.
    """

    sender: Name
    receiver: Name
    relation: Name
    forward: bool
    weight: float

    def __str__(self) -> str:
        relation = printable(self.relation.label)
        arrow = f"—{relation}→" if self.forward else f"←{relation}—"
        return f"{arrow} {printable(self.receiver.label)}"


class Standing(NamedTuple):
    """How the tail does under some circumstance.

    Attributes:
      name: of the circumstance.
      score: logarithm of the tail's share among itself and the candidates that are not known to be answers.
      rank: 1 + those of them that score higher.
    """

    name: str
    score: float
    rank: int


class ExplainedPath(NamedTuple):
    """A path from head to tail, and how the tail does once all facts of the path are removed."""

    steps: tuple[Step, ...]
    without: Standing

    @property
    def weight(self) -> float:
        """Mean weight of its steps."""
        return sum(step.weight for step in self.steps) / len(self.steps)

    def __str__(self) -> str:
        return " ".join([printable(self.steps[0].sender.label), *map(str, self.steps)])


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why a tail stands where it does as the answer to (head, relation, ?).

    Attributes:
      graph: name of the graph.
      checkpoint: what predicted.
      messages: which known facts the model saw, "train" or "all".
      head, relation, tail: of the fact.
      known: the split in which the fact stands, "" where the graph does not hold it.
      hidden: whether the fact stands among the messages and was hidden, so that it cannot explain itself.
      layers: L: the most facts of a path.
      candidates: the tail and all entities that are not known to be answers.
      standings: with everything first, then with texts or images masked.
      parts: what the tail's score is the sum of, each compared with the mean over all entities: "paths", "content" (similarity
        of texts and images with the head's and with those of known answers), "frequency" (how often the tail is an answer).
      paths: strongest first.
    """

    graph: str
    checkpoint: str
    messages: str
    head: Name
    relation: Name
    tail: Name
    known: str
    hidden: bool
    layers: int
    candidates: int
    standings: tuple[Standing, ...]
    parts: dict[str, float]
    paths: tuple[ExplainedPath, ...]

    @property
    def question(self) -> str:
        """The fact on one line, with labels."""
        return f"{printable(self.head.label)} —{printable(self.relation.label)}→ {printable(self.tail.label)}"

    @property
    def verdict(self) -> str:
        """One line: where the tail stands."""
        first = self.standings[0]
        known = f"; the graph holds this fact ({self.known})" if self.known else ""
        hidden = ", hidden from the model here" if self.hidden else ""
        return f"rank {first.rank:,} of {self.candidates:,}, score {first.score:.2f}{known}{hidden}"

    @property
    def no_path(self) -> str:
        """What to say where no path was found, "" else."""
        if self.paths:
            return ""
        ends = f"from {printable(self.head.label)} to {printable(self.tail.label)}"
        return (
            f"No path of at most {self.layers} facts leads {ends}: the score comes from content alone, and from how often the "
            "tail is an answer."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        values = dataclasses.asdict(self)
        for name in ("head", "relation", "tail"):
            values[name] = getattr(self, name)._asdict()
        values["standings"] = [standing._asdict() for standing in self.standings]
        values["paths"] = [
            {
                "text": str(path),
                "weight": path.weight,
                "steps": [_plain_step(step) for step in path.steps],
                "without": {"score": path.without.score, "rank": path.without.rank},
            }
            for path in self.paths
        ]
        return values | {"note": self.no_path or NOTE}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_dict`."""
        content = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(pathlib.Path(path), content.encode())

    def to_png(self, path: str | os.PathLike[str]) -> None:
        """Draws the paths."""
        self._draw(path, "png")

    def to_svg(self, path: str | os.PathLike[str]) -> None:
        """Draws the paths."""
        self._draw(path, "svg")

    def _draw(self, path: str | os.PathLike[str], kind: str) -> None:
        from tofu_jax.inference.drawing import draw  # here, since few explanations need a picture

        write_whole(pathlib.Path(path), draw(self, kind))

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions):
        yield rich.text.Text(self.question, style="bold")
        yield rich.text.Text(self.verdict)
        if self.paths:
            yield self._table_of_paths()
        else:
            yield rich.text.Text(self.no_path)
        yield self._table_of_standings()
        parts = ", ".join(f"{name} {value:+.2f}" for name, value in self.parts.items())
        yield rich.text.Text(f"The score compared with the mean entity's: {parts}.")
        yield rich.text.Text(NOTE, style="dim")

    def _table_of_paths(self) -> rich.table.Table:
        title = "Strongest paths"
        table = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("weight", justify="right")
        table.add_column("path", overflow="fold")
        table.add_column("rank without", justify="right")
        table.add_column("score", justify="right")
        for path in self.paths:
            cells = (rich.text.Text(str(path)), f"{path.without.rank:,}", f"{path.without.score:.2f}")
            table.add_row(f"{path.weight:+.3f}", *cells)
        return table

    def _table_of_standings(self) -> rich.table.Table:
        title = "What the evidence is worth"
        table = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("the model sees")
        table.add_column("rank", justify="right")
        table.add_column("score", justify="right")
        for standing in self.standings:
            table.add_row(standing.name, f"{standing.rank:,}", f"{standing.score:.2f}")
        return table

    def __str__(self) -> str:
        console = rich.console.Console(width=100, file=io.StringIO(), color_system=None)
        console.print(self)
        return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().split("\n"))

    __repr__ = __str__


def _plain_step(step: Step) -> dict[str, Any]:
    """A step as a fact: head and tail as the graph holds it, whatever the direction of the path."""
    ends = (step.sender, step.receiver) if step.forward else (step.receiver, step.sender)
    names = zip(("head", "relation", "tail"), (ends[0], step.relation, ends[1]), strict=True)
    return {name: value._asdict() for name, value in names} | {"forward": step.forward, "weight": step.weight}
