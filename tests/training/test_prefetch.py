"""The thread that makes the next batch: one ahead, in order, with its errors, and gone in the end."""

import threading

import pytest

from tofu_jax.training.prefetch import Prefetch


def test_one_ahead_and_none_too_many():
    """When 3 is handed out, 4 is being made; whoever wants another number gets it."""
    made, begun = [], {number: threading.Event() for number in range(3, 9)}

    def make(number):
        made.append(number)
        begun[number].set()
        return number * number

    with Prefetch(make, end=7) as items:
        assert not made
        assert items.take(3) == 9
        assert begun[4].wait(10)
        assert made == [3, 4]
        assert [items.take(number) for number in (4, 6)] == [16, 36]
        assert made == [3, 4, 5, 6]
    assert made == [3, 4, 5, 6]


def test_an_error_comes_up_where_the_item_is_wanted():
    def make(number):
        if number == 1:
            raise ValueError("number one")
        return number

    with Prefetch(make, end=5) as items:
        assert items.take(0) == 0
        with pytest.raises(ValueError, match="number one"):
            items.take(1)


def test_the_thread_ends_with_what_it_was_made_for():
    before = threading.active_count()
    with pytest.raises(KeyError), Prefetch(lambda number: number, end=100) as items:
        items.take(0)
        raise KeyError
    assert threading.active_count() == before
