from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_jax.tokens import selection
from tofu_jax.tokens.selection import most_frequent


def by_counter(sequence, num_tokens, dropped):
    # Counter.most_common keeps the order of first appearance among equals.
    counts = Counter(token_id for token_id in sequence if token_id not in dropped)
    return [token_id for token_id, _ in counts.most_common(num_tokens)]


@settings(max_examples=200, deadline=None)
@given(
    sequences=st.lists(st.lists(st.integers(0, 12), max_size=30), max_size=8),
    num_tokens=st.integers(1, 6),
    dropped=st.sets(st.integers(0, 12)),
)
def test_agrees_with_counter(sequences, num_tokens, dropped):
    flags = np.isin(np.arange(13), list(dropped))
    ids, mask = most_frequent(sequences, num_tokens, flags)
    assert ids.shape == mask.shape == (len(sequences), num_tokens)
    assert (ids.dtype, mask.dtype) == (np.int32, bool)
    assert not ids[~mask].any()
    for row, row_mask, sequence in zip(ids, mask, sequences, strict=True):
        expected = by_counter(sequence, num_tokens, dropped)
        assert row[: len(expected)].tolist() == expected
        assert row_mask.tolist() == [slot < len(expected) for slot in range(num_tokens)]


def test_batches_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 9, rng.integers(0, 20)) for _ in range(25)]
    whole = most_frequent(sequences, 4)
    monkeypatch.setattr(selection, "_BATCH", 4)
    for expected, found in zip(whole, most_frequent(iter(sequences), 4), strict=True):
        np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("sequences", [[], [[]], [[], [3, 3]]])
def test_empty_sequences(sequences):
    ids, mask = most_frequent(sequences, 2)
    assert ids.tolist() == [[3, 0] if sequence else [0, 0] for sequence in sequences]
    assert mask.tolist() == [[True, False] if sequence else [False, False] for sequence in sequences]
