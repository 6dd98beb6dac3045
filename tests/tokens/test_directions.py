"""Directions against the formula, entity by entity."""

import numpy as np
import pytest

from tofu_jax.tokens.directions import token_means, whitened


def at_length_one(vectors):
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-6)


def test_directions_are_rare_tokens_centred_and_whitened():
    random = np.random.default_rng(0)
    vectors, ids = random.standard_normal((30, 6)), random.integers(0, 30, (50, 4))
    mask = random.random((50, 4)) < 0.7
    mask[:5] = False
    found = whitened(token_means(vectors, ids, mask))

    there = mask.any(axis=1)
    times = np.bincount(ids[mask], minlength=30)
    expected = np.zeros((50, 6))
    for entity in np.flatnonzero(there):
        for token in ids[entity, mask[entity]]:
            expected[entity] += np.log((there.sum() + 1) / times[token]) * vectors[token]
    expected = at_length_one(expected)
    expected[there] -= expected.sum(axis=0) / there.sum()
    expected = at_length_one(expected)
    covariance = expected.T @ expected / there.sum()
    covariance += np.eye(6) * (0.0025 * np.linalg.norm(covariance) + 1e-6)
    expected = at_length_one(expected @ np.linalg.inv(np.linalg.cholesky(covariance)).T)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert not found[:5].any()


@pytest.mark.parametrize(("num_entities", "shown"), [(0, 0), (3, 0), (3, 1)])
def test_few_tokens_or_none_have_no_direction(num_entities, shown):
    """Of one entity alone nothing is left when what all share is subtracted."""
    mask = np.zeros((num_entities, 2), bool)
    mask[:shown] = True
    vectors = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    found = whitened(token_means(vectors, np.ones(mask.shape, np.int32), mask))
    assert found.shape == (num_entities, 4) and found.dtype == np.float32
    assert not found.any()
