"""A small run and a small graph for commands that use a model, and a way to call a command many times in one process."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from random_run import write_random_run

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
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": ""},
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
    return write_random_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs") / "toy"
    folder.mkdir()
    facts = [f"e{i}\tr{i % 2}\te{i * 5 % 12}\n" for i in range(12)]
    for name, part in (("train", facts[:10]), ("valid", facts[10:11]), ("test", facts[11:])):
        (folder / f"{name}.txt").write_text("".join(part))
    (folder / "entity2text.tsv").write_text("".join(f"e{i}\tthe entity {i}\n" for i in range(12)))
    return folder
