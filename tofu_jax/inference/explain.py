"""Why an entity ranks where it does as the answer to (head, relation, ?): paths, and what each kind of evidence is worth."""

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.evaluation.ranking import ScoreError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.inference.asking import SPLITS, comparable
from tofu_jax.inference.explanation import ExplainedPath, Explanation, Name, Standing, Step
from tofu_jax.inference.importance import edge_importance
from tofu_jax.inference.names import Names
from tofu_jax.inference.paths import Path, strongest_paths
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.model.fusion import MODALITIES
from tofu_jax.shapes import Array

# Stands for the relation where a path follows a text.
MENTION = Name("", "text names")


class GraphExplainer:
    """Explains predictions on one graph; made by `Pretrained.explain`."""

    def __init__(self, graph: KnowledgeGraph, scorer: ModelScorer, checkpoint: str, messages: str):
        """Arguments as of `predict.GraphPredictor`."""
        self.graph, self.scorer, self.checkpoint, self.messages = graph, scorer, checkpoint, messages
        self._entities = Names("entity", graph.name, graph.entities, graph.labels)
        self._relations = Names("relation", graph.name, graph.relations, graph.relation_labels)

    def explain(self, head: str, relation: str, tail: str, k: int = 5) -> Explanation:
        """See `Pretrained.explain`."""
        if k < 1:
            raise DataError(f"k is {k}; give at least 1.")
        h, r, t = self._entities.position(head), self._relations.position(relation), self._entities.position(tail)
        seen = self.scorer.graph.graph.train
        hidden = np.flatnonzero((seen == (h, r, t)).all(axis=1))
        arguments = self.scorer.arguments(h, r, hidden)
        found = edge_importance(self.scorer.model, self.scorer.params, arguments, t, self.graph.num_entities)
        padded = self.scorer.graph.padded
        edges = (padded.graph.senders, padded.graph.receivers, padded.edge_mask(hidden))
        paths = strongest_paths(found.edges, *edges, h, t, k) if found.reached else []
        link_of_edge = np.empty(len(padded.edge_position), np.int64)
        link_of_edge[padded.edge_position] = np.arange(len(link_of_edge)) % (len(link_of_edge) // 2)
        rivals = self._rivals(h, r, t)
        return Explanation(
            graph=self.graph.name,
            checkpoint=self.checkpoint,
            messages=self.messages,
            head=self._entity(h),
            relation=Name(self.graph.relations[r], self.graph.relation_labels[r]),
            tail=self._entity(t),
            known=self._split_of(h, r, t),
            hidden=bool(len(hidden)),
            layers=len(found.edges),
            candidates=int(rivals.sum()) + 1,
            standings=self._standings(h, r, t, hidden, rivals),
            parts={name: own - mean for name, (own, mean) in found.parts.items()},
            paths=tuple(
                ExplainedPath(
                    self._steps(path),
                    self._standing(
                        "", self.scorer, (h, r, t), np.concatenate([hidden, link_of_edge[list(path.edges)]]), rivals
                    ),
                )
                for path in paths
            ),
        )

    def _entity(self, position: int) -> Name:
        return Name(self.graph.entities[position], self.graph.labels[position])

    def _split_of(self, head: int, relation: int, tail: int) -> str:
        """The first split in which a fact stands, "" for none."""
        fact = (head, relation, tail)
        return next((split for split in SPLITS[1:] if (getattr(self.graph, split) == fact).all(axis=1).any()), "")

    def _rivals(self, head: int, relation: int, tail: int) -> Array:
        """Candidates that are not known to be answers, bool [N], the tail not among them."""
        rivals = np.ones(self.graph.num_entities, bool)
        query = np.array([[head, relation]], np.int32)
        rivals[KnownAnswers.of_graph(self.graph).answers(query)[1]] = False
        rivals[tail] = False
        return rivals

    def _standings(self, head: int, relation: int, tail: int, hidden: Array, rivals: Array) -> tuple[Standing, ...]:
        """Where the tail stands with everything, and with each modality of the graph masked."""
        nodes = self.scorer.graph.padded.graph.nodes
        present = [name for name in MODALITIES if nodes[f"{name}_mask"].any()]
        scorers = {"everything": self.scorer}
        if len(present) > 1:
            scorers |= {f"without {name}": self.scorer.without(name) for name in present}
        if present:
            bare = self.scorer
            for name in present:
                bare = bare.without(name)
            scorers["structure only"] = bare
        fact = (head, relation, tail)
        return tuple(self._standing(name, scorer, fact, hidden, rivals) for name, scorer in scorers.items())

    def _standing(self, name: str, scorer: ModelScorer, fact: tuple[int, int, int], removed: Array, rivals: Array) -> Standing:
        head, relation, tail = fact
        scores = scorer.score_without(head, relation, removed).astype(np.float64)
        if not np.isfinite(scores).all():
            raise ScoreError(f"{self.graph.name}: the model gave scores that are not finite; look for such in the checkpoint.")
        competing = rivals.copy()
        competing[tail] = True
        score = comparable(scores, competing)[tail]
        return Standing(name, float(score), 1 + int((scores[rivals] > scores[tail]).sum()))

    def _steps(self, path: Path) -> tuple[Step, ...]:
        """The facts and mentions of a path, in its order."""
        graph, count = self.scorer.graph.padded.graph, len(self.graph.relations)
        steps = []
        for edge, weight in zip(path.edges, path.weights, strict=True):
            relation = int(graph.edges["relation"][edge])
            if relation < 2 * count:
                name = Name(self.graph.relations[relation % count], self.graph.relation_labels[relation % count])
                forward = relation < count
            else:
                name, forward = MENTION, relation == 2 * count
            ends = (self._entity(int(end[edge])) for end in (graph.senders, graph.receivers))
            steps.append(Step(*ends, name, forward, weight))
        return tuple(steps)
