"""G2: fixed weights and a fixed graph give the scores that they gave before, whatever version of what is installed.

`python tests/model/test_golden.py` writes golden.npz anew, after a change of the model that is meant to change them. Nothing
here draws random numbers, for generators may change with versions, too.
"""

import pathlib
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np

PATH = pathlib.Path(__file__).with_name("golden.npz")


def fixed_values(count, number):
    """float64 [count] in -1..1 without any pattern that matters; another sequence for each number."""
    return np.sin(12.9898 * np.arange(count) + 78.233 * number + 0.1)


def golden_scores():
    """Scores float32 [8, 20] of all facts' tail and head queries that a small graph asks for."""
    from making import make_graph

    from tofu_jax.graphs.prepared import PreparedGraph
    from tofu_jax.inference.pretrained import device_codebooks, parameter_shapes
    from tofu_jax.inference.scorer import ModelScorer
    from tofu_jax.model.tofu import ModelConfig, Tofu
    from tofu_jax.tokens.codebook import Codebook
    from tofu_jax.tokens.graph_tokens import GraphTokens

    facts = [(i, i % 3, (7 * i + 3) % 20) for i in range(20)] + [(i, (i + 1) % 3, (3 * i + 1) % 20) for i in range(20)]
    graph = make_graph(20, 3, facts)
    codebooks = {
        "text": Codebook("golden text", fixed_values(50 * 12, 1).reshape(50, 12).astype(np.float32)),
        "image": Codebook("golden image", fixed_values(20 * 6, 2).reshape(20, 6).astype(np.float32)),
    }
    entity = np.arange(20, dtype=np.int32)[:, None]
    tokens = GraphTokens(
        text_ids=(entity * 3 + np.arange(3, dtype=np.int32)) % 50,
        text_mask=(text_mask := np.arange(3) < entity % 4),
        text_vectors=(fixed_values(20 * 12, 3).reshape(20, 12) * text_mask[:, :1]).astype(np.float16),
        image_ids=(entity * 5 + np.arange(2, dtype=np.int32)) % 20,
        image_mask=np.arange(2) < entity % 3,
        mentions=np.array([[1, 2], [2, 7], [9, 5]], np.int32),
    )
    model = Tofu(ModelConfig(width=8, layers=2, prompt_layers=2, relation_layers=2, fusion_heads=2))

    def fixed_parameter(path, leaf):
        number = zlib.crc32(jax.tree_util.keystr(path).encode()) % 1000
        fan_in = leaf.shape[-2] if leaf.ndim > 1 else 4
        return jnp.asarray(fixed_values(leaf.size, number).reshape(leaf.shape) * fan_in**-0.5, jnp.float32)

    params = jax.tree_util.tree_map_with_path(fixed_parameter, parameter_shapes(model, codebooks))
    scorer = ModelScorer(model, params, device_codebooks(codebooks), PreparedGraph.create(graph, tokens, codebooks), 2)
    queries = np.array([(head, relation) for head, relation in zip(range(0, 16, 2), [0, 1, 2, 3, 4, 5, 0, 3], strict=True)])
    return scorer(queries.astype(np.int32))


def test_scores_are_those_of_before():
    with np.load(PATH) as stored:
        expected = stored["scores"]
    found = golden_scores()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    # And they do depend on the query and on the entity.
    assert np.ptp(expected, axis=0).min() > 1e-3
    assert np.ptp(expected, axis=1).min() > 1e-3


if __name__ == "__main__":
    sys.path.insert(0, str(PATH.parents[1]))
    np.savez_compressed(PATH, scores=golden_scores())
