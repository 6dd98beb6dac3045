"""Fine-tuning: from any model, never worse by the facts that rate it, and resumed with the same model only."""

import dataclasses
import json
import os
import runpy
import signal

import jax
import numpy as np
import pytest
import rich.console

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.graphs.registry import load_graph
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.training.defaults import finetuning_config
from tofu_jax.training.finetuning import check_held_out, finetuning_run
from tofu_jax.training.loop import pretrain
from tofu_jax.training.mixture import Mixture

LAUNCH = """
import runpy, sys
sys.argv[0] = "launch/finetune.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# As in TINY of conftest.py, so that no other step has to be compiled.
SETTINGS = {
    "steps": 12,
    "evaluate_every": 5,
    "checkpoint_every": 7,
    "valid_triples": 4,
    "batch": {"relations": 2, "heads": 2},
    "optimizer": {"learning_rate": 1e-3, "warmup_steps": 3},
}


@pytest.fixture(scope="module")
def exported(config_file, tmp_path_factory):
    """The folder of an exported model."""
    workdir = tmp_path_factory.mktemp("trained")
    pretrain(runpy.run_path(str(config_file))["get_config"](), workdir, rich.console.Console(quiet=True))
    load_pretrained(workdir).save_pretrained(workdir / "exported")
    return workdir / "exported"


@pytest.fixture
def finetuning(exported, graph_folder):
    """(model to begin with, configuration) of fine-tuning on the graph of the other tests."""
    settings = finetuning_config()
    settings.update(SETTINGS)
    model = load_pretrained(exported)
    return model, finetuning_run(settings, model, str(graph_folder), "valid")


@pytest.fixture(scope="module")
def finetuned(exported, graph_folder, in_new_process, tmp_path_factory):
    """(folder, terminal output) of the command."""
    workdir = tmp_path_factory.mktemp("runs") / "finetuned"
    nested = {key: value for key, value in SETTINGS.items() if isinstance(value, dict)}
    flags = [f"--config.{key}={value}" for key, value in SETTINGS.items() if key not in nested]
    flags += [f"--config.{group}.{key}={value}" for group, values in nested.items() for key, value in values.items()]
    flags += [f"--checkpoint={exported}", f"--graph={graph_folder}", f"--workdir={workdir}", "--max_triples=5"]
    done = in_new_process(LAUNCH, *flags)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_the_model_before_and_after_stand_side_by_side(finetuned, exported, metrics):
    workdir, printed = finetuned
    results = json.loads((workdir / "report" / "toy" / "results.json").read_text())
    before, after = (scored["realistic"]["mrr"] for scored in (results["controls"]["before fine-tuning"], results["metrics"]))
    assert results["queries"] == 2 * 5
    assert f"toy, test facts: MRR {before:.3f} before fine-tuning, {after:.3f} after it (step " in printed
    rated = {line["step"]: line["valid_mrr"] for line in metrics(workdir) if "valid_mrr" in line}
    assert sorted(rated) == [0, 5, 10, 12]
    best = load_pretrained(workdir, "best")
    assert rated[best.step] == max(rated.values()) >= rated[0]
    assert [graph["name"] for graph in best.meta["graphs"]] == ["toy"]  # which the model had seen: once
    told = json.loads((workdir / "config.json").read_text())["initial"]
    assert told["model"] == f"{exported} step 12"


def test_another_model_is_refused_and_the_same_one_goes_on(finetuned, finetuning, console, metrics):
    """It is known by its contents: the path, and even the step, may stay the same while training goes on there."""
    workdir, _ = finetuned
    model, config = finetuning
    lines = metrics(workdir)
    leaves, structure = jax.tree.flatten(model.params)
    changed = jax.tree.unflatten(structure, [np.nextafter(leaves[0], 1, dtype=np.float32), *leaves[1:]])
    with pytest.raises(CheckpointError, match=r"initial\.params_sha256: '\w+' there, '\w+' now"):
        pretrain(config, workdir, console, initial=dataclasses.replace(model, params=changed))
    with pytest.raises(CheckpointError, match=r"initial\.model: '.* step 12' there, 'absent' now"):
        pretrain(config, workdir, console)
    assert pretrain(config, workdir, console, initial=model) is not None
    assert metrics(workdir) == lines


def test_resumed_fine_tuning_comes_to_the_same_end(finetuned, finetuning, console, saved, metrics, tmp_path, monkeypatch):
    model, config = finetuning

    def stop(mixture, step, position=None, batch=Mixture.batch):
        if step == 8 and position is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(mixture, step, position)

    with monkeypatch.context() as patch:
        patch.setattr(Mixture, "batch", stop)
        assert pretrain(config, tmp_path, console, initial=model) is None
    pretrain(config, tmp_path, console, initial=model)
    state, expected = saved(tmp_path, 12), saved(finetuned[0], 12)
    assert state.keys() == expected.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert metrics(tmp_path) == metrics(finetuned[0])


def test_a_graph_without_facts_that_rate_a_step_is_refused(graph_folder):
    graph = load_graph(str(graph_folder))
    bare = dataclasses.replace(graph, valid=graph.valid[:0])
    with pytest.raises(DataError, match=r"toy: no validation facts .*--held_out=train"):
        check_held_out(bare, "valid")
    check_held_out(bare, "train")
    check_held_out(graph, "valid")
