"""N1: a loss that is not finite stops the run, and what was good before stays."""

import json
import re

import numpy as np
import pytest

from tofu_jax.errors import DataError, TrainingError
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.training import loop, memory
from tofu_jax.training.checkpoint import saved_steps
from tofu_jax.training.loop import pretrain
from tofu_jax.training.stopwatch import PHASES

# launch/pretrain.py as in the shell, with a text codebook that holds nothing but NaN.
LAUNCH = """
import runpy, sys
from tofu_jax.training import run
good = run.device_codebooks
run.device_codebooks = lambda codebooks: good(codebooks) | {"text": good(codebooks)["text"] * float("nan")}
sys.argv[0] = "launch/pretrain.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_stops_at_the_first_loss_that_is_not_finite(config, console, metrics, tmp_path, monkeypatch):
    """NaN in the text codebook from step 10 on, as if memory had gone bad."""
    config.log_every = 3
    create_train_step = loop.create_train_step

    def poisoned(*arguments):
        step, calls = create_train_step(*arguments), []

        def call(state, codebooks, *rest):
            calls.append(len(calls))
            bad = {"text": np.full_like(codebooks["text"], np.nan)} if len(calls) >= 10 else {}
            return step(state, codebooks | bad, *rest)

        call.lower = step.lower  # for the estimate of memory
        return call

    monkeypatch.setattr(loop, "create_train_step", poisoned)
    with pytest.raises(TrainingError, match=r"^step 10 on toy: loss nan.*last good checkpoint is step 7 in .*learning_rate"):
        pretrain(config, tmp_path, console)
    # The last line is step 10's, out of turn.
    assert [line["step"] for line in metrics(tmp_path) if "loss" in line] == [3, 6, 9, 10]
    assert metrics(tmp_path)[-1]["loss"] == "NaN"
    assert saved_steps(tmp_path / "checkpoints") == [5, 7]
    pretrained = load_pretrained(tmp_path)
    assert pretrained.meta["graphs"][0]["name"] == "toy"


@pytest.mark.slow
def test_command_line_says_so_and_exits_with_1(config_file, metrics, tmp_path, in_new_process):
    done = in_new_process(LAUNCH, f"--config={config_file}", f"--workdir={tmp_path}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(
        r"^error: step 1 on toy: loss .* gradient norm nan, parameter norm nan: not finite", done.stderr, re.MULTILINE
    ), done.stderr
    assert metrics(tmp_path)[-1]["gradient_norm"] == "NaN"
    assert saved_steps(tmp_path / "checkpoints") == []


def test_a_parameter_that_is_not_finite_stops_the_run(config, console, metrics, tmp_path, monkeypatch):
    """The loss that led there was fine, and so was its gradient."""
    create_train_step = loop.create_train_step

    def overflowing(*arguments):
        step, calls = create_train_step(*arguments), []

        def call(*rest):
            calls.append(len(calls))
            state, found = step(*rest)
            return state, found._replace(parameter_norm=found.parameter_norm * (np.inf if len(calls) == 2 else 1))

        call.lower = step.lower
        return call

    monkeypatch.setattr(loop, "create_train_step", overflowing)
    with pytest.raises(TrainingError, match=r"^step 2 on toy: loss \d.*, gradient norm \d.*, parameter norm inf: not finite"):
        pretrain(config, tmp_path, console)
    line = metrics(tmp_path)[-1]
    assert (line["step"], line["parameter_norm"]) == (2, "Infinity")
    assert saved_steps(tmp_path / "checkpoints") == []


def test_nothing_is_written_for_a_graph_that_cannot_be_used(config, console, tmp_path):
    config.graphs = (str(tmp_path / "nowhere"),)
    with pytest.raises(DataError, match="nowhere"):
        pretrain(config, tmp_path / "run", console)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["steps", "log_every", "evaluate_every", "checkpoint_every", "valid_triples", "keep_last"])
def test_counts_below_one_are_refused(config, console, tmp_path, name):
    config[name] = 0
    with pytest.raises(TrainingError, match=f"config.{name} is 0; give at least 1"):
        pretrain(config, tmp_path / "run", console)
    assert not (tmp_path / "run").exists()


def test_a_step_that_does_not_fit_into_memory_is_refused_before_it_runs(config, console, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "memory_limit_bytes", lambda: 1000)
    with pytest.raises(TrainingError, match=r"largest graph, toy \(16 entities.*will not fit.*config.batch.accumulate"):
        pretrain(config, tmp_path / "run", console)
    assert not (tmp_path / "run").exists()


def test_a_line_says_where_the_time_went(config, console, tmp_path):
    config.log_every = 6
    pretrain(config, tmp_path, console, profile_steps=2)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    first, second = (line for line in lines if "loss" in line)
    for line in (first, second):
        phases = [line[f"time/{phase}_s"] for phase in (*PHASES, "other")]
        assert min(phases) >= 0
        assert sum(phases) == pytest.approx(6 / line["time/steps_per_s"])
        assert line["time/queries_per_s"] == pytest.approx(4 * line["time/steps_per_s"])
        assert 0 < line["time/goodput"] < 1
        assert 0.1 < line["memory/peak_gib"] < 100
    assert first["time/preparing_s"] > 0
    assert second["time/compiling_s"] == second["time/preparing_s"] == 0
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
