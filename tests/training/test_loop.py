"""N1: a loss that is not finite stops the run, and what was good before stays."""

import re

import numpy as np
import pytest

from tofu_jax.errors import DataError, TrainingError
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.training import loop
from tofu_jax.training.loop import pretrain

# launch/pretrain.py as in the shell, with a text codebook that holds nothing but NaN.
LAUNCH = """
import runpy, sys
from tofu_jax.training import loop
good = loop.device_codebooks
loop.device_codebooks = lambda codebooks: good(codebooks) | {"text": good(codebooks)["text"] * float("nan")}
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

        return call

    monkeypatch.setattr(loop, "create_train_step", poisoned)
    with pytest.raises(TrainingError, match=r"^step 10 on toy: loss nan.*last good checkpoint is step 7 in .*learning_rate"):
        pretrain(config, tmp_path, console)
    # The last line is step 10's, out of turn.
    assert [line["step"] for line in metrics(tmp_path) if "loss" in line] == [3, 6, 9, 10]
    assert np.isnan(metrics(tmp_path)[-1]["loss"])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["7"]
    pretrained = load_pretrained(tmp_path)
    assert pretrained.meta["graphs"][0]["name"] == "toy"


def test_command_line_says_so_and_exits_with_1(config_file, metrics, tmp_path, in_new_process):
    done = in_new_process(LAUNCH, f"--config={config_file}", f"--workdir={tmp_path}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"^error: step 1 on toy: loss .* gradient norm nan: not finite", done.stderr, re.MULTILINE), done.stderr
    assert np.isnan(metrics(tmp_path)[-1]["gradient_norm"])
    assert not list((tmp_path / "checkpoints").iterdir())


def test_nothing_is_written_for_a_graph_that_cannot_be_used(config, console, tmp_path):
    config.graphs = (str(tmp_path / "nowhere"),)
    with pytest.raises(DataError, match="nowhere"):
        pretrain(config, tmp_path / "run", console)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["steps", "log_every", "evaluate_every", "checkpoint_every", "valid_triples"])
def test_counts_below_one_are_refused(config, console, tmp_path, name):
    config[name] = 0
    with pytest.raises(TrainingError, match=f"config.{name} is 0; give at least 1"):
        pretrain(config, tmp_path / "run", console)
    assert not (tmp_path / "run").exists()
