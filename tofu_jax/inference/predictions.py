"""Predicted facts as a table: for the terminal, for Python, and as CSV, JSON and Parquet."""

import csv
import dataclasses
import functools
import io
import json
import math
import os
import pathlib
from typing import TYPE_CHECKING, Any, Self

import pyarrow
import pyarrow.parquet
import rich.console

from tofu_jax.files import write_whole
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.inference.prediction_tables import render
from tofu_jax.shapes import Array

if TYPE_CHECKING:
    import pandas as pd

NOTE = "Scores order the answers to a question: higher is likelier. They are not probabilities."


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Rows of predicted facts: the answers to each question from the best on, one question after the other.

    Attributes:
      graph: name of the graph.
      checkpoint: what predicted.
      messages: which known facts the model saw, "train" or "all".
      query: int32 [n] number of the question that a row answers, from 0 on.
      asked: [n] the part of the fact that was asked for: "head", "relation", "tail", or "fact" where nothing was given.
      head, relation, tail: [n] ids.
      head_label, relation_label, tail_label: [n] names for people.
      score: float64 [n], higher is likelier; for ranking only. Of a head or a tail: see `inference.asking`. Where the relation
        or everything was asked for: the sum of the scores of head and tail.
      rank: int64 [n] 1 + the candidates of the question that score higher; equal scores share a rank.
      known: [n] the split in which the fact stands ("train", "valid", "test"), "" where the graph does not hold it.
      probability: float64 [n] from a calibration (`inference.calibration`), NaN where it says nothing; None without one.
    """

    graph: str
    checkpoint: str
    messages: str
    query: Array
    asked: tuple[str, ...]
    head: tuple[str, ...]
    relation: tuple[str, ...]
    tail: tuple[str, ...]
    head_label: tuple[str, ...]
    relation_label: tuple[str, ...]
    tail_label: tuple[str, ...]
    score: Array
    rank: Array
    known: tuple[str, ...]
    probability: Array | None = None

    @classmethod
    def of_facts(cls, graph: KnowledgeGraph, facts: Array, **columns: Any) -> Self:
        """Puts names to facts.

        Args:
          graph: that the ids belong to.
          facts: int32 [n, 3] (head, relation, tail).
          columns: the attributes that are not names.
        """
        head, relation, tail = facts.T.tolist()
        return cls(
            graph=graph.name,
            head=tuple(graph.entities[i] for i in head),
            relation=tuple(graph.relations[i] for i in relation),
            tail=tuple(graph.entities[i] for i in tail),
            head_label=tuple(graph.labels[i] for i in head),
            relation_label=tuple(graph.relation_labels[i] for i in relation),
            tail_label=tuple(graph.labels[i] for i in tail),
            **columns,
        )

    def __len__(self) -> int:
        return len(self.asked)

    @functools.cached_property
    def columns(self) -> dict[str, list]:
        """Name → values, as they stand in files; plain Python values, None for a probability that is not there."""
        names = ["query", "asked", "rank", "head", "head_label", "relation", "relation_label", "tail", "tail_label", "score"]
        columns = {name: list(getattr(self, name)) for name in (*names, "known")}
        for name in ("query", "rank", "score"):
            columns[name] = getattr(self, name).tolist()
        if self.probability is not None:
            columns["probability"] = [None if math.isnan(value) else value for value in self.probability.tolist()]
        return columns

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes UTF-8 CSV (RFC 4180) with a line of headings."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(self.columns)
        writer.writerows(zip(*self.columns.values(), strict=True))
        write_whole(pathlib.Path(path), text.getvalue().encode())

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes one object: where the predictions come from, and "predictions", a list of objects."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]
        content = json.dumps(self._origin | {"predictions": rows}, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(pathlib.Path(path), (content + "\n").encode())

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Writes Parquet; where the predictions come from stands in the metadata of its schema."""
        content = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(self._arrow().replace_schema_metadata(self._origin), content)
        write_whole(pathlib.Path(path), content.getvalue().to_pybytes())

    def to_pandas(self) -> "pd.DataFrame":
        """The columns as a `pandas.DataFrame`."""
        return self._arrow().to_pandas()

    @property
    def _origin(self) -> dict[str, str]:
        return {"graph": self.graph, "checkpoint": self.checkpoint, "messages": self.messages, "note": NOTE}

    def _arrow(self) -> pyarrow.Table:
        types = {"query": pyarrow.int32(), "rank": pyarrow.int64(), "score": pyarrow.float64()}
        types["probability"] = pyarrow.float64()
        schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in self.columns])
        return pyarrow.table(self.columns, schema)

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions):
        yield from render(self)
        yield NOTE

    def __str__(self) -> str:
        console = rich.console.Console(width=100, file=io.StringIO(), color_system=None)
        console.print(self)
        return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().split("\n"))

    __repr__ = __str__
