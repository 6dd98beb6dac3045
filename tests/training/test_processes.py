"""H1 to H3, C2: several processes train as one does, stop together, and leave a run that any number of devices continues."""

import json
import os
import pathlib
import re
import runpy
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import rich.console

from tofu_jax.training.checkpoint import saved_steps
from tofu_jax.training.loop import pretrain
from tofu_jax.training.prefetch import Prefetch

ROOT = pathlib.Path(__file__).parents[2]
HEARTBEAT_TIMEOUT_S = 15
STEPS = 20
SAVING = {"steps": STEPS, "checkpoint_every": 6, "evaluate_every": STEPS}
SIGKILL, SIGTERM = 9, 15
# Several runs one after the other, since each process costs seconds: [workdir, settings, signal, at] each. Before the given
# step the last process sends itself the signal. Prints whether each run came to its end.
TRAIN = """
import json, os, pathlib, runpy, sys, time
import jax
import rich.console
from tofu_jax.errors import LostProcessError
from tofu_jax.training.loop import pretrain
from tofu_jax.training.parallel import join_processes
from tofu_jax.training.prefetch import Prefetch

config_file, runs, coordinator, processes, index, timeout_s = sys.argv[1:]
if coordinator:
    join_processes(coordinator, int(processes), int(index), int(timeout_s))
take = Prefetch.take
for workdir, settings, signal, at in json.loads(runs):
    def watched(prefetch, number):
        if signal and number == at and jax.process_index() == jax.process_count() - 1:
            os.kill(os.getpid(), signal)
        if signal == 15:
            time.sleep(0.2)  # the note has to reach the others before the last step
        return take(prefetch, number)
    Prefetch.take = watched
    config = runpy.run_path(config_file)["get_config"]()
    config.batch.relations = 4
    config.update(settings)
    try:
        print(pretrain(config, pathlib.Path(workdir), rich.console.Console(quiet=True)) is not None, flush=True)
    except LostProcessError as error:  # as tofu_jax.launching does
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
"""


@pytest.fixture(scope="module")
def start(compiled, config_file):
    """start(runs, devices, processes=1, index=0, coordinator=""): a process with so many devices that trains."""

    def run(runs, devices, processes=1, index=0, coordinator=""):
        settings = {
            "JAX_COMPILATION_CACHE_DIR": compiled,
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        }
        runs = [[str(workdir), *rest] for workdir, *rest in runs]
        numbers = (processes, index, HEARTBEAT_TIMEOUT_S)
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(config_file), json.dumps(runs), coordinator, *map(str, numbers)],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    started: list[subprocess.Popen] = []
    yield run
    for process in started:  # where a test has failed
        process.kill()
        process.communicate()


def free_address():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return f"localhost:{listener.getsockname()[1]}"


def whole(process):
    """What a process printed, line by line, once it has ended well."""
    output, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors
    return output.split()


@pytest.fixture(scope="module")
def runs(start, tmp_path_factory):
    """Two processes of two devices train twice: to the end, and until one of them is killed.

    Returns:
      {"whole", "killed"}: the folders; "one": as "whole" by one process of four devices, which then also continues
      "killed"; "saved": {run: steps saved by the two}; "printed", "errors", "seconds": of the process that was not killed,
      and how long it took to end after the other.
    """
    folders = {name: tmp_path_factory.mktemp("runs") / name for name in ("whole", "killed", "one")}
    todo = [
        (folders["whole"], SAVING, None, 0),
        (folders["killed"], SAVING, SIGKILL, 13),
    ]
    coordinator = free_address()
    survivor, killed = (start(todo, 2, 2, index, coordinator) for index in (0, 1))
    killed.communicate(timeout=1200)
    began = time.monotonic()
    printed, errors = survivor.communicate(timeout=1200)
    found = {"seconds": time.monotonic() - began, "printed": printed.split(), "errors": errors}
    assert killed.returncode == -SIGKILL
    assert survivor.returncode != 0
    found["saved"] = {name: saved_steps(folders[name] / "checkpoints") for name in folders}
    whole(start([(folders["one"], SAVING, None, 0), (folders["killed"], SAVING, None, 0)], 4))
    return found | folders


def check_same_training(one, other, saved, metrics):
    """Up to the rounding of sums."""
    lines, expected = metrics(other), metrics(one)
    assert [line["step"] for line in lines] == [line["step"] for line in expected]
    for line, wanted in zip(lines, expected, strict=True):
        assert line.keys() == wanted.keys()
        for name in line.keys() - {"graph"}:
            assert line[name] == pytest.approx(wanted[name], rel=1e-6), name
    found, wanted = saved(other, STEPS), saved(one, STEPS)
    assert found.keys() == wanted.keys()
    # The keys' bias moves all scores of an attention alike: its gradient is rounding alone, by whose size Adam divides it.
    names = wanted.keys() - {"params['params']['fusion']['key']['bias']"}
    difference = [np.linalg.norm(found[name] - wanted[name]) for name in names if name.startswith("params")]
    size = [np.linalg.norm(wanted[name]) for name in names if name.startswith("params")]
    assert np.linalg.norm(difference) < 1e-7 * np.linalg.norm(size)
    for name in names:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_two_processes_train_as_one(runs, saved, metrics):
    """H1; and H3: each line of the metrics is there once."""
    check_same_training(runs["one"], runs["whole"], saved, metrics)
    assert len(metrics(runs["whole"])) == STEPS + 1
    assert len(list((runs["whole"] / "tensorboard").iterdir())) == 1
    assert (runs["whole"] / "curves.png").exists()
    assert runs["printed"][-1] == "True"


@pytest.mark.slow
def test_sigterm_to_one_process_stops_all_after_the_same_step(start, metrics, tmp_path):
    """C2: the one that was not asked saves, too, and both say that the run is not at its end."""
    todo, coordinator = [(tmp_path, SAVING | {"checkpoint_every": STEPS}, SIGTERM, 3)], free_address()
    processes = [start(todo, 2, 2, index, coordinator) for index in (0, 1)]
    assert [whole(process)[-1] for process in processes] == ["False", "False"]
    (step,) = saved_steps(tmp_path / "checkpoints")
    assert 3 <= step < STEPS
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, step + 1))


def test_when_one_process_is_killed_the_others_end_and_say_so(runs):
    """H2."""
    assert runs["seconds"] < HEARTBEAT_TIMEOUT_S + 15
    # This project's words; JAX's where the process was waiting; or those of gloo, which sums on CPUs and can end it by itself.
    assert re.search("Most likely another has ended|another task died|gloo", runs["errors"]), runs["errors"]
    assert runs["saved"]["killed"] in ([6], [6, 12])  # the last save was under way


def test_the_killed_run_is_continued_by_another_number_of_processes(runs, saved, metrics):
    check_same_training(runs["one"], runs["killed"], saved, metrics)


class StoppedError(Exception):
    """What stops a run from within."""


@pytest.mark.slow
def test_a_run_moves_from_four_devices_to_one_and_to_two(runs, start, config_file, saved, metrics, tmp_path, monkeypatch):
    """C5."""
    stopped = start([(tmp_path, SAVING, SIGKILL, 13)], 4)
    assert stopped.wait(timeout=1200) == -SIGKILL
    config = runpy.run_path(str(config_file))["get_config"]()
    config.batch.relations = 4
    config.update(SAVING)
    take = Prefetch.take

    def stop(prefetch, number):
        if number == 18:
            raise StoppedError
        return take(prefetch, number)

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(Prefetch, "take", stop)
        pretrain(config, tmp_path, rich.console.Console(quiet=True))
    assert saved_steps(tmp_path / "checkpoints")[-1] == 18
    whole(start([(tmp_path, SAVING, None, 0)], 2))
    check_same_training(runs["one"], tmp_path, saved, metrics)


@pytest.mark.slow
def test_the_same_command_again_continues_after_a_loss(compiled, config_file, metrics, tmp_path):
    """H2 in the shell: launch/pretrain.py by two processes, one of which is killed; then both again."""
    code = (
        "import os, runpy, sys; from tofu_jax.training.prefetch import Prefetch; take = Prefetch.take\n"
        "def watched(prefetch, number):\n"
        "    if number == int(os.environ['KILLED_AT']): os.kill(os.getpid(), 9)\n"
        "    return take(prefetch, number)\n"
        "Prefetch.take = watched; sys.argv[0] = 'launch/pretrain.py'; runpy.run_path(sys.argv[0], run_name='__main__')"
    )

    def both(killed_at):
        coordinator, processes = free_address(), []
        for index in (0, 1):
            command = [sys.executable, "-c", code, f"--config={config_file}", f"--workdir={tmp_path}"]
            command += ["--config.checkpoint_every=2", f"--coordinator_address={coordinator}", "--num_processes=2"]
            command += [f"--process_id={index}", f"--heartbeat_timeout_s={HEARTBEAT_TIMEOUT_S}"]
            environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": compiled}
            environment |= {"KILLED_AT": str(killed_at if index else -1)}
            processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True))
        return [(*process.communicate(timeout=1200), process.returncode) for process in processes]

    first, second = both(6)
    assert second[-1] == -SIGKILL
    assert first[-1] != 0
    for index, (output, errors, code_of_exit) in enumerate(both(-1)):
        assert code_of_exit == 0, errors
        assert (re.search(r"resuming after step [46]", output) is None) == bool(index), "only the first one prints"
    assert [line["step"] for line in metrics(tmp_path) if "loss" in line] == list(range(1, 13))
