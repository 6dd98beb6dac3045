"""Cuts large graphs into smaller ones: many different small graphs teach more per step than one large graph."""

import dataclasses

import numpy as np
import scipy.sparse

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.shapes import Array

MOST_NEIGHBORS = 20  # of an entity that a sub-graph grows by, so that hubs do not make all of them alike


def subgraphs(graph: KnowledgeGraph, num_facts: int, most: int, seed: int) -> list[KnowledgeGraph]:
    """Sub-graphs of at most `num_facts` training facts, each grown around an entity of its own.

    Args:
      graph: to cut.
      num_facts: size of a sub-graph.
      most: number of sub-graphs; fewer where fewer have room for all facts.
      seed: of the starts and of the growth.

    Returns:
      [graph] where it is small enough as it is, else the sub-graphs; each holds the relations and entities of its facts, and
      the held-out facts whose names it knows.
    """
    if len(graph.train) <= num_facts:
        return [graph]
    count = min(most, -(-len(graph.train) // num_facts))
    random = np.random.Generator(np.random.Philox(key=[seed, len(graph.train)]))
    ends = np.concatenate([graph.train[:, [0, 2]], graph.train[:, [2, 0]]])
    adjacency = scipy.sparse.csr_array(
        (np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(graph.num_entities, graph.num_entities)
    )
    starts = random.permutation(np.flatnonzero(np.diff(adjacency.indptr)))[:count]
    return [_cut(graph, _grow(adjacency, int(start), num_facts, random), num_facts, i) for i, start in enumerate(starts)]


def _grow(adjacency: scipy.sparse.csr_array, start: int, num_facts: int, random: np.random.Generator) -> Array:
    """When each entity is met, int64 [N], in a breadth-first search that follows few neighbours of each entity."""
    num_entities = adjacency.shape[0]
    met = np.full(num_entities, num_entities, np.int64)
    order, frontier = 0, np.array([start])
    while order < num_facts:
        if not len(frontier):  # the component is exhausted: go on elsewhere
            frontier = random.permutation(np.flatnonzero(met == num_entities))[:1]
            if not len(frontier):
                break
        met[frontier] = order + np.arange(len(frontier))
        order += len(frontier)
        neighbors = [
            random.permutation(adjacency.indices[adjacency.indptr[i] : adjacency.indptr[i + 1]])[:MOST_NEIGHBORS]
            for i in frontier.tolist()
        ]
        reached = np.unique(np.concatenate(neighbors))
        frontier = random.permutation(reached[met[reached] == num_entities])
    return met


def _cut(graph: KnowledgeGraph, met: Array, num_facts: int, number: int) -> KnowledgeGraph:
    """The first `num_facts` facts by the moment when both ends have been met, under numbers of their own."""
    moment = np.maximum(met[graph.train[:, 0]], met[graph.train[:, 2]])
    facts = np.sort(np.argsort(moment, kind="stable")[:num_facts])
    train = graph.train[facts]
    entities, relations = np.unique(train[:, [0, 2]]), np.unique(train[:, 1])
    entity_number = np.full(graph.num_entities, -1, np.int32)
    entity_number[entities] = np.arange(len(entities), dtype=np.int32)
    relation_number = np.full(len(graph.relations), -1, np.int32)
    relation_number[relations] = np.arange(len(relations), dtype=np.int32)

    def renumber(triples: Array) -> Array:
        head, relation, tail = triples.T
        cut = np.stack([entity_number[head], relation_number[relation], entity_number[tail]], axis=1)
        return cut[(cut >= 0).all(axis=1)]

    def pick(values: tuple, chosen: Array) -> tuple:
        return tuple(values[i] for i in chosen.tolist())

    return dataclasses.replace(
        graph,
        name=f"{graph.name}#{number}",
        entities=pick(graph.entities, entities),
        relations=pick(graph.relations, relations),
        train=renumber(train),
        valid=renumber(graph.valid),
        test=renumber(graph.test),
        labels=pick(graph.labels, entities),
        texts=pick(graph.texts, entities),
        images=pick(graph.images, entities),
        relation_labels=pick(graph.relation_labels, relations),
    )
