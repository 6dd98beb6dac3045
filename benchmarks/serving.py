"""How many questions a second the service answers to 50 clients at once, and what batching is worth.

    python benchmarks/serving.py --graph=countries --checkpoint=<run or model> [--clients=50 --requests=10]

Each client asks one question after the other on a connection of its own, on the loopback interface: tails of random entities
and relations, all different. Clients run in a process of their own. The same service without batching asks the model for each
request by itself; both take turns, and medians over the rounds are printed. First, after warm-up, the time of single questions:
with nobody else asking, over HTTP, and without HTTP.
"""

import asyncio
import concurrent.futures
import json
import multiprocessing
import statistics
import sys
import threading
import time

import numpy as np
import rich.table
import uvicorn
from absl import flags

from tofu_jax import launching

GRAPH = flags.DEFINE_string("graph", "countries", "A folder or file, or the name of a built-in graph.")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "As of `tofu-jax serve`.")
CLIENTS = flags.DEFINE_integer("clients", 50, "That ask at the same time.", lower_bound=1)
REQUESTS = flags.DEFINE_integer("requests", 10, "Of each client, in a round.", lower_bound=1)
ROUNDS = flags.DEFINE_integer("rounds", 3, "With batching, and as many without.", lower_bound=1)
SINGLE = flags.DEFINE_integer("single", 20, "Questions that are asked alone.", lower_bound=2)
TIMEOUT_S = 120.0
WITH, WITHOUT = 64, 1  # scorings of a call


async def one_client(port: int, bodies: list[bytes]) -> list[tuple[float, int]]:
    """Milliseconds and status of each request, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for body in bodies:
        headers = (
            "POST /predict HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        started = time.perf_counter()
        writer.write("\r\n".join([*headers, "", ""]).encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in answer.split("\r\n") if line.startswith("content-length:"))
        await reader.readexactly(int(length.split(":")[1]))
        found.append(((time.perf_counter() - started) * 1e3, int(answer.split()[1])))
    writer.close()
    return found


def all_clients(port: int, bodies: list[list[bytes]]) -> tuple[float, list[tuple[float, int]]]:
    """Seconds in all, and what `one_client` says of each; runs in a process of its own."""

    async def run() -> list[list[tuple[float, int]]]:
        return await asyncio.gather(*(one_client(port, each) for each in bodies))

    started = time.perf_counter()
    found = asyncio.run(run())
    return time.perf_counter() - started, [request for client in found for request in client]


def questions(graph, count: int, random: np.random.Generator) -> list[tuple[str, str]]:
    """Different (head, relation)."""
    chosen = random.choice(graph.num_entities * len(graph.relations), count, replace=False)
    return [(graph.entities[i // len(graph.relations)], graph.relations[i % len(graph.relations)]) for i in chosen]


def body_of(head: str, relation: str) -> bytes:
    return json.dumps({"queries": [{"head": head, "relation": relation}], "k": 10}).encode()


class Running:
    """A service in a thread of this process, for as long as the context lasts."""

    def __init__(self, predictor, most_scorings: int):
        from tofu_jax.serving.app import Service, create_app
        from tofu_jax.serving.batching import Batcher
        from tofu_jax.serving.server import open_socket

        self.batcher = Batcher(predictor, most_scorings)
        self._listener = open_socket("127.0.0.1", 0)
        self.port = self._listener.getsockname()[1]
        app = create_app(Service(predictor, self.batcher, None, TIMEOUT_S), ("localhost",))
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> "Running":
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_) -> None:
        self._server.should_exit = True
        self._thread.join()


def main(_) -> None:
    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.inference.queries import Query
    from tofu_jax.serving.server import warm_up

    console, random = launching.console(), np.random.default_rng(0)
    graph = load_graph(GRAPH.value, keep_unseen_entities=True)
    console.print(graph.summary(), soft_wrap=True)
    predictor = load_pretrained(CHECKPOINT.value).predictor(graph)
    warm_up(predictor)
    for head, relation in questions(graph, 64, random):  # relations are encoded once
        predictor.answer([Query(head, relation, None)])
    context = multiprocessing.get_context("spawn")
    rows = {WITH: [], WITHOUT: []}
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        times = []
        for head, relation in questions(graph, SINGLE.value, random):
            started = time.perf_counter()
            predictor.answer([Query(head, relation, None)])
            times.append((time.perf_counter() - started) * 1e3)
        console.print(f"one question, no HTTP: median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms")
        with Running(predictor, WITH) as service:
            bodies = [[body_of(*asked) for asked in questions(graph, SINGLE.value, random)]]
            _, found = pool.submit(all_clients, service.port, bodies).result()
            times = [ms for ms, _ in found]
            console.print(f"one question, one client: median {statistics.median(times):.1f} ms, longest {max(times):.1f} ms")
        for _ in range(ROUNDS.value):
            for most_scorings in (WITH, WITHOUT):
                asked = [body_of(*pair) for pair in questions(graph, CLIENTS.value * REQUESTS.value, random)]
                bodies = [asked[i :: CLIENTS.value] for i in range(CLIENTS.value)]
                with Running(predictor, most_scorings) as service:
                    cpu_s = time.process_time()
                    seconds, found = pool.submit(all_clients, service.port, bodies).result()
                    cpu_s = time.process_time() - cpu_s
                    times, errors = sorted(ms for ms, _ in found), sum(status != 200 for _, status in found)
                    percentiles = (times[len(times) // 2], times[int(len(times) * 0.99)])
                    rates = (len(found) / seconds, *percentiles, cpu_s / len(found) * 1e3)
                    rows[most_scorings].append((*rates, service.batcher.calls, errors))
    table = rich.table.Table(title=f"{CLIENTS.value} clients, {CLIENTS.value * REQUESTS.value} requests", title_justify="left")
    for name in ("", "requests/s", "p50, ms", "p99, ms", "CPU ms a request", "model calls", "errors"):
        table.add_column(name, justify="right")
    medians = {most: [statistics.median(column) for column in zip(*rows[most], strict=True)] for most in rows}
    for name, most in (("batched", WITH), ("one by one", WITHOUT)):
        rate, p50, p99, cpu, calls, errors = medians[most]
        table.add_row(name, f"{rate:.1f}", f"{p50:.0f}", f"{p99:.0f}", f"{cpu:.1f}", f"{calls:.0f}", f"{errors:.0f}")
    ratios = [a / b for a, b in zip(medians[WITH][:4], medians[WITHOUT][:4], strict=True)]
    table.add_row("ratio", *(f"{ratio:.2f}" for ratio in ratios), "", "")
    console.print(table)


if __name__ == "__main__":
    launching.run(sys.modules[__name__])
