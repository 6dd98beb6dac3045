"""A small run and a small graph for commands that use a model, and a way to call a command many times in one process."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
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
import contextlib, importlib, io, json, sys
from absl import flags
from tofu_jax import launching

verb, calls = sys.argv[1], json.loads(sys.argv[2])
command = importlib.import_module(f"tofu_jax.commands.{verb}")
outcomes = []
for arguments in calls:
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS.flags_by_module_dict()[command.__name__]:
        name.unparse()
    sys.argv = [f"tofu-jax {verb}", *arguments]
    code, output, errors = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
        try:
            launching.run(command)
        except SystemExit as stop:
            code = stop.code or 0
    outcomes.append((code, output.getvalue(), errors.getvalue()))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="session")
def call_many_times():
    """call_many_times(verb, lists of arguments): [(exit code, stdout, stderr)]."""

    def call(verb, calls):
        done = subprocess.run(
            [sys.executable, "-c", MANY_CALLS, verb, json.dumps(calls)],
            cwd=ROOT,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs") / "toy"
    folder.mkdir()
    facts = [f"e{i}\tr{i % 2}\te{i * 5 % 12}\n" for i in range(12)]
    for name, part in (("train", facts[:10]), ("valid", facts[10:11]), ("test", facts[11:])):
        (folder / f"{name}.txt").write_text("".join(part))
    (folder / "entity2text.tsv").write_text("".join(f"e{i}\tthe entity {i}\n" for i in range(12)))
    return folder
