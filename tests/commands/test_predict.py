"""The command `tofu-jax predict`, end to end in a process of its own: what it prints and writes, and how it refuses."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pyarrow.parquet
import pytest

from tofu_jax.inference.pretrained import parameter_shapes
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.tokenizers import Tokenizers
from tofu_jax.training.checkpoint import CheckpointStore
from tofu_jax.training.step import TrainState

ROOT = pathlib.Path(__file__).parents[2]
# Several calls in one process, since each process costs seconds: prints exit code, output and errors of each.
MANY_CALLS = """
import contextlib, io, json, sys
from absl import flags
from tofu_jax import launching
from tofu_jax.commands import predict

outcomes = []
for arguments in json.loads(sys.argv[1]):
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS.flags_by_module_dict()["tofu_jax.commands.predict"]:
        name.unparse()
    sys.argv = ["tofu-jax predict", *arguments]
    code, output, errors = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
        try:
            launching.run(predict)
        except SystemExit as stop:
            code = stop.code or 0
    outcomes.append((code, output.getvalue(), errors.getvalue()))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of a run that never was: a checkpoint of a very small model with random parameters."""
    model = Tofu(ModelConfig(width=4, layers=1, prompt_layers=1, relation_layers=1, fusion_heads=2, operators=("translation",)))
    codebooks = Tokenizers(TextTokenizer.load(), None).codebooks
    random = np.random.default_rng(0)
    shapes = parameter_shapes(model, codebooks)
    params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32) / 2, shapes)
    meta = {
        "model": {**vars(model.config)},
        "tokens": {"text": 2, "image": 1, "examples": 2, "hops": 3},
        "codebooks": {name: {"name": book.name, "sha256": book.sha256} for name, book in codebooks.items()},
        "sources": [],
        "graphs": [],
    }
    folder = tmp_path_factory.mktemp("run")
    store = CheckpointStore(folder / "checkpoints")
    store.save(3, TrainState(params, {"count": np.zeros(1)}), codebooks["image"], meta)
    store.close()
    return folder


@pytest.fixture(scope="module")
def graph_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs") / "toy"
    folder.mkdir()
    facts = [f"e{i}\tr{i % 2}\te{i * 5 % 12}\n" for i in range(12)]
    for name, part in (("train", facts[:10]), ("valid", facts[10:11]), ("test", facts[11:])):
        (folder / f"{name}.txt").write_text("".join(part))
    (folder / "entity2text.tsv").write_text("".join(f"e{i}\tthe entity {i}\n" for i in range(12)))
    return folder


def test_the_command(run_folder, graph_folder, tmp_path):
    questions = tmp_path / "questions.tsv"
    questions.write_text("the entity 1\tr1\t?\n?\tr0\te3\ne1\t?\te5\n")
    files = {suffix: tmp_path / f"top.{suffix}" for suffix in ("csv", "json", "parquet")}
    common = [f"--checkpoint={run_folder}", f"--graph={graph_folder}"]
    good = [
        ["--head=the entity 1", "--relation=r1", "--k=3", f"--output={files['csv']}"],
        ["--all", "--relation=r1", "--head=e0", "--head=e1", "--k=5", f"--output={files['parquet']}"],
        [f"--queries={questions}", "--known=drop", "--k=2", "--messages=all", f"--output={files['json']}"],
    ]
    bad = {
        "unknown entity 'the entty 1'. Did you mean 'the entity 1' (id 'e1')": (1, ["--head=the entty 1", "--relation=r1"]),
        "give two of --head, --relation and --tail": (2, ["--head=e1"]),
        "--all goes with --head and --relation only": (2, ["--all", "--tail=e1"]),
        "must end in .csv, .json, .parquet": (2, ["--head=e1", "--relation=r0", "--output=top.txt"]),
    }
    calls = [[*common, *arguments] for arguments in [*good, *(arguments for _, arguments in bad.values())]]
    done = subprocess.run(
        [sys.executable, "-c", MANY_CALLS, json.dumps(calls)],
        cwd=ROOT,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    for (code, output, errors), arguments in zip(outcomes, good, strict=False):
        assert (code, errors) == (0, ""), arguments
        assert max(map(len, output.splitlines())) <= 100 or "top." in output
        assert "Scores order the answers" in output
    assert "(the entity 1, r1, ?)" in outcomes[0][1]
    assert "New facts of toy" in outcomes[1][1]
    assert all(title in outcomes[2][1] for title in ("(the entity 1, r1, ?)", "(?, r0, the entity 3)", "?, the entity 5)"))
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["head"], row["relation"], row["asked"]) for row in rows] == [("e1", "r1", "tail")] * 3
    assert pyarrow.parquet.read_table(files["parquet"])["rank"].to_pylist() == [1, 2, 3, 4, 5]
    content = json.loads(files["json"].read_text())
    assert content["messages"] == "all"
    assert [row["query"] for row in content["predictions"]] == [0, 0, 1, 1, 2]
    for (code, _, errors), (message, (expected, _)) in zip(outcomes[len(good) :], bad.items(), strict=True):
        assert code == expected, errors
        assert errors.startswith("error: ")
        assert message in errors
        assert "Traceback" not in errors
    assert {path.name for path in tmp_path.iterdir()} == {"questions.tsv", *(path.name for path in files.values())}


def test_public_names():
    code = """
import sys, tofu_jax
assert not {"jax", "numpy", "pyarrow"} & {*sys.modules}
assert {*tofu_jax.__all__} <= {*dir(tofu_jax)}
from tofu_jax import KnowledgeGraph, load_graph
print(KnowledgeGraph.__name__, load_graph.__name__, hasattr(tofu_jax, "nothing"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["KnowledgeGraph", "load_graph", "False"], done.stderr
