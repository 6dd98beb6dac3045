"""A small graph in a folder, a configuration that trains on it in seconds, and compiled programs shared by all tests here."""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import rich.console
from jax.experimental.compilation_cache import compilation_cache

ROOT = pathlib.Path(__file__).parents[2]
TINY = '''"""A model so small that a run takes seconds."""

from tofu_jax.training.defaults import default_config


def get_config():
    config = default_config()
    config.graphs = ({folder!r},)
    config.zero_shot = ()
    config.steps = 12
    config.log_every = 1
    config.evaluate_every = 5
    config.checkpoint_every = 7
    config.valid_triples = 4
    config.tokens.text_tokens = 2
    config.tokens.image_tokens = 1
    config.model.width = 4
    config.model.layers = 1
    config.model.prompt_layers = 1
    config.model.relation_layers = 1
    config.model.fusion_heads = 2
    config.model.operators = ("translation",)
    config.batch.relations = 2
    config.batch.heads = 2
    config.batch.examples = 2
    config.optimizer.warmup_steps = 3
    return config
'''


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
    """A folder of compiled programs: every run of these tests needs the same few."""
    folder = str(tmp_path_factory.mktemp("compiled"))
    before = jax.config.jax_compilation_cache_dir
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield folder
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


@pytest.fixture(scope="session")
def graph_folder(tmp_path_factory):
    """A folder with 14 entities, 3 relations, 40 / 6 / 6 facts and texts for most entities."""
    folder = tmp_path_factory.mktemp("graphs") / "toy"
    folder.mkdir()
    random = np.random.default_rng(0)
    everything = np.array([(h, r, t) for h in range(14) for r in range(3) for t in range(14)])
    chosen = everything[random.permutation(len(everything))[:52]]
    lines = [f"e{h}\tr{r}\te{t}\n" for h, r, t in chosen]
    for name, part in (("train", lines[:40]), ("valid", lines[40:46]), ("test", lines[46:])):
        (folder / f"{name}.txt").write_text("".join(part))
    words = ("river", "mountain", "castle", "forest", "island")
    (folder / "entity2text.tsv").write_text("".join(f"e{i}\tthe {words[i % 5]} of {words[i // 5]}\n" for i in range(12)))
    return folder


@pytest.fixture(scope="session")
def config_file(graph_folder, tmp_path_factory):
    """A configuration file for launch/pretrain.py."""
    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(TINY.format(folder=str(graph_folder)))
    return path


@pytest.fixture
def config(config_file):
    """The same configuration in this process."""
    return runpy.run_path(str(config_file))["get_config"]()


@pytest.fixture
def console():
    """A console that shows nothing."""
    return rich.console.Console(quiet=True)


@pytest.fixture(scope="session")
def in_new_process(compiled):
    """in_new_process(code, *arguments, **environment): runs Python code in a process of its own, returns it completed.

    XLA_FLAGS come on top of those of this process.
    """

    def run(code, *arguments, **environment):
        # As in this process, so that the compiled programs are the same.
        settings = {
            "JAX_COMPILATION_CACHE_DIR": compiled,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, "-c", code, *map(str, arguments)]
        flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {environment.pop('XLA_FLAGS', '')}"}
        environment = os.environ | settings | environment | flags
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)

    return run


@pytest.fixture(scope="session")
def saved():
    """saved(workdir, step): parameters and optimizer state of a checkpoint, {path: array}, read past our own code."""

    def read(workdir, step):
        found = {}
        with ocp.StandardCheckpointer() as checkpointer:
            for item in ("params", "optimizer"):
                tree = checkpointer.restore(workdir.absolute() / "checkpoints" / str(step) / item)
                for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
                    found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
        return found

    return read


@pytest.fixture(scope="session")
def metrics():
    """metrics(workdir): the lines of metrics.jsonl, without what no two runs have in common."""

    def read(workdir):
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines]

    return read
