"""Where does the right answer stand? Filtered ranks, three ways to count ties, and the metrics made of them.

Everything that ranks is a `Scorer`: the model, the baselines, the fakes in the tests.
"""

import collections.abc
import dataclasses
import random
import typing

import numpy as np

from tofu_jax.errors import DataError, TofuError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, directed
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.shapes import Array, inverse_relation

Policy = typing.Literal["realistic", "optimistic", "pessimistic"]
POLICIES: tuple[Policy, ...] = ("realistic", "optimistic", "pessimistic")
HITS = (1, 3, 10)


class ScoreError(TofuError):
    """A scorer returned something that cannot be ranked: names the query."""


class Scorer(typing.Protocol):
    """Scores every entity of one graph as the answer to each query; higher is better.

    The score of a query must not depend on the queries beside it in the batch: each distinct query is scored once,
    however many answers it has. Batches come sorted by relation, and the last one may be shorter.
    """

    def __call__(self, queries: Array, /) -> Array:
        """Scores float [B, N] of queries int32 [B, 2], (head, relation) with relation in 0..R-1, inverses included."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """Rank of the right answer of each query, 1 is best; only ties make the two bounds differ.

    Attributes:
      optimistic: int64 [n] 1 + the candidates that score higher.
      pessimistic: int64 [n] the candidates that score at least as high, the answer included.
    """

    optimistic: Array
    pessimistic: Array

    @property
    def realistic(self) -> Array:
        """float64 [n] mean of the two bounds: the expected rank if ties fall at random (PyKEEN's convention)."""
        return (self.optimistic + self.pessimistic) / 2

    def take(self, selection: Array) -> "Ranks":
        """Ranks of some queries; `selection` is bool [n] or positions."""
        return Ranks(self.optimistic[selection], self.pessimistic[selection])

    def metrics(self, policy: Policy = "realistic") -> dict[str, float]:
        """Means over the queries under one tie policy.

        MRR is the mean of 1/rank and Hits@k the share of ranks <= k, also where a realistic rank is not whole
        (Berrendorf et al. 2020, arXiv:2002.06914, and PyKEEN).

        Returns:
          "mrr", "hits@1", "hits@3", "hits@10" in 0..1 and "mean_rank" in 1..N.

        Raises:
          DataError: there are no queries, so there is no mean.
        """
        ranks = getattr(self, policy)
        if not len(ranks):
            raise DataError("There are no queries to take metrics of; choose a split that is not empty.")
        hits = {f"hits@{k}": float(np.mean(ranks <= k)) for k in HITS}
        return {"mrr": float(np.mean(1 / ranks)), **hits, "mean_rank": float(np.mean(ranks))}


def queries_of(triples: Array, num_relations: int) -> tuple[Array, Array]:
    """The two queries of each triple: first all tail queries (h, r, ?), then all head queries (t, r + R/2, ?).

    Args:
      triples: int32 [n, 3] (head, relation, tail).
      num_relations: R, inverses included.

    Returns:
      queries: int32 [2·n, 2] (head, relation); rows i and i + n come from triple i.
      answers: int32 [2·n].
    """
    heads, relations, tails = directed(triples, num_relations)
    return np.stack([heads, relations], axis=1), tails


def sample_triples(triples: Array, max_triples: int | None, seed: int) -> Array:
    """A random part of a split; for one seed a smaller sample is the beginning of a larger one.

    The order is `random.Random(seed).sample(range(n), n)` over the lines, which other tools can reproduce.

    Args:
      triples: [n, 3].
      max_triples: how many to keep; None or more than n keeps all.
      seed: of the order.

    Returns:
      [min(n, max_triples), 3].

    Raises:
      DataError: `max_triples` is below 1.
    """
    if max_triples is not None and max_triples < 1:
        raise DataError(f"max_triples is {max_triples}; give at least 1, or None for the whole split.")
    order = random.Random(seed).sample(range(len(triples)), len(triples))  # noqa: S311 (a sample, not a secret)
    return triples[np.array(order[:max_triples], dtype=np.int64)]


def half_links(graph: KnowledgeGraph, queries: Array, answers: Array) -> Array:
    """Whether the right answer already has an edge of the query relation, on the answer's side, in the message graph.

    For a tail query: the answer is the tail of some training fact of the relation; for a head query: the head of one.
    Where it has none, only other relations, texts and images can tell that it is a candidate at all.

    Args:
      graph: whose training facts are the message graph.
      queries: int32 [n, 2] (head, relation).
      answers: int32 [n].

    Returns:
      bool [n].
    """
    _, relations, receivers = (column.astype(np.int64) for column in graph.edges)
    present = np.unique(relations * graph.num_entities + receivers)
    return np.isin(queries[:, 1].astype(np.int64) * graph.num_entities + answers, present)


def rank_queries(
    scorer: Scorer,
    graph: KnowledgeGraph,
    triples: Array,
    batch_size: int,
    known: KnownAnswers | None = None,
    on_batch: collections.abc.Callable[[int, int], None] | None = None,
) -> Ranks:
    """Filtered ranks of the right answers among all entities, for both sides of each triple.

    Other known answers are removed from the ranking, the right answer never. Distinct queries are scored once, sorted
    by relation, because the model shares work between queries of a relation.

    Args:
      scorer: returns float [B, N].
      graph: N candidates; names for error messages.
      triples: int32 [n, 3] to evaluate.
      batch_size: B, most queries in a call of `scorer`.
      known: answers to remove; by default those in any split of the graph.
      on_batch: called with (ranks done, 2·n) after each batch.

    Returns:
      Ranks of the 2·n queries in the order of `queries_of`.

    Raises:
      ScoreError: scores that are not finite, not real numbers, or not [B, N].
      DataError: `triples` or `batch_size` cannot be used.
    """
    _check_request(graph, triples, batch_size)
    known = KnownAnswers.of_graph(graph) if known is None else known
    queries, answers = queries_of(triples, graph.num_relations)
    relation_first = queries[:, 1].astype(np.int64) * graph.num_entities + queries[:, 0]
    keys, distinct_of = np.unique(relation_first, return_inverse=True)
    distinct = np.stack([keys % graph.num_entities, keys // graph.num_entities], axis=1).astype(np.int32)
    order = np.argsort(distinct_of, kind="stable")
    ends = np.cumsum(np.bincount(distinct_of, minlength=len(distinct)))
    ranks = Ranks(np.zeros(len(queries), dtype=np.int64), np.zeros(len(queries), dtype=np.int64))
    done = 0
    for start in range(0, len(distinct), batch_size):
        batch = distinct[start : start + batch_size]
        scores = checked_scores(scorer, batch, graph)
        end = int(ends[start + len(batch) - 1])
        # A frequent query can have thousands of answers: in slices, so that memory stays that of one batch.
        for members in np.array_split(order[done:end], -(-(end - done) // batch_size)):
            rows = distinct_of[members] - start
            higher, equal = _count_higher_and_equal(scores, rows, answers[members], known.answers(queries[members]))
            ranks.optimistic[members] = higher + 1
            ranks.pessimistic[members] = higher + equal
        done = end
        if on_batch is not None:
            on_batch(done, len(queries))
    return ranks


def _count_higher_and_equal(scores: Array, rows: Array, answers: Array, known: tuple[Array, Array]) -> tuple[Array, Array]:
    """Candidates above and level with each answer (itself included), known answers other than it left out.

    Args:
      scores: float [B, N].
      rows: [n] row of `scores` for each answer.
      answers: [n].
      known: coordinates (position in `answers`, entity) to leave out.

    Returns:
      higher, equal: int64 [n] each.
    """
    targets = scores[rows, answers]
    higher, equal = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    # Row by row: twice as fast as one [n, N] comparison, whose sum over an axis of booleans is slow.
    for position, (row, target) in enumerate(zip(rows, targets, strict=True)):
        higher[position] = np.count_nonzero(scores[row] > target)
        equal[position] = np.count_nonzero(scores[row] == target)
    positions, entities = known
    others = entities != answers[positions]
    positions, entities = positions[others], entities[others]
    known_scores = scores[rows[positions], entities]
    higher -= np.bincount(positions[known_scores > targets[positions]], minlength=len(rows))
    equal -= np.bincount(positions[known_scores == targets[positions]], minlength=len(rows))
    return higher, equal


def checked_scores(scorer: Scorer, queries: Array, graph: KnowledgeGraph) -> Array:
    """Scores of one batch, refused unless finite and [B, N]: a NaN compares as lower and would seem to rank first."""
    scores = np.asarray(scorer(queries))
    expected = (len(queries), graph.num_entities)
    if scores.shape != expected:
        raise ScoreError(
            f"{graph.name}: the scorer returned shape {scores.shape} instead of {expected} for the {len(queries)} "
            f"queries from {_describe(queries[0], graph)} on; return one score for each query and entity."
        )
    if scores.dtype.kind != "f":  # bfloat16 from JAX is none of NumPy's own kinds
        if scores.dtype.kind in "cOSU":
            raise ScoreError(
                f"{graph.name}: the scores of query {_describe(queries[0], graph)} are {scores.dtype}; return real numbers."
            )
        scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        row, entity = np.argwhere(~np.isfinite(scores))[0]
        raise ScoreError(
            f"{graph.name}: the score of entity {graph.entities[entity]!r} for query {_describe(queries[row], graph)} "
            f"is {scores[row, entity]}; a score that is not finite has no rank. Look for such values in the checkpoint."
        )
    return scores


def _describe(query: Array, graph: KnowledgeGraph) -> str:
    """A query in the ids of the source: (head, relation, ?) or (?, relation, tail)."""
    entity, relation = graph.entities[query[0]], int(query[1])
    if relation < len(graph.relations):
        return f"({entity!r}, {graph.relations[relation]!r}, ?)"
    return f"(?, {graph.relations[inverse_relation(relation, graph.num_relations)]!r}, {entity!r})"


def _check_request(graph: KnowledgeGraph, triples: Array, batch_size: int) -> None:
    """Refuses what would end in an index error or an empty mean."""
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; give at least 1.")
    if triples.ndim != 2 or triples.shape[1] != 3 or not len(triples):
        raise DataError(f"{graph.name}: triples to evaluate must be [n, 3] with n > 0, got {triples.shape}.")
    limit = np.array([graph.num_entities, len(graph.relations), graph.num_entities])
    if ((triples < 0) | (triples >= limit)).any():
        raise DataError(f"{graph.name}: triples to evaluate hold ids that the graph does not have.")
