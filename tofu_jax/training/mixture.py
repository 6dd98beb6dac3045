"""Which graph and which queries a step trains on: a pure function of (seed, step), so that resuming needs no state."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.prompts import Prompts
from tofu_jax.shapes import Array
from tofu_jax.training.curriculum import Curriculum, by_size


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """What one step draws.

    Attributes:
      relations: Q, query relations a step (over all devices).
      heads: H, queries per query relation; on large graphs fewer, where there is a memory_gib.
      examples: M, prompt examples per query relation.
      relation_masking: each step drops a share of the relation types, drawn from U(0, relation_masking), from the message
        graph; never a query relation.
      modality_dropout: probability that a step sees no text, and likewise no image, and no mention.
      token_dropout: probability that entity fusion sees no text tokens in a step, and likewise no image tokens, while their
        vectors and mentions stay: a model that always has tokens leans on their presence.
      accumulate: a step works through its query relations in so many parts and adds up their gradients: the same result in
        less memory and more time.
      memory_gib: of one device, that the queries of a step may take (`batch_size`); 0: whatever they take.
      edge_partitions: so many devices hold a graph together, each the entities of a block and the edges into them
        (`ops.partition`), for graphs that are too large for one device; they share their queries.
    """

    relations: int = 4
    heads: int = 4
    examples: int = 3
    relation_masking: float = 0.5
    modality_dropout: float = 0.2
    token_dropout: float = 0.0
    accumulate: int = 1
    memory_gib: float = 0.0
    edge_partitions: int = 1


@dataclasses.dataclass(frozen=True)
class Batch:
    """One step's queries (h, r, ?) with answers, all of one graph; of several processes each has its own part of Q.

    Attributes:
      graph: position of the graph in the mixture.
      prompts: prompt graphs of the Q query relations.
      heads, answers: int32 [Q, H].
      candidates: bool [Q, H, N], False for padding and for other known answers: these leave the loss.
      edge_mask: bool [E], False in padding, on the facts asked for (both directions) and on masked relations; the same for
        every process.
      overlap: float16 [2, R, R], of relation types without the facts asked for.
      modalities: bool [2, 2], whether the step sees the vectors (first row) and the tokens (second) of texts, and of images;
        never tokens without vectors.
    """

    graph: int
    prompts: Prompts
    heads: Array
    answers: Array
    candidates: Array
    edge_mask: Array
    overlap: Array
    modalities: Array


class Mixture:
    """Draws batches from several graphs."""

    def __init__(
        self,
        graphs: Sequence[PreparedGraph],
        config: BatchConfig,
        seed: int,
        curriculum: Curriculum | None = None,
        heads: Sequence[int] | None = None,
        part: tuple[int, int] = (0, 1),
    ):
        """Nothing is drawn yet.

        Args:
          graphs: to train on.
          config: what one step draws.
          seed: with the step, the only source of randomness.
          curriculum: how often each graph is drawn; None: ∝ √facts.
          heads: H of each graph; None: config.heads.
          part: (i, n): a batch holds the i-th of n equal parts of the step's query relations, for the process i of n.
        """
        self.graphs, self._config, self._seed = tuple(graphs), config, seed
        self._curriculum = curriculum or Curriculum(by_size([len(g.graph.train) for g in graphs], 0.5))
        self.heads = tuple(heads) if heads else (config.heads,) * len(self.graphs)
        size = config.relations // part[1]
        self._part = slice(part[0] * size, (part[0] + 1) * size)
        self._facts_by_relation = [_facts_by_relation(g) for g in graphs]

    def batch(self, step: int, position: int | None = None) -> Batch:
        """The batch of a step, whatever was drawn before; `position` asks for one of a certain graph (to measure it)."""
        random = np.random.Generator(np.random.Philox(key=[self._seed, step]))
        drawn = int(random.choice(len(self.graphs), p=self._curriculum.shares(step)))
        position = drawn if position is None else position
        graph, config = self.graphs[position], self._config
        relations = self._draw_relations(random, position)
        facts = np.stack([self._draw_facts(random, position, relation) for relation in relations])  # [Q, H]
        head, _, tail = np.moveaxis(graph.graph.train[facts], -1, 0)
        backward = (relations >= len(graph.graph.relations))[:, None]
        heads, answers = np.where(backward, tail, head), np.where(backward, head, tail)
        examples = np.stack([self._draw_examples(random, graph, relation) for relation in relations])
        keep = random.random(3) >= config.modality_dropout
        edge_mask = self._edge_mask(random, graph, relations, facts, mentions=keep[0] and keep[2])
        tokens = random.random(2) >= config.token_dropout
        asked = graph.graph.train[facts.ravel()]
        # Everything has been drawn for the whole step; what costs time is made for the own part alone.
        relations, examples, heads, answers = (drawn[self._part] for drawn in (relations, examples, heads, answers))
        return Batch(
            graph=position,
            prompts=graph.prompts.prompts(relations, examples, asked),
            heads=heads,
            answers=answers,
            candidates=_candidates(graph, relations, heads, answers),
            edge_mask=edge_mask,
            overlap=graph.padded.relation_overlap(facts.ravel()),
            modalities=np.stack([keep[:2], keep[:2] & tokens]),
        )

    def _draw_relations(self, random: np.random.Generator, position: int) -> Array:
        """Q query relations int32, forward or backward, ∝ their facts; distinct where the graph has enough of them."""
        counts = np.array([len(facts) for facts in self._facts_by_relation[position]] * 2, np.float64)
        distinct = (counts > 0).sum() >= self._config.relations
        drawn = random.choice(len(counts), self._config.relations, replace=not distinct, p=counts / counts.sum())
        return drawn.astype(np.int32)

    def _draw_facts(self, random: np.random.Generator, position: int, relation: int) -> Array:
        """H facts of a query relation as rows of `train`, at most half of them; repeated where that is fewer than H.

        The others show what it is. Only where a step draws the relation again, or its inverse, may more be asked for in all.
        """
        by_relation, count = self._facts_by_relation[position], self.heads[position]
        facts = by_relation[relation % len(by_relation)]
        distinct = random.choice(facts, min(count, max(len(facts) // 2, 1)), replace=False)
        return np.resize(distinct, count)

    def _draw_examples(self, random: np.random.Generator, graph: PreparedGraph, relation: int) -> Array:
        """M distinct positions in the relation's pool; positions beyond a small pool are masked by `prompts`."""
        available = max(graph.prompts.num_examples(relation), self._config.examples)
        return random.choice(available, self._config.examples, replace=False)

    def _edge_mask(
        self, random: np.random.Generator, graph: PreparedGraph, relations: Array, facts: Array, mentions: bool
    ) -> Array:
        mask = graph.padded.edge_mask(facts.ravel(), mentions)
        names = len(graph.graph.relations)
        share = random.uniform(0, self._config.relation_masking)
        dropped = random.random(names) < share
        dropped[relations % names] = False
        return (
            mask
            & ~np.concatenate([dropped, dropped, np.zeros(1, bool)])[
                np.minimum(graph.padded.graph.edges["relation"], 2 * names)
            ]
        )


def _facts_by_relation(graph: PreparedGraph) -> list[Array]:
    """Rows of `train` for each relation (not inverse)."""
    relation = graph.graph.train[:, 1]
    order = np.argsort(relation, kind="stable")
    bounds = np.searchsorted(relation[order], np.arange(1, len(graph.graph.relations)))
    return np.split(order, bounds)


def _candidates(graph: PreparedGraph, relations: Array, heads: Array, answers: Array) -> Array:
    """bool [Q, H, N]: real entities, except known answers other than the one asked for."""
    queries = np.stack([heads.ravel(), np.repeat(relations, heads.shape[1])], axis=1)
    candidates = np.tile(graph.padded.entity_mask, (len(queries), 1))
    candidates[graph.known.answers(queries)] = False
    candidates[np.arange(len(queries)), answers.ravel()] = True
    return candidates.reshape(*heads.shape, -1)
