"""How long all prompt graphs of a graph take on the host, and how long reading them from the disk cache takes.

    python benchmarks/prompts.py [--graphs=<folder or name>,…]

Besides folders and built-in names: `power-law`, 25,000 facts whose degrees follow a power law, and `hub`, 1,000,000 facts at
one entity and 100,000 elsewhere. For folders with an inference graph, the training graph is measured. The alternative in the
same run is a plain breadth-first search with a queue, the way the definition reads; it finds distances alone.
"""

import collections
import os
import sys
import tempfile
import time

import numpy as np
import rich.table
from absl import flags

from tofu_jax import launching
from tofu_jax.graphs import prompt_cache, prompts
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.graphs.registry import load_graph

GRAPHS = flags.DEFINE_list("graphs", ["power-law"], "Folders, built-in names, power-law, hub.")
QUEUE_S = flags.DEFINE_float("queue_s", 10.0, "Seconds for the queue-based searches of a graph.")


def generated(name: str, facts: np.ndarray, num_entities: int, num_relations: int) -> KnowledgeGraph:
    """A graph of the given facts [., 3], repeated ones once; no texts."""
    facts = facts.astype(np.int32)
    facts = facts[np.sort(np.unique(fact_keys(facts), return_index=True)[1])]
    names, relations = (tuple(f"{letter}{i}" for i in range(n)) for letter, n in (("e", num_entities), ("r", num_relations)))
    none = np.zeros((0, 3), np.int32)
    return KnowledgeGraph(name, names, relations, facts, none, none, names, ("",) * len(names), ((),) * len(names))


def power_law(num_facts: int = 25_000, num_entities: int = 5_000, num_relations: int = 100) -> KnowledgeGraph:
    """Facts between entities drawn ∝ 1 / rank, over relations drawn ∝ 1 / rank."""
    random = np.random.default_rng(0)

    def draw(size: int) -> np.ndarray:
        weights = 1 / np.arange(1, size + 1)
        return random.choice(size, 2 * num_facts, p=weights / weights.sum())

    facts = np.stack([draw(num_entities), draw(num_relations), random.permutation(draw(num_entities))], axis=1)
    facts = facts[np.sort(np.unique(facts, axis=0, return_index=True)[1])][:num_facts]
    return generated("power-law", facts, num_entities, num_relations)


def hub(num_leaves: int = 1_000_000, num_others: int = 100_000, num_relations: int = 100) -> KnowledgeGraph:
    """Entity 0 is joined to all others by one half of the relations; few others are joined to one another by all of them."""
    random = np.random.default_rng(0)
    leaves = np.arange(1, num_leaves + 1)
    spokes = np.stack([np.zeros_like(leaves), random.integers(0, num_relations // 2, num_leaves), leaves], axis=1)
    head, tail = random.integers(1, num_leaves + 1, (2, num_others))
    others = np.stack([head, random.integers(0, num_relations, num_others), tail], axis=1)
    return generated("hub", random.permutation(np.concatenate([spokes, others])), num_leaves + 1, num_relations)


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


def queue_ms(graph: KnowledgeGraph, records: np.ndarray) -> float:
    """Milliseconds of queue-based search per prompt graph, from both ends; over as many of the records as the time allows."""
    neighbors = collections.defaultdict(list)
    for sender, receiver in zip(*(graph.edges[i].tolist() for i in (0, 2)), strict=True):
        neighbors[sender].append(receiver)
    started = time.perf_counter()
    done = 0
    while done < len(records) and time.perf_counter() - started < QUEUE_S.value:
        for end in records[done]["nodes"][:2].tolist():
            queue_distances(neighbors, end)
        done += 1
    return (time.perf_counter() - started) / done * 1e3


def measure(graph: KnowledgeGraph) -> tuple[str, ...]:
    """A row of the table."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ[prompt_cache.VARIABLE] = folder
        for _ in ("built and written", "read"):
            started = time.perf_counter()
            records = prompt_cache.prompt_index(graph).records
            seconds.append(time.perf_counter() - started)
    built, read = seconds
    ms, queue = built / len(records) * 1e3, queue_ms(graph, np.random.default_rng(0).permutation(records))
    counts = (graph.num_entities, graph.num_relations, len(graph.edges[0]), len(records))
    figures = (f"{built:.2f}", f"{built / graph.num_relations * 1e3:.1f}", f"{ms:.2f}", f"{queue:.2f}", f"{queue / ms:.1f}")
    return graph.name, *(f"{count:,}" for count in counts), *figures, f"{read:.3f}", f"{records.nbytes / 1e6:.1f}"


def main(_) -> None:
    prompt_cache.LEAST_FACTS = 0  # small graphs are measured, too
    made = {"power-law": power_law, "hub": hub}
    headings = ("graph", "entities", "relations", "edges", "prompt graphs", "all, s", "ms a relation", "ms each")
    table = rich.table.Table(title="Prompt graphs; inverse relations share those of their relation", title_justify="left")
    for heading in (*headings, "queue ms", "ratio", "read, s", "MB"):
        table.add_column(heading, justify="left" if heading == "graph" else "right")
    for name in GRAPHS.value:
        table.add_row(*measure(made[name]() if name in made else load_graph(name, "training", keep_unseen_entities=True)))
    console = launching.console()
    console.width = max(console.width, 130)
    console.print(table)


if __name__ == "__main__":
    launching.run(sys.modules[__name__])
