"""The batcher: fewer calls, the same answers, errors for whom they belong to, and bounds on what waits."""

import concurrent.futures
import time

import pytest
from making import make_graph

from tofu_jax.errors import DataError
from tofu_jax.inference.predict import GraphPredictor
from tofu_jax.inference.queries import Query
from tofu_jax.serving.batching import Batcher, OverloadedError


@pytest.fixture
def start(predictor):
    """start(**arguments): a batcher that is stopped after the test."""
    started = []

    def make(predictor=predictor, **arguments):
        started.append(Batcher(predictor, **arguments))
        return started[-1]

    yield make
    for batcher in started:
        batcher.close()


def rows_of(predictions, number):
    """The rows of one question of `Predictions`, as the batcher gives them."""
    columns = {name: values for name, values in predictions.columns.items() if name not in ("query", "asked")}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [row for row, query in zip(rows, predictions.query, strict=True) if query == number]


def held(lookup, batcher):
    """Holds the model in a call, so that what is asked from now on has to wait."""
    lookup.free.clear()
    future = batcher.ask([Query("e9", "r0", None)], 1, "mark")
    while not future.running():
        time.sleep(0.001)
    return future


def test_what_waits_is_asked_at_once_and_answered_as_if_alone(predictor, lookup, start):
    batcher = start()
    entities = [f"e{i}" for i in range(9, 22)]
    requests = [([Query(name, "r1", None), Query(None, "r2", name)], 1 + i, "mark") for i, name in enumerate(entities)]
    requests += [([Query(name, "r3", None)], 30, "drop") for name in entities]
    requests += [([Query("e9", None, "e10")], 2, "mark")]
    alone = [[rows_of(predictor.answer(*request), i) for i in range(len(request[0]))] for request in requests]
    before = held(lookup, batcher)
    futures = [batcher.ask(*request) for request in requests]
    assert batcher.waiting == 2 * len(entities) + len(entities) + 8
    lookup.free.set()
    assert before.result(20)
    assert [future.result(20) for future in futures] == alone
    assert batcher.calls == 3  # the one that was held, those that mark, those that drop


def test_threads_that_ask_at_the_same_time(predictor, start):
    batcher = start(window_s=0.05)
    queries = [Query(f"e{i}", f"r{i % 4}", None) for i in range(9, 22)] * 4

    def ask(query):
        return batcher.ask([query], 5, "mark").result(20)[0]

    with concurrent.futures.ThreadPoolExecutor(len(queries)) as pool:
        found = list(pool.map(ask, queries))
    assert found == [rows_of(predictor.answer([query], 5), 0) for query in queries]
    assert batcher.calls < len(queries) / 4


def test_equal_questions_are_asked_once(lookup, start):
    batcher = start()
    held(lookup, batcher)
    futures = [batcher.ask([Query("e10", "r1", None)] * 3, 1 + i, "mark") for i in range(10)]
    lookup.free.set()
    assert [len(rows) for future in futures for rows in future.result(20)] == [1 + i for i in range(10) for _ in range(3)]
    assert lookup.calls == 2
    assert batcher.calls == 2


def test_no_batching(lookup, start):
    batcher = start(most_scorings=1)
    held(lookup, batcher)
    futures = [batcher.ask([Query(f"e{i}", "r1", None)], 1, "mark") for i in range(10, 15)]
    lookup.free.set()
    concurrent.futures.wait(futures, 20)
    assert batcher.calls == 6


def test_an_error_is_for_whoever_asked(predictor, lookup, start):
    """Here questions that were not checked; the same goes for whatever else a call may raise."""
    batcher = start()
    held(lookup, batcher)
    names = ["e10", "nobody", "e11", "twin", "e12"]
    futures = [batcher.ask([Query(name, "r1", None)], 3, "mark") for name in names]
    broken = batcher.run(lambda: 1 / 0, 1)
    fine = batcher.run(lambda: "explained", 1)
    lookup.free.set()
    for name, future in zip(names, futures, strict=True):
        if name in ("nobody", "twin"):
            with pytest.raises(DataError, match=name):
                future.result(20)
        else:
            assert future.result(20) == [rows_of(predictor.answer([Query(name, "r1", None)], 3), 0)]
    with pytest.raises(ZeroDivisionError):
        broken.result(20)
    assert fine.result(20) == "explained"
    assert batcher.is_working


def test_scores_that_are_not_finite_are_an_error_of_their_question(graph, lookup, start):
    lookup.table[10] = float("nan")
    batcher = start(GraphPredictor(graph, lookup, "made"))
    held(lookup, batcher)
    bad, good = (batcher.ask([Query(name, "r1", None)], 3, "mark") for name in ("e10", "e11"))
    lookup.free.set()
    assert len(good.result(20)[0]) == 3
    assert "finite" in str(bad.exception(20))


def test_too_much_is_refused_and_what_waits_is_answered(lookup, start):
    batcher = start(most_waiting=5)
    held(lookup, batcher)
    futures = [batcher.ask([Query(f"e{i}", "r1", None)], 1, "mark") for i in range(10, 15)]
    with pytest.raises(OverloadedError) as refused:
        batcher.ask([Query("e15", "r1", None)], 1, "mark")
    assert refused.value.retry_after_s >= 1
    assert batcher.waiting == 5
    lookup.free.set()
    assert all(len(future.result(20)[0]) == 1 for future in futures)
    assert len(batcher.ask([Query("e9", None, "e10")], 9, "mark").result(20)[0]) == 4  # 8 scorings, but nothing waits


def test_a_cancelled_question_is_not_asked(lookup, start):
    batcher = start()
    held(lookup, batcher)
    futures = [batcher.ask([Query("e10", "r1", None)], 1, "mark") for _ in range(3)]
    assert all(future.cancel() for future in futures)
    lookup.free.set()
    batcher.ask([Query("e11", "r1", None)], 1, "mark").result(20)
    assert batcher.calls == 2


def test_closing_answers_what_waits(predictor, lookup):
    batcher = Batcher(predictor)
    held(lookup, batcher)
    futures = [batcher.ask([Query(f"e{i}", "r1", None)], 1, "mark") for i in range(10, 15)]
    lookup.free.set()
    batcher.close()
    assert all(future.done() for future in futures)
    assert not batcher.is_working
    with pytest.raises(OverloadedError):
        batcher.ask([Query("e9", "r0", None)], 1, "mark")
    batcher.close()


def test_all_answers_known(lookup, start):
    graph = make_graph(24, 4, [(0, 0, tail) for tail in range(24)])
    batcher = start(GraphPredictor(graph, lookup, "made"))
    first, second = batcher.ask([Query("e0", "r0", None), Query("e1", "r0", None)], 2, "drop").result(20)
    assert (len(first), len(second)) == (0, 2)
