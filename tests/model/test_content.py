"""Content match against a loop over facts."""

import jax
import numpy as np
from making import make_graph

from tofu_jax.graphs.graphs_tuple import edges_of, pad_graph
from tofu_jax.model.answers import times_answer
from tofu_jax.model.content import ContentMatch
from tofu_jax.tokens.graph_tokens import GraphTokens


def at_length_one(vectors):
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-6)


def test_what_a_query_asks_for_is_like_the_tails_of_like_heads():
    """Relation 0 leads 0 → 10, 0 → 11, 1 → 12, 2 → 13, 3 → 14; relation 1 is not asked for."""
    facts = [(0, 0, 10), (0, 0, 11), (1, 0, 12), (2, 0, 13), (3, 0, 14), (1, 1, 15), (4, 1, 10)]
    graph, random = make_graph(16, 2, facts), np.random.default_rng(0)
    padded = pad_graph(graph, GraphTokens.none(graph, width=5), dict.fromkeys(("text", "image"), np.zeros((1, 5), np.float32)))
    edges = edges_of(padded.graph, padded.edge_mask())
    size = len(padded.entity_mask)
    vectors = np.zeros((size, 5), np.float32)
    vectors[:16] = at_length_one(random.standard_normal((16, 5)))
    vectors[3] = 0  # has no texts: whatever it leads to tells nothing of what like heads lead to
    query, heads, r_query = np.array([0, 2]), np.array([[0, 1], [10, 12]]), random.standard_normal((2, 8)).astype(np.float32)
    counts = times_answer(edges, query, size)
    arguments = ({"text": vectors, "image": 0 * vectors}, r_query, counts, query, heads, edges, 2 * 2 + 2)
    match = ContentMatch()
    params = match.init(jax.random.key(0), *arguments)
    params = jax.tree.map(lambda values: values + 0.5 * random.standard_normal(values.shape).astype(np.float32), params)
    found = np.asarray(match.apply(params, *arguments))

    p = params["params"]
    worth = {name: r_query @ p[name]["kernel"] + p[name]["bias"] for name in p if name.startswith("like")}
    directed = {0: [(h, t) for h, r, t in facts if r == 0], 2: [(t, h) for h, r, t in facts if r == 0]}
    for q, relation in enumerate(query):
        ends = directed[relation]
        usual = at_length_one(sum(vectors[t] for _, t in ends))
        for i, head in enumerate(heads[q]):
            own = [vectors[t] for s, t in ends if s == head]
            like = [
                (np.exp(np.exp(p["sharpness"][0]) * vectors[s] @ vectors[head]), vectors[t])
                for s, t in ends
                if s != head and vectors[s].any()
            ]
            wanted = worth["like_head"][q, 0] * vectors[head] + worth["like_answers"][q, 0] * usual
            wanted = wanted + worth["like_own"][q, 0] * at_length_one(sum(own) if own else np.zeros(5))
            wanted = wanted + worth["like_analogous"][q, 0] * at_length_one(sum(w * v for w, v in like))
            np.testing.assert_allclose(found[:, q, i], vectors @ wanted, atol=1e-4)
