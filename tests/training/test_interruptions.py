"""C1 to C4: whatever ends a run from outside, the same command again comes to the same end, bit for bit."""

import contextlib
import gc
import json
import os
import pathlib
import re
import runpy
import signal

import numpy as np
import pytest
import rich.console

from tofu_jax.errors import CheckpointError
from tofu_jax.training import loop
from tofu_jax.training.checkpoint import read_checkpoint, saved_steps
from tofu_jax.training.loop import pretrain
from tofu_jax.training.prefetch import Prefetch

# launch/pretrain.py as in the shell, but `{event}` happens just before step {at} begins.
LAUNCH = """
import os, resource, runpy, signal, sys
from tofu_jax.training.prefetch import Prefetch
take = Prefetch.take
def watched(prefetch, step):
    if step == {at}:
        {event}
    return take(prefetch, step)
Prefetch.take = watched
sys.argv[0] = "launch/pretrain.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SIGTERM = "os.kill(os.getpid(), signal.SIGTERM)"
FULL_DISK = "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))"

# Trains in one forked child after the other, each killed at a random moment; the last one is left alone. To fork costs less
# than to start anew, and is safe as long as JAX has not begun to compute; it does so in the children only.
KILLS = """
import json, os, pathlib, random, runpy, signal, sys, threading, time
import rich.console
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.training import loop
from tofu_jax.training.checkpoint import saved_steps
from tofu_jax.training.mixture import Mixture

config_file, workdir, kills, steps, seed = sys.argv[1], pathlib.Path(sys.argv[2]), *map(int, sys.argv[3:])
random.seed(seed)
config = runpy.run_path(config_file)["get_config"]()
config.steps, config.checkpoint_every, config.evaluate_every = steps, 2, 9
loaded = TextTokenizer.load()  # once, not in each child
TextTokenizer.load = classmethod(lambda cls: loaded)

def train(delay_s):
    batch = Mixture.batch
    def watched(mixture, step, position=None):
        if position is None and delay_s is not None:  # training begins: the clock starts
            Mixture.batch = batch
            threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return batch(mixture, step, position)
    Mixture.batch = watched
    loop.pretrain(config, workdir, rich.console.Console(quiet=True))

def last_step():
    path = workdir / "metrics.jsonl"
    lines = path.read_text().split("\\n")[:-1] if path.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)

report = []
while True:
    survived = sum(entry["killed"] for entry in report) >= kills
    delay_s = None if survived else random.uniform(0, 0.25)
    child = os.fork()
    if not child:
        train(delay_s)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, status
    saved = saved_steps(workdir / "checkpoints")
    left = [path.name for path in (workdir / "checkpoints").glob("*tmp*")] if (workdir / "checkpoints").exists() else []
    report.append({"killed": killed, "done": last_step(), "saved": saved[-1] if saved else 0, "unfinished": len(left)})
    if not killed:
        break
print(json.dumps(report))
"""


# Where reading fails, Orbax leaves an event loop and coroutines behind (see test_checkpoint.py).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def leave_nothing_behind():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def uninterrupted(config_file, saved, metrics, tmp_path_factory):
    """(last checkpoint, lines of metrics) of a run that nothing disturbs, by number of steps and settings."""
    runs = {}

    def run(**settings):
        key = json.dumps(settings)
        if key not in runs:
            config = runpy.run_path(str(config_file))["get_config"]()
            config.update(settings)
            workdir = tmp_path_factory.mktemp("uninterrupted")
            pretrain(config, workdir, rich.console.Console(quiet=True))
            runs[key] = saved(workdir, config.steps), metrics(workdir)
        return runs[key]

    return run


def check_same_end(workdir, expected, saved, metrics):
    state, lines = expected
    steps = max(line["step"] for line in lines)
    found = saved(workdir, steps)
    assert found.keys() == state.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
    assert metrics(workdir) == lines


@pytest.mark.parametrize("kills", [1, pytest.param(60, marks=pytest.mark.slow)])
def test_kills_at_random_moments(kills, config_file, uninterrupted, saved, metrics, tmp_path, in_new_process):
    """C1: every restart finds a whole step, and no more is lost than the steps of an interval and of the save under way."""
    steps = 30 * kills
    done = in_new_process(KILLS, config_file, tmp_path, kills, steps, 0, TOKENIZERS_PARALLELISM="false")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    print(report)
    assert sum(entry["killed"] for entry in report) == kills
    lost = [entry["done"] - entry["saved"] for entry in report[:-1]]
    assert max(lost) <= 2 * 2
    check_same_end(tmp_path, uninterrupted(steps=steps, checkpoint_every=2, evaluate_every=9), saved, metrics)


def test_sigterm_saves_and_ends_well(config, config_file, console, uninterrupted, saved, metrics, tmp_path, in_new_process):
    """C2: the step under way is finished and saved; the same command again goes on from there."""
    arguments = (f"--config={config_file}", f"--workdir={tmp_path}")
    done = in_new_process(LAUNCH.format(event=SIGTERM, at=3), *arguments)
    assert done.returncode == 0, done.stderr
    assert saved_steps(tmp_path / "checkpoints") == [4]
    assert "SIGTERM: saved" in done.stdout
    assert not (tmp_path / "report").exists()
    assert pretrain(config, tmp_path, console) is not None
    check_same_end(tmp_path, uninterrupted(), saved, metrics)


def test_sigterm_while_evaluating_gives_the_evaluation_up(
    config, console, uninterrupted, saved, metrics, tmp_path, monkeypatch
):
    """It may take longer than the time that is left; it is made up for after the restart."""
    rank_queries = loop.rank_queries

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return rank_queries(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "rank_queries", signalled)
        assert pretrain(config, tmp_path, console) is None
    assert saved_steps(tmp_path / "checkpoints") == [5]
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3, 4, 5]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    pretrain(config, tmp_path, console)
    check_same_end(tmp_path, uninterrupted(), saved, metrics)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_leaves_what_was_saved(
    config, config_file, console, uninterrupted, saved, metrics, tmp_path, in_new_process
):
    """C3, as the shell sees it: no file may grow beyond 9 kB from step 7 on."""
    arguments = (f"--config={config_file}", f"--workdir={tmp_path}", "--config.checkpoint_every=2")
    done = in_new_process(LAUNCH.format(event=FULL_DISK, at=7), *arguments)
    assert done.returncode == 1
    assert f"error: {tmp_path}" in done.stderr, done.stderr
    # The array store's threads may print tracebacks of their own while they end; none goes through this package.
    assert "tofu_jax" not in "".join(re.findall(r'File ".*"', done.stderr)), done.stderr
    assert saved_steps(tmp_path / "checkpoints")[-1] in (5, 6)  # 6 may have been under way in the background
    config.checkpoint_every = 2
    pretrain(config, tmp_path, console)
    check_same_end(tmp_path, uninterrupted(checkpoint_every=2), saved, metrics)


def test_a_damaged_checkpoint_is_refused_and_passed_over_when_asked(
    config, console, uninterrupted, saved, metrics, tmp_path, monkeypatch
):
    """C4."""

    class StoppedError(Exception):
        pass

    def stop(prefetch, step, take=Prefetch.take):
        if step == 9:
            raise StoppedError
        return take(prefetch, step)

    with monkeypatch.context() as patch, contextlib.suppress(StoppedError):
        patch.setattr(Prefetch, "take", stop)
        pretrain(config, tmp_path, console)
    checkpoints = tmp_path / "checkpoints"
    assert saved_steps(checkpoints) == [5, 7]
    largest = max(checkpoints.glob("7/optimizer/**/*"), key=lambda path: path.stat().st_size * path.is_file())
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"checkpoints/7: damaged .*--fall_back"):
        pretrain(config, tmp_path, console)
    assert read_checkpoint(tmp_path).step == 7
    pretrain(config, tmp_path, console, fall_back=True)
    check_same_end(tmp_path, uninterrupted(), saved, metrics)
    assert pathlib.Path(checkpoints / "7.damaged").is_dir()
