"""How a process finds out that it is one of several, and what it says when something is wrong; without any others."""

import jax
import numpy as np
import pytest

from tofu_jax.errors import LostProcessError, TrainingError
from tofu_jax.training import parallel

CLUSTERS = {
    "slurm": {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
    },
    "ompi": {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://h:1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"},
    "k8s": {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"},
}


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """What JAX is asked for; on a machine that knows of no cluster, but has what JAX needs to ask Kubernetes."""
    for variables in CLUSTERS.values():
        for name in variables:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: name == "kubernetes")
    made = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given, **settings: made.append((given, settings)))
    return made


def test_a_machine_by_itself_joins_nobody(calls):
    parallel.join_processes()
    assert not calls


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_is_noticed(name, calls, monkeypatch):
    *most, last = CLUSTERS[name].items()
    for variable, value in most:
        monkeypatch.setenv(variable, value)
    parallel.join_processes()
    assert not calls, "a shell on a cluster's node is not yet a job of several processes"
    monkeypatch.setenv(*last)
    parallel.join_processes(heartbeat_timeout_s=30)
    ((given, settings),) = calls
    assert given == (None, None, None)
    assert settings["cluster_detection_method"] is None
    assert settings["heartbeat_timeout_seconds"] == 30


def test_what_the_command_line_says_comes_first(calls, monkeypatch):
    for variable, value in CLUSTERS["slurm"].items():
        monkeypatch.setenv(variable, value)
    parallel.join_processes("host:1234", 2, 1)
    ((given, settings),) = calls
    assert given == ("host:1234", 2, 1)
    assert settings["cluster_detection_method"] == "deactivate"


def test_half_of_the_flags_are_refused():
    with pytest.raises(TrainingError, match="--coordinator_address, --num_processes and --process_id go together"):
        parallel.join_processes(num_processes=2)


def test_what_cannot_be_joined(monkeypatch):
    def fail(*_, **__):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(TrainingError, match=r"cannot join the others \(coordinator_address should be defined"):
        parallel.join_processes("host:1234", 2, 1)


def test_what_differs_between_processes_is_named(monkeypatch):
    values = {"configuration": {"steps": 1}, "graphs": ["a", "b"], "step": None}
    parallel.check_same_everywhere(values)  # one process is like itself
    seen = []
    monkeypatch.setattr(parallel.jax, "process_count", lambda: 2)
    monkeypatch.setattr(parallel, "from_every_process", lambda mine: seen.append(mine) or np.stack([mine, seen[0]]))
    parallel.check_same_everywhere(values)
    with pytest.raises(TrainingError, match=r"process 1 has another graphs than process 0.*the same data"):
        parallel.check_same_everywhere(values | {"graphs": ["a", "c"]})


def test_an_error_of_a_collective_means_that_a_process_is_lost(monkeypatch):
    def fail():
        with parallel.noticing_lost_processes():
            raise jax.errors.JaxRuntimeError("INTERNAL: connection closed by peer\nmore")

    with pytest.raises(jax.errors.JaxRuntimeError):
        fail()
    monkeypatch.setattr(parallel.jax, "process_count", lambda: 2)
    with pytest.raises(
        LostProcessError, match=r"process 0 of 2: INTERNAL: connection closed by peer\. .*the same command again"
    ):
        fail()
