"""Colours of entities and relations by structure alone (Weisfeiler–Lehman refinement).

Wherever the model has to choose among many (which examples show a relation, which neighbours fit into a prompt graph), it
chooses by colour, and among equal colours by text. So predictions do not change when entities or relations are renamed or
renumbered, or when the lines of a file are shuffled: what has equal colour and text is alike for the model too, but for rare
regular structures that refinement cannot tell apart.
"""

import hashlib

import numpy as np

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array

ROUNDS = 3  # as far as a prompt graph sees


def mix(values: Array) -> Array:
    """Scrambles uint64 values (the finaliser of SplitMix64), so that sums of mixed values identify multisets."""
    values = values.astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def structural_colors(graph: KnowledgeGraph) -> tuple[Array, Array]:
    """Colours that depend on the message graph alone, not on ids, names or order.

    Args:
      graph: its training facts are used, nothing else.

    Returns:
      entity colours uint64 [N] and relation colours uint64 [R] (inverses included).
    """
    senders, relations, receivers = graph.edges
    entities = mix(np.full(graph.num_entities, 1, np.uint64))
    relation_colors = np.zeros(graph.num_relations, np.uint64)
    for _ in range(ROUNDS):
        facts = mix(mix(entities[senders]) + np.uint64(3) * entities[receivers])
        relation_colors = mix(_sum_by(relations, facts, graph.num_relations))
        messages = mix(entities[senders] + mix(relation_colors[relations] + np.uint64(7)))
        entities = mix(entities + np.uint64(5) * _sum_by(receivers, messages, graph.num_entities))
    return entities, relation_colors


def text_keys(graph: KnowledgeGraph) -> Array:
    """uint64 [N], equal for equal texts: tells entities apart that the structure does not."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in graph.texts)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _sum_by(groups: Array, values: Array, num_groups: int) -> Array:
    """Sums uint64 values by group, modulo 2**64: exact in any order."""
    total = np.zeros(num_groups, np.uint64)
    np.add.at(total, groups, values)
    return total
