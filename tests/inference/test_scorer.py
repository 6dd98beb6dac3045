"""The scorer: what a query scores depends on the query, and is what the model says when it is asked directly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from making import CODEBOOKS, random_graph, random_tokens

from tofu_jax.evaluation.ranking import queries_of, rank_queries
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference import scorer as scorer_module
from tofu_jax.inference.pretrained import device_codebooks, parameter_shapes
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.model.prompt_encoder import PromptArrays
from tofu_jax.model.tofu import ModelConfig, Tofu

EXAMPLES = 2
MODEL = Tofu(ModelConfig(width=4, layers=2, prompt_layers=1, relation_layers=1, fusion_heads=2))


@pytest.fixture(scope="module")
def params():
    """Random numbers in the shapes of the parameters: compiling the real ones would take most of the time."""
    random = np.random.default_rng(0)
    shapes = parameter_shapes(MODEL, CODEBOOKS)
    return jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32) / 2, shapes)


@pytest.fixture(scope="module")
def graph():
    random = np.random.default_rng(1)
    graph = random_graph(random, 11, 6, 6)
    return PreparedGraph.create(graph, random_tokens(random, graph), CODEBOOKS)


@pytest.fixture
def scorer(params, graph):
    return ModelScorer(MODEL, params, device_codebooks(CODEBOOKS), graph, EXAMPLES)


@pytest.fixture(scope="module")
def queries(graph):
    """Every head with every relation, inverses included: more blocks than one call of the compiled program takes."""
    heads, relations = np.meshgrid(np.arange(graph.graph.num_entities), np.arange(graph.graph.num_relations))
    return np.stack([heads.ravel(), relations.ravel()], axis=1).astype(np.int32)


@pytest.fixture(scope="module")
def expected(params, graph, queries):
    """All scores by one call of the model itself: every relation a row, every entity a head."""
    relations = np.arange(graph.graph.num_relations, dtype=np.int32)
    heads = np.tile(np.arange(graph.graph.num_entities, dtype=np.int32), (len(relations), 1))
    prompts = graph.prompts.prompts(relations, np.tile(np.arange(EXAMPLES), (len(relations), 1)))
    arrays = PromptArrays(**{name: getattr(prompts, name) for name in PromptArrays._fields})
    edge_mask = jnp.asarray(graph.padded.edge_mask())
    scores, _ = jax.jit(MODEL.apply)(params, graph.arrays, edge_mask, device_codebooks(CODEBOOKS), arrays, heads)
    return np.asarray(scores)[queries[:, 1], queries[:, 0], : graph.graph.num_entities]


def test_agrees_with_the_model(scorer, queries, expected):
    scores = scorer(queries)
    assert (scores.dtype, scores.shape) == (np.float32, expected.shape)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(scores.round(4), axis=0)) > len(queries) / 2  # so the comparison is worth something


def test_order_does_not_matter(scorer, queries, expected):
    order = np.random.default_rng(0).permutation(len(queries))
    np.testing.assert_allclose(scorer(queries[order]), expected[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5, 64])
def test_company_does_not_matter(scorer, queries, expected, size):
    chosen = np.random.default_rng(size).choice(len(queries), 24, replace=False)
    found = [scorer(queries[chosen[start : start + size]]) for start in range(0, len(chosen), size)]
    np.testing.assert_allclose(np.concatenate(found), expected[chosen], rtol=1e-5, atol=1e-6)


def test_repeated_queries(scorer, queries, expected):
    rows = np.array([3, 3, 3, 3, 3, 3, 20, 3])
    np.testing.assert_allclose(scorer(queries[rows]), expected[rows], rtol=1e-5, atol=1e-6)


def test_no_queries(scorer, graph):
    assert scorer(np.zeros((0, 2), np.int32)).shape == (0, graph.graph.num_entities)


@pytest.mark.parametrize("limit", ["_STATE_MIB", "_CACHED_RELATIONS"])
def test_memory_limits_do_not_show(params, graph, queries, expected, limit, monkeypatch):
    """One relation at a time, or none remembered: slower, and the same."""
    monkeypatch.setattr(scorer_module, limit, 0)
    scorer = ModelScorer(MODEL, params, device_codebooks(CODEBOOKS), graph, EXAMPLES)
    np.testing.assert_allclose(scorer(queries[:40]), expected[:40], rtol=1e-5, atol=1e-6)


def test_ranks_do_not_depend_on_the_batch_size(scorer, graph):
    triples = graph.graph.train
    ranks = [rank_queries(scorer, graph.graph, triples, size).realistic for size in (1, 7, 64)]
    np.testing.assert_array_equal(ranks[1], ranks[0])
    np.testing.assert_array_equal(ranks[2], ranks[0])
    assert len(ranks[0]) == len(queries_of(triples, graph.graph.num_relations)[0])
