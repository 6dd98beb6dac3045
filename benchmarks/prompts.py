"""How long prompt graphs take on the host, per query relation.

    python benchmarks/prompts.py [--graph=<folder>] [--examples=5]

Without a folder: a generated graph of 50,000 edges (25,000 facts) whose degrees follow a power law. The alternative in the same
run is a plain breadth-first search with a queue, the way the definition reads.
"""

import collections
import time

import numpy as np
import rich.console
import rich.table
from absl import app, flags

from tofu_jax.graphs import prompts
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.graphs.readers import read_graph

GRAPH = flags.DEFINE_string("graph", None, "A folder; default: a generated graph.")
EXAMPLES = flags.DEFINE_integer("examples", 5, "Prompt examples per relation (M).")
RELATIONS = flags.DEFINE_integer("relations", 50, "Query relations to time.")


def generated_graph(num_facts: int = 25_000, num_entities: int = 5_000, num_relations: int = 100) -> KnowledgeGraph:
    """Facts between entities drawn ∝ 1 / rank, over relations drawn ∝ 1 / rank."""
    random = np.random.default_rng(0)

    def draw(size: int) -> np.ndarray:
        weights = 1 / np.arange(1, size + 1)
        return random.choice(size, 2 * num_facts, p=weights / weights.sum())

    facts = np.stack([draw(num_entities), draw(num_relations), random.permutation(draw(num_entities))], axis=1)
    facts = facts.astype(np.int32)
    facts = facts[np.sort(np.unique(fact_keys(facts), return_index=True)[1])][:num_facts]
    names = tuple(f"e{i}" for i in range(num_entities))
    none = np.zeros((0, 3), np.int32)
    relations = tuple(f"r{i}" for i in range(num_relations))
    return KnowledgeGraph("generated", names, relations, facts, none, none, names, ("",) * len(names), ((),) * len(names))


def queue_distances(neighbors: dict[int, list[int]], source: int) -> dict[int, int]:
    """Distances up to NUM_HOPS by the textbook search."""
    distance, queue = {source: 0}, collections.deque([source])
    while queue:
        node = queue.popleft()
        if distance[node] < prompts.NUM_HOPS:
            for neighbor in neighbors[node]:
                if neighbor not in distance:
                    distance[neighbor] = distance[node] + 1
                    queue.append(neighbor)
    return distance


def main(_) -> None:
    graph = read_graph(GRAPH.value) if GRAPH.value else generated_graph()
    chosen = np.random.default_rng(1).permutation(graph.num_relations)[: RELATIONS.value].astype(np.int32)
    rows = []
    started = time.perf_counter()
    index = prompts.PromptIndex(graph)
    rows.append(("index of the graph, once", (time.perf_counter() - started) * 1e3, ""))
    started = time.perf_counter()
    built = index.prompts(chosen, np.tile(np.arange(EXAMPLES.value), (len(chosen), 1)))
    ours = (time.perf_counter() - started) * 1e3 / len(chosen)
    rows.append((f"a relation, {EXAMPLES.value} examples", ours, "1"))

    neighbors = collections.defaultdict(list)
    for sender, receiver in zip(*(graph.edges[i].tolist() for i in (0, 2)), strict=True):
        neighbors[sender].append(receiver)
    started = time.perf_counter()
    few = min(5, len(chosen))
    for row in range(few):
        for nodes in built.nodes[row]:
            for end in nodes[:2].tolist():
                queue_distances(neighbors, end)
    queue = (time.perf_counter() - started) * 1e3 / few
    rows.append(("a relation, distances alone by a queue", queue, f"{queue / ours:.1f}"))

    table = rich.table.Table(title=graph.summary(), title_justify="left")
    for heading in ("what", "milliseconds", "ratio"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for what, milliseconds, ratio in rows:
        table.add_row(what, f"{milliseconds:.2f}", ratio)
    rich.console.Console(width=110).print(table)


if __name__ == "__main__":
    app.run(main)
