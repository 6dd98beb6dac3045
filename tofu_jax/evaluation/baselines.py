"""Scorers that learn nothing, to stand beside the model; each sees the message graph (`graph.train`) only."""

import numpy as np
import scipy.sparse

from tofu_jax.errors import DataError
from tofu_jax.evaluation.ranking import Scorer
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array


class RandomScorer:
    """A fresh random order of the entities for each query: the floor, with an expected MRR of H(N)/N."""

    def __init__(self, graph: KnowledgeGraph, seed: int = 0) -> None:
        """Args: graph, whose N entities are scored; seed, of all orders."""
        self._num_entities = graph.num_entities
        self._seed = seed

    def __call__(self, queries: Array, /) -> Array:
        """Scores float64 [B, N] in 0..1, a function of (seed, head, relation) alone."""
        # A generator for each query, so that a score does not depend on the rest of the batch.
        rows = [np.random.default_rng((self._seed, *map(int, query))).random(self._num_entities) for query in queries]
        return np.stack(rows)


class DegreePrior:
    """How often an entity answers the relation, whatever the head; ties go to the entity with more edges."""

    def __init__(self, graph: KnowledgeGraph) -> None:
        """Counts the answers of each relation in `graph.train`."""
        senders, relations, receivers = graph.edges
        shape = (graph.num_relations, graph.num_entities)
        ones = np.ones(len(relations))
        self._answers = scipy.sparse.coo_array((ones, (relations, receivers)), shape=shape).tocsr()
        degree = np.bincount(senders, minlength=graph.num_entities)
        # Below 1, so that the degree decides between equal counts and never overrules a count.
        self._tie_break = degree / (degree.max() + 1)

    def __call__(self, queries: Array, /) -> Array:
        """Scores float64 [B, N]: training facts of the relation that the entity answers, plus a tie-break below 1."""
        return self._answers[queries[:, 1]].toarray() + self._tie_break


class PersonalizedPageRank:
    """How often a random walk that restarts at the head visits an entity; relations and directions are ignored.

    p ← damping · p·W + (1 - damping) · restart, with W the row-normalised counts of edges between two entities
    (Page et al. 1999, "The PageRank citation ranking"; Haveliwala 2002 for the restart at one topic).
    """

    def __init__(self, graph: KnowledgeGraph, damping: float = 0.85, iterations: int = 5) -> None:
        """Builds W from `graph.train`.

        Args:
          graph: walked over undirected; an entity without edges keeps its walkers.
          damping: chance to walk on rather than to restart, in 0..1.
          iterations: steps of the walk; entities further away than this score 0. The default is the strongest
            baseline rather than the converged walk: on MKG-W, FB15k-237, CoDEx-S and WN18RR 5 steps ranked better
            than 10 or 20, in half the time or less.

        Raises:
          DataError: damping or iterations out of range.
        """
        if not 0 <= damping < 1 or iterations < 1:
            raise DataError(f"PageRank needs 0 <= damping < 1 and iterations >= 1, got {damping} and {iterations}.")
        senders, _, receivers = graph.edges
        degree = np.bincount(senders, minlength=graph.num_entities)
        isolated = np.flatnonzero(degree == 0)
        rows, columns = np.concatenate([receivers, isolated]), np.concatenate([senders, isolated])
        weights = (1 / np.maximum(degree, 1))[columns].astype(np.float32)
        shape = (graph.num_entities, graph.num_entities)
        # Transposed, [to, from], so that a step is a sparse matrix times a dense [N, heads] block.
        self._steps = scipy.sparse.coo_array((weights, (rows, columns)), shape=shape).tocsr()
        self._damping = np.float32(damping)
        self._iterations = iterations

    def visits(self, heads: Array) -> Array:
        """Distribution of the walk after the last step.

        Args:
          heads: int [H] where each walk starts and restarts.

        Returns:
          float32 [H, N], rows sum to 1.
        """
        restart = np.zeros((self._steps.shape[0], len(heads)), dtype=np.float32)
        restart[heads, np.arange(len(heads))] = 1
        visits = restart
        for _ in range(self._iterations):
            visits = self._damping * (self._steps @ visits) + (1 - self._damping) * restart
        return visits.T

    def __call__(self, queries: Array, /) -> Array:
        """Scores float32 [B, N]: visits, but 0 for the head itself.

        The restarts would put the head first in every ranking, where it is almost never the answer.
        """
        heads, rows = np.unique(queries[:, 0], return_inverse=True)
        visits = self.visits(heads).copy()
        visits[np.arange(len(heads)), heads] = 0
        return visits[rows]


def default_baselines(graph: KnowledgeGraph, seed: int = 0) -> dict[str, Scorer]:
    """The baselines that every report shows, by the name that it shows."""
    return {
        "random": RandomScorer(graph, seed),
        "degree prior": DegreePrior(graph),
        "personalised PageRank": PersonalizedPageRank(graph),
    }
