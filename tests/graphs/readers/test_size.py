"""Large graphs: what reading them takes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

DATA = pathlib.Path(os.environ.get("TOFU_JAX_DATA", "absent"))
FACTS, ENTITIES, RELATIONS = 5_000_000, 1_500_000, 800
# The peak of this process alone: the figure that getrusage gives counts its parent's pages, too.
READ = """
import pathlib, sys
from tofu_jax.graphs.readers import read_graph
graph = read_graph(sys.argv[1], keep_unseen_entities=True)
status = pathlib.Path("/proc/self/status").read_text()
print(graph.num_entities, len(graph.train), int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def read_apart(path):
    """Entities, training facts and peak memory in MiB of reading a graph in a process of its own."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=600, check=True)
    return tuple(map(int, done.stdout.split()))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_five_million_facts_take_less_than_two_gigabytes(tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "large.tsv"
    with path.open("w") as file:
        for _ in range(50):
            heads, tails = random.integers(0, ENTITIES, (2, FACTS // 50)).tolist()
            relations = random.integers(0, RELATIONS, FACTS // 50).tolist()
            base = "http://www.wikidata.org/entity"
            file.writelines(f"{base}/Q{h}\t{base}/P{r}\t{base}/Q{t}\n" for h, r, t in zip(heads, relations, tails, strict=True))
    entities, facts, peak_mib = read_apart(path)
    assert entities > 0.9 * ENTITIES
    assert facts > 0.99 * FACTS
    assert peak_mib < 2e9 / 2**20


@pytest.mark.skipif(not DATA.is_dir(), reason="TOFU_JAX_DATA names no folder of real graphs")
@pytest.mark.parametrize(("name", "entities", "facts"), [("FB15k-237", 14_541, 272_115), ("NELL-995", 75_492, 149_678)])
def test_real_graphs(name, entities, facts):
    *counts, peak_mib = read_apart(DATA / name)
    assert counts == [entities, facts]
    assert peak_mib < 2e9 / 2**20
