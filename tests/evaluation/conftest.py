"""Small graphs and fake scorers for the evaluation room."""

import numpy as np
import pytest

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph


def _triples(rows):
    return np.array(rows, dtype=np.int32).reshape(-1, 3)


@pytest.fixture(scope="session")
def make_graph():
    """make_graph(num_entities, num_relation_names, train, valid, test): entities e0.., relations r0.., no texts."""

    def make(num_entities, num_relation_names, train=(), valid=(), test=()):
        entities = tuple(f"e{i}" for i in range(num_entities))
        return KnowledgeGraph(
            name="toy",
            entities=entities,
            relations=tuple(f"r{i}" for i in range(num_relation_names)),
            train=np.unique(_triples(train), axis=0),
            valid=_triples(valid),
            test=_triples(test),
            labels=entities,
            texts=("",) * num_entities,
            images=((),) * num_entities,
        )

    return make


@pytest.fixture(scope="session")
def make_random_graph(make_graph):
    """make_random_graph(seed, num_entities, num_relation_names, facts in each split); splits may overlap."""

    def make(seed, num_entities=12, num_relation_names=3, sizes=(30, 8, 8)):
        rng = np.random.default_rng(seed)
        limit = (num_entities, num_relation_names, num_entities)
        return make_graph(num_entities, num_relation_names, *(rng.integers(0, limit, (size, 3)) for size in sizes))

    return make


class TableScorer:
    """Looks scores up in a table [N, R, N] and keeps the batches that it was asked for."""

    def __init__(self, table):
        self.table = table
        self.batches = []

    def __call__(self, queries, /):
        self.batches.append(queries)
        return self.table[queries[:, 0], queries[:, 1]]


@pytest.fixture(scope="session")
def table_scorer():
    return TableScorer


@pytest.fixture(scope="session")
def make_tied_scores():
    """make_tied_scores(seed, graph): a table [N, R, N] of three values only, so that ties abound."""

    def make(seed, graph, dtype=np.float32):
        shape = (graph.num_entities, graph.num_relations, graph.num_entities)
        return np.random.default_rng(seed).integers(-1, 2, shape).astype(dtype)

    return make
