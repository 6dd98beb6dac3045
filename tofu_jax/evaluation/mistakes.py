"""The worst mistakes of a scorer, with names: where the right answer stood, and what was put in its place."""

import typing

import numpy as np

from tofu_jax.evaluation.ranking import Ranks, Scorer, checked_scores, queries_of
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.shapes import Array

MOST = 20
INSTEAD = 3  # candidates that are named for each


def worst_mistakes(
    scorer: Scorer, graph: KnowledgeGraph, triples: Array, ranks: Ranks, known: KnownAnswers
) -> list[dict[str, typing.Any]]:
    """The queries whose answer ranked lowest, each asked once more.

    Args:
      scorer: that gave the ranks.
      graph: of the queries.
      triples: int32 [n, 3] that were ranked.
      ranks: of the 2·n queries of `queries_of`.
      known: answers that did not compete.

    Returns:
      At most MOST queries whose answer did not rank first, worst first: "head", "relation" and "tail" of the fact ("id" and
      "label" each), "asked" ("tail" or "head"), "rank" (realistic) and "instead": the best other candidates.
    """
    queries, answers = queries_of(triples, graph.num_relations)
    rank = ranks.realistic
    # Ties by name, so that the order does not depend on how things are numbered.
    names = [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in triples.tolist()] * 2
    order = sorted(np.flatnonzero(rank > 1).tolist(), key=lambda i: (-rank[i], names[i], i))[:MOST]
    mistakes = []
    for i in order:
        scores = checked_scores(scorer, queries[i : i + 1], graph)[0].astype(np.float64)
        scores[known.answers(queries[i : i + 1])[1]] = -np.inf
        scores[answers[i]] = -np.inf
        best = [position for position in np.argsort(-scores, kind="stable")[:INSTEAD].tolist() if np.isfinite(scores[position])]
        head, relation, tail = triples[i % len(triples)].tolist()
        mistakes.append(
            {
                "head": _named(graph, head),
                "relation": {"id": graph.relations[relation], "label": graph.relation_labels[relation]},
                "tail": _named(graph, tail),
                "asked": "tail" if i < len(triples) else "head",
                "rank": float(rank[i]),
                "instead": [_named(graph, position) for position in best],
            }
        )
    return mistakes


def _named(graph: KnowledgeGraph, entity: int) -> dict[str, str]:
    return {"id": graph.entities[entity], "label": graph.labels[entity]}
