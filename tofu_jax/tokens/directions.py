"""What an entity's text or images say, as one frozen vector that can be compared with those of the other entities."""

import numpy as np
import scipy.linalg
import scipy.sparse

from tofu_jax.shapes import Array

_RIDGE = 0.0025  # of the covariance's norm: directions that a graph hardly uses are noise, and are not blown up
_LEAST_RIDGE = 1e-6
LEAST_LENGTH = 1e-3  # below, a mean of vectors of length 1 is what rounding leaves where they cancel out


def token_means(vectors: Array, ids: Array, mask: Array) -> Array:
    """Means of an entity's tokens, weighted by how rare they are in the graph (inverse document frequency).

    Args:
      vectors: of a codebook, centred, [codes, c].
      ids, mask: of the entities' tokens, int32 and bool [N, T].

    Returns:
      [N, c] of length 1; zero where an entity has no token.
    """
    entity, token = np.nonzero(mask)[0], ids[mask]
    rarity = np.log((mask.any(axis=1).sum() + 1) / np.bincount(token)[token]).astype(vectors.dtype)
    weights = scipy.sparse.csr_array((rarity, (entity, token)), shape=(len(ids), len(vectors)))
    return _at_length_one(weights @ vectors, weights @ np.linalg.norm(vectors, axis=-1))


def whitened(vectors: Array) -> Array:
    """Vectors centred, whitened and put to length 1.

    Vectors of texts lie close together, for what texts have in common outweighs what tells them apart. So what all entities
    share is subtracted, and what many share is scaled down (Arora et al. 2017; whitening: Su et al. 2021). Nothing of it is
    learned, and it knows this graph alone.

    Args:
      vectors: [N, c] of length 1, or zero where an entity has none.

    Returns:
      [N, c], zero where an entity has none.
    """
    there = (vectors != 0).any(axis=1)
    number = np.maximum(there.sum(), 1).astype(vectors.dtype)
    found = vectors.copy()
    found[there] -= found.sum(axis=0) / number
    found = _at_length_one(found)
    covariance = found.T @ found / number
    covariance += np.eye(len(covariance), dtype=vectors.dtype) * (_RIDGE * np.linalg.norm(covariance) + _LEAST_RIDGE)
    # With the lower triangle L of the covariance L·Lᵀ, the rows of found · L⁻ᵀ are white.
    lower = scipy.linalg.cholesky(covariance, lower=True)
    return _at_length_one(scipy.linalg.solve_triangular(lower, found.T, lower=True).T)


def _at_length_one(sums: Array, most: Array | float = 1) -> Array:
    """Vectors [N, c] put to length 1; zero where they are shorter than LEAST_LENGTH of what they could be, `most`."""
    lengths = np.linalg.norm(sums, axis=-1)
    return np.divide(sums, lengths[:, None], out=np.zeros_like(sums), where=(lengths > LEAST_LENGTH * most)[:, None])
