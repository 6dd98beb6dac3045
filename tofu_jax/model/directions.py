"""What an entity's texts or images say, as one frozen vector that can be compared with those of the other entities."""

import jax
import jax.numpy as jnp

from tofu_jax.ops.partition import total

_RIDGE = 0.0025  # of the covariance's norm: directions that a graph hardly uses are noise, and are not blown up
_LEAST_RIDGE = 1e-6
_LEAST_LENGTH = 1e-3  # below, a mean is what rounding leaves of vectors that cancel out


def at_length_one(vectors: jax.Array) -> jax.Array:
    """Means of vectors of about length 1, [..., c], put to length 1; shorter than _LEAST_LENGTH they become zero."""
    squares = (vectors**2).sum(axis=-1, keepdims=True)
    something = squares > _LEAST_LENGTH**2
    return jnp.where(something, vectors / jnp.sqrt(jnp.where(something, squares, 1)), 0)


def mean_direction(weights: jax.Array, vectors: jax.Array, partitions: int) -> jax.Array:
    """Directions of weighted means over entities.

    Args:
      weights: ≥ 0, [N, ...].
      vectors: [N, c], zero where an entity has none: it does not count.
      partitions: devices that the entities are spread over.

    Returns:
      [..., c]; zero where no entity that has a vector has weight.
    """
    there = (vectors != 0).any(axis=1).astype(vectors.dtype)
    weight = total(jnp.tensordot(there, weights, (0, 0)), partitions)[..., None]
    return at_length_one(total(jnp.tensordot(weights, vectors, (0, 0)), partitions) / jnp.where(weight > 0, weight, 1))


def directions(vectors: jax.Array, ids: jax.Array, mask: jax.Array, partitions: int) -> jax.Array:
    """Tokens weighted by how rare they are in the graph, their mean centred, whitened and put to length 1.

    Means of word vectors lie close together, for what texts have in common outweighs what tells them apart. So common tokens
    count less (inverse document frequency), what all entities share is subtracted, and what many share is scaled down
    (Arora et al. 2017; whitening: Su et al. 2021). Nothing of it is learned, and it knows the tokens of this graph alone.

    Args:
      vectors: frozen, of the vocabulary [vocabulary, c].
      ids, mask: of the entities' tokens, [N, T].
      partitions: devices that the entities are spread over.

    Returns:
      [N, c]; zero where an entity has no token. It has no gradient.
    """
    there = mask.any(axis=1)
    number = jnp.maximum(total(there.sum(), partitions), 1)
    times = total(jnp.zeros(len(vectors), vectors.dtype).at[ids].add(mask.astype(vectors.dtype)), partitions)
    rarity = jnp.where(mask, jnp.log((number + 1) / jnp.maximum(times, 1))[ids], 0)  # [N, T]
    length = jnp.einsum("nt,nt->n", rarity, jnp.linalg.norm(vectors, axis=-1)[ids])[:, None]
    found = at_length_one(jnp.einsum("nt,ntc->nc", rarity, vectors[ids]) / jnp.where(length > 0, length, 1))
    mean = total(found.sum(axis=0), partitions) / number
    found = at_length_one(jnp.where(there[:, None], found - mean, 0))
    covariance = total(found.T @ found, partitions) / number
    covariance += jnp.eye(len(covariance)) * (_RIDGE * jnp.linalg.norm(covariance) + _LEAST_RIDGE)
    # With the lower triangle L of the covariance L·Lᵀ, the rows of found · L⁻ᵀ are white.
    white = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(covariance), found.T, lower=True).T
    return jax.lax.stop_gradient(at_length_one(white))
