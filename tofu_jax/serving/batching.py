"""One thread asks the model; what comes in meanwhile is asked together.

Requests wait in a queue, first come first served. The thread takes what waits, up to 64 scorings (a question for a head or a
tail is one, a question for a relation as many as the graph has relations), and waits a few milliseconds for more where that is
less. Equal questions are asked once, and requests of different k share a call: the best k are the first k of the best 2k.
"""

import collections
import concurrent.futures
import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tofu_jax.inference.predict import GraphPredictor, Known
from tofu_jax.inference.queries import Query

Rows = list[dict[str, Any]]  # of one question, as in `Predictions.columns`

_SMOOTHING = 0.2  # share of the last call in the running mean of seconds per scoring


class OverloadedError(Exception):
    """More waits already than can be answered soon; `retry_after_s` (whole seconds) says when to come back."""

    def __init__(self, retry_after_s: int):
        super().__init__(f"Too many questions are waiting; ask again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


@dataclasses.dataclass(frozen=True, eq=False)
class _Request:
    """Questions that came together, or, if `call` is set, something else for the model to do."""

    queries: tuple[Query, ...]
    k: int
    known: Known
    cost: int
    arrived: float
    future: concurrent.futures.Future
    call: Callable[[], Any] | None = None


class Batcher:
    """Answers requests of many threads with few calls of one predictor."""

    def __init__(
        self, predictor: GraphPredictor, most_scorings: int = 64, most_waiting: int = 512, window_s: float = 0.005
    ) -> None:
        """Starts the thread.

        Args:
          predictor: asked by this thread alone from now on.
          most_scorings: of one call, unless a single request needs more; 1 asks for each request by itself.
          most_waiting: scorings that may wait; what comes then is refused, unless nothing waits.
          window_s: how long the first request of a call waits for others.
        """
        self._predictor = predictor
        self._most_scorings, self._most_waiting, self._window_s = most_scorings, most_waiting, window_s
        self._requests: collections.deque[_Request] = collections.deque()
        self._changed = threading.Condition()  # guards all below, and `_requests`
        self._waiting = 0  # scorings
        self._closed = False
        self._seconds_per_scoring = 0.05  # until something was measured
        self.calls = 0  # of the predictor, for tests and measurements
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Scorings that nobody works on yet."""
        return self._waiting

    @property
    def is_working(self) -> bool:
        """Whether answers are to be expected."""
        return self._thread.is_alive() and not self._closed

    def cost(self, query: Query) -> int:
        """Scorings that a question takes."""
        return self._predictor.graph.num_relations if query.asked == "relation" else 1

    def ask(self, queries: Sequence[Query], k: int, known: Known) -> "concurrent.futures.Future[list[Rows]]":
        """Asks questions.

        Args:
          queries: that `GraphPredictor.check` has nothing against; at least one.
          k, known: as in `GraphPredictor.answer`.

        Returns:
          The rows of each question, best first. Cancelled before its turn, the future costs nothing. It raises what the
          predictor raises of these questions, never what it raises of others'.

        Raises:
          OverloadedError: too much waits already, or the service is about to stop.
        """
        cost = sum(map(self.cost, queries))
        return self._enqueue(_Request(tuple(queries), k, known, cost, time.monotonic(), concurrent.futures.Future()))

    def run(self, call: Callable[[], Any], cost: int) -> concurrent.futures.Future:
        """Runs something else with the model when its turn has come, by itself; errors as `ask`."""
        return self._enqueue(_Request((), 0, "mark", cost, time.monotonic(), concurrent.futures.Future(), call))

    def close(self) -> None:
        """Refuses new requests, answers those that wait, and returns when that is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _enqueue(self, request: _Request) -> concurrent.futures.Future:
        with self._changed:
            if self._closed or (self._requests and self._waiting + request.cost > self._most_waiting):
                raise OverloadedError(max(1, math.ceil(self._waiting * self._seconds_per_scoring)))
            self._requests.append(request)
            self._waiting += request.cost
            self._changed.notify_all()
        return request.future

    def _work(self) -> None:
        while batch := self._next_batch():
            batch = [request for request in batch if request.future.set_running_or_notify_cancel()]
            started = time.monotonic()
            for known in ("mark", "drop"):
                self._answer([request for request in batch if request.call is None and request.known == known])
            for request in batch:
                if request.call is not None:
                    _resolve([request], lambda request=request: [request.call()])
            cost = sum(request.cost for request in batch)
            if cost:
                self._seconds_per_scoring += _SMOOTHING * ((time.monotonic() - started) / cost - self._seconds_per_scoring)

    def _next_batch(self) -> list[_Request]:
        """The first requests in the queue, at least one; none when there will be no more."""
        with self._changed:
            while not self._requests:
                if self._closed:
                    return []
                self._changed.wait()
            until = self._requests[0].arrived + self._window_s
            while self._waiting < self._most_scorings and not self._closed and (left_s := until - time.monotonic()) > 0:
                self._changed.wait(left_s)
            batch, cost = [], 0
            while self._requests and (not batch or cost + self._requests[0].cost <= self._most_scorings):
                batch.append(self._requests.popleft())
                cost += batch[-1].cost
            self._waiting -= cost
            return batch

    def _answer(self, requests: list[_Request]) -> None:
        """Answers requests of one `known` in one call; in one call each, where that fails."""
        if len(requests) > 1 and _resolve(requests, lambda: self._ask(requests), is_last_try=False):
            return
        for request in requests:
            _resolve([request], lambda request=request: self._ask([request]))

    def _ask(self, requests: list[_Request]) -> list[list[Rows]]:
        """The rows of each question of each request, with one call of the predictor."""
        self.calls += 1
        numbers = {query: number for number, query in enumerate(dict.fromkeys(q for r in requests for q in r.queries))}
        predictions = self._predictor.answer(list(numbers), max(request.k for request in requests), requests[0].known)
        names = [name for name in predictions.columns if name not in ("query", "asked")]
        rows: list[Rows] = [[] for _ in numbers]
        values = zip(*(predictions.columns[name] for name in names), strict=True)
        for number, row in zip(predictions.columns["query"], values, strict=True):
            rows[number].append(dict(zip(names, row, strict=True)))
        return [[rows[numbers[query]][: request.k] for query in request.queries] for request in requests]


def _resolve(requests: list[_Request], work: Callable[[], list], is_last_try: bool = True) -> bool:
    """Gives each request its result, or, if this is the last try, the error; returns whether there is a result."""
    try:
        results = work()
    except Exception as error:
        if is_last_try:
            for request in requests:
                request.future.set_exception(error)
        else:
            logging.getLogger(__name__).warning("a call for %d requests failed; each is asked by itself", len(requests))
        return False
    for request, result in zip(requests, results, strict=True):
        request.future.set_result(result)
    return True
