"""The strongest paths, against all walks of a small graph written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_jax.inference import paths as paths_module
from tofu_jax.inference.paths import strongest_paths


def random_edges(random, num_nodes, num_edges):
    senders, receivers = random.integers(0, num_nodes, (2, num_edges))
    return senders, receivers, random.random(num_edges) < 0.8


def written_out(importance, senders, receivers, mask, head, tail):
    """Edges of each path → its best weight over all ways to choose the layers of its edges."""
    best = {}

    def go(edges, visited):
        for edge in np.flatnonzero(mask & (senders == (receivers[edges[-1]] if edges else head))).tolist():
            to = receivers[edge]
            if to == tail:
                path = (*edges, edge)
                timings = itertools.combinations(range(len(importance)), len(path))
                best[path] = max(np.mean([importance[at, e] for at, e in zip(t, path, strict=True)]) for t in timings)
            elif to not in visited and len(edges) + 1 < len(importance):
                go((*edges, edge), {*visited, to})

    go((), {head})
    return best


@settings(max_examples=60)
@given(seed=st.integers(0, 2**16), layers=st.integers(1, 4), k=st.integers(1, 40))
def test_equal_to_all_paths_written_out(seed, layers, k):
    random = np.random.default_rng(seed)
    senders, receivers, mask = random_edges(random, 6, 14)
    importance = random.normal(0, 1, (layers, 14))
    head, tail = random.integers(0, 6, 2).tolist()
    expected = written_out(importance, senders, receivers, mask, head, tail)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(paths_module, "BEAM", 10_000)
        found = strongest_paths(importance, senders, receivers, mask, head, tail, k)
    assert len(found) == min(k, len(expected)) == len({path.edges for path in found})
    np.testing.assert_allclose([path.weight for path in found], sorted(expected.values(), reverse=True)[:k])
    for path in found:
        assert path.weight == pytest.approx(expected[path.edges])


def test_a_narrow_beam_still_finds_the_best():
    """Many ways begin better than the one that ends best."""
    count = 50
    senders = np.array([*[0] * count, *range(1, count + 1)])
    receivers = np.array([*range(1, count + 1), *[count + 1] * count])
    importance = np.zeros((2, 2 * count))
    importance[0, :count] = np.arange(count)
    importance[1, count] = 1000  # through node 1, whose first edge is the worst
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(paths_module, "BEAM", 2)
        (best, *others) = strongest_paths(importance, senders, receivers, np.ones(2 * count, bool), 0, count + 1, 5)
    assert (best.edges, best.weights) == ((0, count), (0.0, 1000.0))
    assert len(others) == 1


def test_no_path():
    assert strongest_paths(np.ones((3, 2)), np.array([0, 2]), np.array([1, 3]), np.ones(2, bool), 0, 3, 5) == []
    none = np.zeros(0, int)
    assert strongest_paths(np.ones((3, 0)), none, none, np.ones(0, bool), 0, 3, 5) == []
