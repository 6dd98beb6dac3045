"""What the data sets at hand hold, what is wrong with them, and how long they take to read and to open.

    python benchmarks/datasets.py --data=<folder of data sets> --output=<folder>

Takes every folder of facts below --data (and below its folder grail/), each part, and the built-in graphs. Prints a table and
writes it to datasets.md and datasets.json in the output folder. Times are CPU seconds, the best of three, files cached.

    repeated     lines of train, valid, test that repeat an earlier line of the same file
    leaks        lines of valid in train, test in train, valid in test
    reversed     lines of valid and test that stand in train with head and tail exchanged
    joined       lines of valid and test whose pair train joins by any relation, in either direction
    unseen       entities of valid and test that are not in train
"""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rich.console
import rich.table
from absl import app, flags

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin import BUILTIN_GRAPHS, load_builtin
from tofu_jax.graphs.datasets import open_graph, write_graph
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.graphs.readers import Part, read_graph, read_raw

DATA = flags.DEFINE_string("data", None, "Folder of data sets.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the table.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Of each timing; the best counts.", lower_bound=1)

Read = Callable[[], KnowledgeGraph]


def main(_) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as stores:
        for number, (name, read, splits) in enumerate(graphs(pathlib.Path(DATA.value))):
            rows.append(
                {"graph": name} | contents(read()) | defects(*splits()) | times(read, pathlib.Path(stores) / str(number))
            )
            print(name, file=sys.stderr, flush=True)
    rows_as_text = [[str(cell) for cell in row.values()] for row in rows]
    table = rich.table.Table(title=f"importing TFDS: {import_s():.2f} CPU s, once", title_justify="left")
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == "graph" else "right")
    for row in rows_as_text:
        table.add_row(*row)
    rich.console.Console(width=220).print(table)
    output = pathlib.Path(OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    (output / "datasets.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    lines = [list(rows[0]), ["---", *["---:"] * (len(rows[0]) - 1)], *rows_as_text]
    (output / "datasets.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")


def graphs(data: pathlib.Path) -> Iterator[tuple[str, Read, Callable[[], list[np.ndarray]]]]:
    """Yields name, a function that reads the graph, and one that returns its splits with repeated lines."""
    for name in BUILTIN_GRAPHS:
        graph = load_builtin(name)
        yield name, functools.partial(load_builtin, name), functools.partial(splits_of, graph)
    folders = sorted(path for path in (*data.iterdir(), *(data / "grail").glob("*")) if path.is_dir())
    for folder in folders:
        for part in ("training", "inference"):
            try:
                raw = read_raw(folder, part)
            except DataError:
                continue  # no graph, or no such part
            name = folder.name if part == "training" else f"{folder.name} ({part})"
            yield name, functools.partial(read_graph, folder, part, True), functools.partial(raw_splits, folder, part)
            del raw


def splits_of(graph: KnowledgeGraph) -> list[np.ndarray]:
    return [graph.train, graph.valid, graph.test]


def raw_splits(folder: pathlib.Path, part: Part) -> list[np.ndarray]:
    raw = read_raw(folder, part)
    return [raw.train.triples, raw.valid.triples, raw.test.triples]


def contents(graph: KnowledgeGraph) -> dict[str, Any]:
    """How much of what there is."""
    images = sum(map(bool, graph.images)) / graph.num_entities
    return {
        "entities": f"{graph.num_entities:,}",
        "relations": len(graph.relations),
        "train / valid / test": " / ".join(f"{len(split):,}" for split in splits_of(graph)),
        "text": f"{sum(map(bool, graph.texts)) / graph.num_entities:.0%}",
        "image": f"{images:.1%}" if images else "none",
    }


def defects(train: np.ndarray, valid: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Counts as the module docstring says."""
    splits = (train, valid, test)
    keys, valid_keys, test_keys = map(fact_keys, splits)
    held_out = np.concatenate([valid, test])
    proper = held_out[held_out[:, 0] != held_out[:, 2]]
    pairs = fact_keys(np.concatenate([train, train[:, ::-1]]) * np.array([1, 0, 1], np.int32))
    leaks = (np.isin(valid_keys, keys), np.isin(test_keys, keys), np.isin(valid_keys, test_keys))
    return {
        "repeated": " / ".join(f"{len(split) - len(np.unique(fact_keys(split))):,}" for split in splits),
        "leaks": " / ".join(f"{leak.sum():,}" for leak in leaks),
        "reversed": f"{np.isin(fact_keys(proper[:, ::-1]), keys).sum():,}",
        "joined": f"{np.isin(fact_keys(held_out * np.array([1, 0, 1], np.int32)), pairs).sum():,}",
        "unseen": f"{len(np.setdiff1d(held_out[:, [0, 2]], train[:, [0, 2]])):,}",
    }


def times(read: Read, folder: pathlib.Path) -> dict[str, Any]:
    """How long a graph takes to read and to open, and how large it is when stored."""
    write_graph(read(), folder, {})
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "read, s": f"{best_s(read):.2f}",
        "open, s": f"{best_s(functools.partial(open_graph, folder)):.2f}",
        "stored, MB": f"{size / 1e6:.1f}",
    }


def best_s(action: Callable[[], Any]) -> float:
    """CPU seconds, the best of several."""
    elapsed = []
    for _ in range(REPEATS.value):
        started = time.process_time()
        action()
        elapsed.append(time.process_time() - started)
    return min(elapsed)


def import_s() -> float:
    """CPU seconds that importing TFDS takes in a process of its own, the best of several."""
    code = "import time; t = time.process_time(); import tensorflow_datasets; print(time.process_time() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(REPEATS.value))


if __name__ == "__main__":
    flags.mark_flags_as_required(["data", "output"])
    app.run(main)
