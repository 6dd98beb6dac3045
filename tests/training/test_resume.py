"""D1 and D2: a run is a function of its configuration, however often it is stopped, killed and resumed."""

import contextlib
import runpy
import shutil

import numpy as np
import pytest
import rich.console

from tofu_jax.errors import CheckpointError
from tofu_jax.training.loop import pretrain
from tofu_jax.training.prefetch import Prefetch

LAUNCH = """
import runpy, sys
sys.argv[0] = "launch/pretrain.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class StoppedError(Exception):
    """What stops a run from within."""


@contextlib.contextmanager
def stopping_at(step, monkeypatch):
    """A run within stops before the step, as if its process had been asked to end."""
    take = Prefetch.take

    def stop(prefetch, now):
        if now == step:
            raise StoppedError
        return take(prefetch, now)

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(Prefetch, "take", stop)
        yield


@pytest.fixture(scope="session")
def uninterrupted(config_file, saved, metrics, tmp_path_factory):
    """uninterrupted(steps): (last checkpoint, lines of metrics, folder) of a run that nothing disturbs."""
    runs = {}

    def run(steps):
        if steps not in runs:
            config = runpy.run_path(str(config_file))["get_config"]()
            config.steps = steps
            workdir = tmp_path_factory.mktemp("uninterrupted")
            pretrain(config, workdir, rich.console.Console(quiet=True))
            runs[steps] = saved(workdir, steps), metrics(workdir), workdir
        return runs[steps]

    return run


def check_same_run(workdir, steps, uninterrupted, saved, metrics):
    """Bit-equal parameters, optimizer state and metrics, and every line once."""
    expected_state, expected_lines, _ = uninterrupted(steps)
    state = saved(workdir, steps)
    assert state.keys() == expected_state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(value, expected_state[name], err_msg=name)
        assert value.dtype == expected_state[name].dtype
    assert metrics(workdir) == expected_lines


def test_two_runs_are_bit_equal(config, console, uninterrupted, saved, metrics, tmp_path):
    """D1; and a finished run that is started again stays as it is."""
    for _ in range(2):
        pretrain(config, tmp_path, console)
        check_same_run(tmp_path, 12, uninterrupted, saved, metrics)
    state, lines, _ = uninterrupted(12)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "valid_mrr/toy" in line] == [5, 10, 12]
    assert all(np.isfinite(value).all() for value in state.values())
    assert any("optimizer" in name and np.abs(value).sum() > 0 for name, value in state.items())


@pytest.mark.parametrize(
    ("stop", "every", "steps"),
    [
        (9, 7, 12),  # between two checkpoints: two steps are trained again, and stand in the metrics once
        *(pytest.param(stop, stop, 20, marks=pytest.mark.slow) for stop in (1, 7, 13)),
    ],
)
def test_resumed_in_a_new_process_is_bit_equal(
    stop, every, steps, config, config_file, console, uninterrupted, saved, metrics, tmp_path, monkeypatch, in_new_process
):
    """D2: stopped, then resumed from the command line."""
    config.steps, config.checkpoint_every = steps, every
    with stopping_at(stop, monkeypatch):
        pretrain(config, tmp_path, console)
    assert metrics(tmp_path)[-1]["step"] == stop
    overrides = [f"--config.steps={steps}", f"--config.checkpoint_every={every}"]
    done = in_new_process(LAUNCH, f"--config={config_file}", f"--workdir={tmp_path}", *overrides)
    assert done.returncode == 0, done.stderr
    assert f"resuming after step {stop // every * every}" in done.stdout
    check_same_run(tmp_path, steps, uninterrupted, saved, metrics)


def test_what_a_kill_leaves_half_written_is_cleared_away(config, console, uninterrupted, saved, metrics, tmp_path, monkeypatch):
    """A line of the metrics that was cut, and a checkpoint that was not finished (real kills: test_interruptions.py)."""
    config.checkpoint_every = 1
    with stopping_at(5, monkeypatch):
        pretrain(config, tmp_path, console)
    shutil.copytree(tmp_path / "checkpoints" / "5", tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    pretrain(config, tmp_path, console)
    check_same_run(tmp_path, 12, uninterrupted, saved, metrics)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    _, lines, _ = uninterrupted(12)
    best = max((line for line in lines if "valid_mrr" in line), key=lambda line: line["valid_mrr"])["step"]
    assert names == {"11", "12", str(best), "valid_mrr.json"}, "temporary folders of the killed run are left over"


def test_another_configuration_is_refused(config, console, uninterrupted):
    """Nothing is changed in the folder of the other run, and the message says what differs."""
    _, _, workdir = uninterrupted(12)
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    config.model.width, config.batch.examples = 8, 1
    with pytest.raises(CheckpointError) as error:
        pretrain(config, workdir, console)
    assert "model.width: 4 there, 8 now" in str(error.value)
    assert "batch.examples: 2 there, 1 now" in str(error.value)
    assert "steps" not in str(error.value)
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before
