"""Several processes, one run: on a TPU pod, under SLURM, Open MPI or Kubernetes, or wherever the command line says so.

Every process runs the same command on the same data. The queries of a step are split over all devices of all processes
(`step`), so each process draws its own part of one batch; checkpoints, metrics and reports are written by the first alone.
"""

import contextlib
import glob
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from tofu_jax.errors import LostProcessError, TrainingError

# A process takes part in a job of several where all variables of a line are set: SLURM, Open MPI, Kubernetes.
_VARIABLES = (
    ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"),
    ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"),
)


def join_processes(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout_s: int = 100,
) -> None:
    """Makes this process one of several; does nothing on a machine by itself. Call before anything is computed.

    Args:
      coordinator_address: host:port of the first process, the same for all.
      num_processes: in all.
      process_id: of this one, from 0. All three, or none of them: then the cluster is asked (Cloud TPU, SLURM, Open MPI, an
        indexed job on Kubernetes).
      heartbeat_timeout_s: a process that has ended, or cannot be reached, is noticed after so many seconds; all others then
        end too.

    Raises:
      TrainingError: some of the three are missing, or the cluster does not tell them; the others did not come.
    """
    given = (coordinator_address, num_processes, process_id)
    told = [value is not None for value in given]
    if any(told) and not all(told):
        raise TrainingError("--coordinator_address, --num_processes and --process_id go together: give all three, or none.")
    if not all(told) and not _in_cluster():
        return
    detection = "deactivate" if all(told) else None  # None: JAX tries every kind of cluster that it knows
    timeouts = {"heartbeat_timeout_seconds": heartbeat_timeout_s, "shutdown_timeout_seconds": heartbeat_timeout_s}
    try:
        jax.distributed.initialize(*given, cluster_detection_method=detection, **timeouts)
    except (ValueError, RuntimeError) as error:
        raise TrainingError(
            f"this process cannot join the others ({str(error).splitlines()[0]}). Check that all of them run and reach the "
            "first one, or say who they are: --coordinator_address, --num_processes, --process_id."
        ) from error


def _in_cluster() -> bool:
    """Whether a cluster has started this process, so that JAX can find the others."""
    for variables in _VARIABLES:
        if all(variable in os.environ for variable in variables):
            # Without this package JAX cannot ask Kubernetes.
            return variables != _VARIABLES[-1] or importlib.util.find_spec("kubernetes") is not None
    # What a TPU machine belongs to only its metadata tell; a machine without TPUs is not asked, since that takes time.
    has_devices = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    return bool(has_devices) and importlib.util.find_spec("libtpu") is not None


def is_first_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def check_same_everywhere(values: Mapping[str, Any]) -> None:
    """Raises a `TrainingError` that names what differs between processes.

    Args:
      values: {name: JSON value}, of which each process passes its own; nested ones are compared as wholes.
    """
    if jax.process_count() == 1:
        return
    digests = [hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest() for value in values.values()]
    mine = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)
    everyone = from_every_process(mine)  # [processes, values, 32]
    different = (everyone != everyone[0]).any(axis=2)
    if different.any():
        who, what = np.nonzero(different)
        names = ", ".join(name for i, name in enumerate(values) if i in what)
        raise TrainingError(
            f"process {', '.join(map(str, sorted(set(who.tolist()))))} has another {names} than process 0: give every process "
            "the same command, the same version of tofu_jax and the same data."
        )


def wait_for_all(what: str) -> None:
    """Returns when every process has come here; `what`: a name of the place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def from_every_process(values: np.ndarray) -> np.ndarray:
    """What all processes pass, [processes, ...], bit for bit; each has to call it, with an array [n, ...] of the same shape."""
    if jax.process_count() == 1:
        return values[None]
    everyone = multihost_utils.process_allgather(np.ascontiguousarray(values).view(np.uint8))  # JAX would round float64
    return np.asarray(everyone).view(values.dtype)


@contextlib.contextmanager
def noticing_lost_processes() -> Iterator[None]:
    """Says what an error of a collective means where there are several processes.

    Not every loss comes up here: while a collective waits for a process that has ended, it is JAX that ends this process,
    with a message of its own, after `heartbeat_timeout_s`.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        raise LostProcessError(
            f"process {jax.process_index()} of {jax.process_count()}: {str(error).splitlines()[0]}. Most likely another has "
            "ended: look for the first error among all of them, then start all with the same command again; they continue from "
            "the latest checkpoint."
        ) from error
