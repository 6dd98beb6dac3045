"""Asks a scorer about one graph, with scores that can be compared between questions.

The model scores every entity for a question; a constant added to all of them changes nothing, for it was trained by softmax.
So a score here is the model's minus the log-sum-exp over all candidates that are not known to be answers: for those, the log of
their share. It orders answers; it is not a probability, see `inference.calibration`.

A question that makes no sense has an answer with a large share too. A fact is therefore scored from both ends: its tail, given
head and relation, plus its head, given relation and tail. Among the 50 best new facts of the elements (a checkpoint trained on
countries and emoji) 35 were held-out facts when scored from both ends, and none when scored from the head alone.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import rich.console

from tofu_jax.evaluation.ranking import Scorer, checked_scores
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.progress import Progress
from tofu_jax.shapes import Array

SPLITS = ("", "train", "valid", "test")  # by code; a fact of several splits counts for the first
_BATCH_MIB = 32  # bound on the scores of one batch
_MOST_QUERIES = 64  # in a batch


class Counter:
    """Adds up the queries that are done, for a progress display where there is one."""

    def __init__(self, progress: Progress | None = None):
        self._progress, self._done = progress, 0

    def add(self, done: int) -> None:
        """So many more are done."""
        self.reach(self._done + done)

    def reach(self, done: int) -> None:
        """So many are done in all."""
        if self._progress is not None and done > self._done:
            self._progress.update(done)
        self._done = done


@contextlib.contextmanager
def counted(what: str, total: int, console: rich.console.Console | None) -> Iterator[Counter]:
    """Shows on a console how many of `total` queries are done, with the time left; not where one batch is all."""
    if console is None or total <= _MOST_QUERIES:
        yield Counter()
    else:
        with Progress(what, total, console) as progress:
            yield Counter(progress)


class Asker:
    """A scorer of one graph, and what the graph knows."""

    def __init__(self, graph: KnowledgeGraph, scorer: Scorer):
        """Indexes the known facts of each split."""
        self.graph, self.scorer = graph, scorer
        self._known = [KnownAnswers.of_graph(graph, (split,)) for split in SPLITS[1:]]

    def ask(self, queries: Array, counter: Counter) -> Iterator[tuple[int, Array, Array]]:
        """Scores all entities as answers, in batches of bounded memory.

        Args:
          queries: int [n, 2] (head, relation), inverses included.
          counter: told after each batch.

        Yields:
          row of `queries` (in the order of relations), scores float64 [N], and the split of each answer as its code in SPLITS,
          uint8 [N].

        Raises:
          ScoreError: the scorer gave scores that are not finite.
        """
        queries = queries.astype(np.int32)
        order = np.argsort(queries[:, 1], kind="stable")
        size = max(1, min(_MOST_QUERIES, int(_BATCH_MIB * 2**20 / (8 * self.graph.num_entities))))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            batch = checked_scores(self.scorer, queries[rows], self.graph)
            for row, scores in zip(rows.tolist(), batch, strict=True):
                splits = self._splits(queries[row])
                yield row, comparable(scores.astype(np.float64), splits == 0), splits
            counter.add(len(rows))

    def _splits(self, query: Array) -> Array:
        """Code of the split in which each answer stands, uint8 [N], 0 where it is not known."""
        splits = np.zeros(self.graph.num_entities, np.uint8)
        for code in range(len(self._known), 0, -1):
            splits[self._known[code - 1].answers(query[None])[1]] = code
        return splits


def comparable(scores: Array, unknown: Array) -> Array:
    """Scores float64 [N] of one query minus the log-sum-exp over the unknown candidates (over all, if none is unknown)."""
    competing = scores[unknown] if unknown.any() else scores
    highest = competing.max()
    return scores - (highest + np.log(np.exp(competing - highest).sum()))
