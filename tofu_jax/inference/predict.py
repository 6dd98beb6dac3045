"""Predictions on one graph: answers to questions, relations between two entities, and the best new facts of all."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import rich.console

from tofu_jax.errors import DataError
from tofu_jax.evaluation.ranking import Scorer
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.inference.asking import SPLITS, Asker, Counter, counted
from tofu_jax.inference.best import best, ranks_of_sorted
from tofu_jax.inference.calibration import Calibration
from tofu_jax.inference.names import Names
from tofu_jax.inference.new_facts import BestFacts, add_new_facts, num_queries
from tofu_jax.inference.predictions import Predictions
from tofu_jax.inference.queries import Query
from tofu_jax.shapes import Array, inverse_relation

Known = Literal["mark", "drop"]
Messages = Literal["train", "all"]


def message_graph(graph: KnowledgeGraph, messages: Messages) -> KnowledgeGraph:
    """The graph that the model sees.

    Args:
      graph: to ask about.
      messages: "train" for its training facts, as in an evaluation, so that held-out facts stay something to predict; "all"
        for the facts of all splits, which is what a graph in use should be asked with.

    Raises:
      DataError: another word.
    """
    if messages == "train":
        return graph
    if messages != "all":
        raise DataError(f"messages is {messages!r}; choose 'train' or 'all'.")
    facts = np.concatenate([graph.train, graph.valid, graph.test])
    facts = facts[np.sort(np.unique(fact_keys(facts), return_index=True)[1])]
    none = np.zeros((0, 3), np.int32)
    return dataclasses.replace(graph, train=facts, valid=none, test=none)


class GraphPredictor:
    """Answers questions about one graph; made by `Pretrained.predictor`.

    Attributes:
      graph: that is asked about.
      scorer: of its `message_graph`.
      checkpoint: what scores.
      messages: what it sees, "train" or "all".
      entities, relations: find positions in the graph by id or label.
    """

    def __init__(self, graph: KnowledgeGraph, scorer: Scorer, checkpoint: str, messages: Messages = "train"):
        """Indexes names and known facts.

        Args:
          graph: to ask about.
          scorer: of its `message_graph`.
          checkpoint: what scores, for the results.
          messages: what the scorer sees, for the results.
        """
        self.graph, self.checkpoint, self.messages = graph, checkpoint, messages
        self.scorer = scorer
        self._asker = Asker(graph, scorer)
        self.entities = Names("entity", graph.name, graph.entities, graph.labels)
        self.relations = Names("relation", graph.name, graph.relations, graph.relation_labels)
        self._entity_order, self._relation_order = _order_of(graph.entities), _order_of(graph.relations)

    def hiding(self, split: str) -> "GraphPredictor":
        """The same predictor, to which the facts of a held-out split are not known: they compete like any others."""
        graph = dataclasses.replace(self.graph, **{split: np.zeros((0, 3), np.int32)})
        return GraphPredictor(graph, self.scorer, self.checkpoint, self.messages)

    def answer(
        self,
        queries: Sequence[Query],
        k: int = 10,
        known: Known = "mark",
        calibration: Calibration | None = None,
        console: rich.console.Console | None = None,
    ) -> Predictions:
        """The k best answers to each question.

        Args:
          queries: each with one part left open; asking for a relation costs as many scorings as there are relations.
          k: answers to a question.
          known: "mark" lists answers that the graph holds among the others and says in which split; "drop" leaves them out,
            and ranks count what is left.
          calibration: adds probabilities to heads and tails that are not known.
          console: to show progress on.

        Raises:
          DataError: a name is unknown or ambiguous, a question has not exactly one open part, or an option is none.
          ScoreError: the model gave scores that are not finite.
        """
        if k < 1 or known not in ("mark", "drop"):
            raise DataError(f"k is {k} and known {known!r}; k must be at least 1, and known 'mark' or 'drop'.")
        if calibration is not None:
            calibration.check(self.graph, self.checkpoint, self.messages)
        asked = np.array([query.asked for query in queries], object)
        ids = np.array([self._ids_of(query) for query in queries], np.int32).reshape(-1, 3)
        of_relations = np.flatnonzero(asked == "relation")
        of_entities = np.flatnonzero(asked != "relation")
        total = len(of_entities) + len(of_relations) * self.graph.num_relations
        found: list[tuple[Array, ...]] = [()] * len(queries)
        with counted(f"asking {self.graph.name}", total, console) as counter:
            for query, scores, splits in self._entity_scores(ids, asked, of_entities, counter):
                found[query] = self._select(scores, splits, self._entity_order, k, known)
            for query, scores, splits in self._relation_scores(ids, of_relations, counter):
                found[query] = self._select(scores, splits, self._relation_order, k, known)
        return self._table(ids, asked, found, calibration)

    def best_facts(
        self,
        k: int = 100,
        relations: Sequence[str] | None = None,
        heads: Sequence[str] | None = None,
        console: rich.console.Console | None = None,
    ) -> Predictions:
        """The k best facts that the graph does not hold; see `Pretrained.predict_all`."""
        if k < 1:
            raise DataError(f"k is {k}; give at least 1.")
        chosen = _positions(self.relations, relations, len(self.graph.relations)).tolist()
        from_heads = _positions(self.entities, heads, self.graph.num_entities)
        kept = BestFacts(k, self._entity_order, self._relation_order)
        most = num_queries(self.graph.num_entities, len(from_heads))
        with counted(f"all facts of {self.graph.name}", len(chosen) * most, console) as counter:
            for number, relation in enumerate(chosen, start=1):
                add_new_facts(kept, self._asker, from_heads, relation, counter)
                counter.reach(number * most)
        facts, scores = kept.result()
        return Predictions.of_facts(
            self.graph,
            facts,
            checkpoint=self.checkpoint,
            messages=self.messages,
            query=np.zeros(len(facts), np.int32),
            asked=("fact",) * len(facts),
            score=scores,
            rank=ranks_of_sorted(scores),
            known=("",) * len(facts),
        )

    def check(self, query: Query) -> None:
        """Raises the `DataError` that `answer` would raise of a question: an unknown name, or not exactly one open part."""
        query.asked  # noqa: B018, it raises
        self._ids_of(query)

    def _ids_of(self, query: Query) -> tuple[int, int, int]:
        """Ids of a question, -1 for its open part."""
        try:
            return (
                -1 if query.head is None else self.entities.position(query.head),
                -1 if query.relation is None else self.relations.position(query.relation),
                -1 if query.tail is None else self.entities.position(query.tail),
            )
        except DataError as error:
            if not query.source:
                raise
            raise DataError(f"{query.source}: {error}") from None

    def _entity_scores(self, ids: Array, asked: Array, which: Array, counter: Counter) -> Iterator[tuple[int, Array, Array]]:
        """(question, scores [N], splits [N]) of questions for heads and tails."""
        head, relation, tail = ids[which].T
        backward = asked[which] == "head"
        queries = np.stack(
            [
                np.where(backward, tail, head),
                np.where(backward, inverse_relation(relation, self.graph.num_relations), relation),
            ],
            axis=1,
        )
        for row, scores, splits in self._asker.ask(queries, counter):
            yield int(which[row]), scores, splits

    def _relation_scores(self, ids: Array, which: Array, counter: Counter) -> Iterator[tuple[int, Array, Array]]:
        """(question, scores [R/2], splits [R/2]) of questions for relations: the score of the fact with each relation."""
        count = len(self.graph.relations)
        scores, splits = np.zeros((len(which), count)), np.zeros((len(which), count), np.uint8)
        for given, other, first in ((0, 2, 0), (2, 0, count)):  # from the head, then from the tail
            relations = np.repeat(np.arange(first, first + count), len(which))
            queries = np.stack([np.tile(ids[which, given], count), relations], axis=1)
            for row, row_scores, row_splits in self._asker.ask(queries, counter):
                relation, pair = divmod(row, len(which))
                answer = ids[which[pair], other]
                scores[pair, relation] += row_scores[answer]
                splits[pair, relation] = row_splits[answer]
        for pair, query in enumerate(which.tolist()):
            yield query, scores[pair], splits[pair]

    def _select(self, scores: Array, splits: Array, tie_order: Array, k: int, known: Known) -> tuple[Array, ...]:
        """(candidates, scores, ranks, split codes) of the k best."""
        allowed = splits == 0 if known == "drop" else np.ones(len(splits), bool)
        chosen, ranks = best(scores, tie_order, k, allowed)
        return chosen, scores[chosen], ranks, splits[chosen]

    def _table(self, ids: Array, asked: Array, found: list[tuple[Array, ...]], calibration: Calibration | None) -> Predictions:
        counts = np.array([len(candidates) for candidates, *_ in found], np.int64)
        query = np.repeat(np.arange(len(found), dtype=np.int32), counts)
        candidates, score, rank, splits = (
            np.concatenate([np.zeros(0, dtype), *(columns[i] for columns in found)])
            for i, dtype in enumerate((np.int64, np.float64, np.int64, np.uint8))
        )
        facts = ids[query]
        part = np.array([("head", "relation", "tail").index(name) for name in asked], np.int64)[query]
        facts[np.arange(len(facts)), part] = candidates
        probability = None
        if calibration is not None:
            probability = np.where((splits == 0) & (part != 1), calibration.probabilities(score), np.nan)
        return Predictions.of_facts(
            self.graph,
            facts,
            checkpoint=self.checkpoint,
            messages=self.messages,
            query=query,
            asked=tuple(asked[query]),
            score=score,
            rank=rank,
            known=tuple(SPLITS[code] for code in splits),
            probability=probability,
        )


def _order_of(names: Sequence[str]) -> Array:
    """Place int64 [n] of each name in the alphabet."""
    order = np.empty(len(names), np.int64)
    order[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return order


def _positions(names: Names, chosen: Sequence[str] | None, count: int) -> Array:
    """Positions int64 of the chosen names, each once; of all where none is chosen."""
    if chosen is None:
        return np.arange(count)
    return np.array(list(dict.fromkeys(names.position(name) for name in chosen)), np.int64)
