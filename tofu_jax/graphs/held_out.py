"""Facts that rate a model while it is trained, taken out of the training facts where the validation split does not serve."""

import dataclasses

import numpy as np

from tofu_jax.graphs.builtin.splits import split_facts
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys


def hold_out(graph: KnowledgeGraph, seed: int) -> KnowledgeGraph:
    """Holds out about a tenth of the training facts in the place of the validation facts.

    Which ones depends on their names and the seed alone. Facts between the same two entities stay together, and every entity
    and relation keeps facts in train (`split_facts`).

    Args:
      graph: its validation facts are left out, its test facts stay.
      seed: of the draw.

    Returns:
      The graph with fewer training facts, in their old order, and with the others as validation facts.
    """
    named = [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in graph.train.tolist()]
    chosen = set(split_facts(named, seed)[1])
    held_out = np.array([fact in chosen for fact in named])
    return dataclasses.replace(graph, train=graph.train[~held_out], valid=graph.train[held_out])


def num_leaked(graph: KnowledgeGraph) -> int:
    """How many validation facts also stand in train: what they say of a model is worth nothing."""
    return int(np.isin(fact_keys(graph.valid), fact_keys(graph.train)).sum())
