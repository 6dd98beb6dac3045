"""The files that launch a run on clusters: what can be said of them without one."""

import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from absl import flags

from tofu_jax.commands import pretrain  # noqa: F401 defines the flags

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = ("launch/tpu_pod.sh", "launch/slurm.sbatch")
FILES = (*SCRIPTS, "launch/kubernetes.yaml", "docs/pods.md")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_sound(name):
    subprocess.run(["/bin/bash", "-n", ROOT / name], check=True)
    if shellcheck := shutil.which("shellcheck"):
        subprocess.run([shellcheck, "--shell=bash", ROOT / name], check=True)
    assert "set -euo pipefail" in (ROOT / name).read_text()


def test_the_tpu_script_says_how_to_call_it():
    done = subprocess.run(["/bin/bash", ROOT / "launch/tpu_pod.sh", "only-a-name"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "launch/tpu_pod.sh <name of the TPU> <zone> --config=" in done.stderr


def test_a_slurm_job_comes_back_after_a_failure():
    text = (ROOT / "launch/slurm.sbatch").read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert {"nodes", "time", "requeue", "signal", "open-mode"} <= options.keys()
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    # All options stand before the first command; sbatch reads no further.
    assert text.rindex("#SBATCH") < text.index("set -euo")


def test_the_job_set_is_whole():
    (job_set,) = yaml.safe_load_all((ROOT / "launch/kubernetes.yaml").read_text())
    assert (job_set["apiVersion"], job_set["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert job_set["spec"]["failurePolicy"]["maxRestarts"] > 0
    (workers,) = job_set["spec"]["replicatedJobs"]
    job = workers["template"]["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["backoffLimit"] == 0  # the job set restarts all, a job alone only the pod that failed
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] >= 30
    (container,) = pod["containers"]
    (command,) = container["args"]
    assert f"--num_processes={job['parallelism']} " in command
    assert job["completions"] == job["parallelism"]
    name, port = job_set["metadata"]["name"], container["ports"][0]["containerPort"]
    assert f"--coordinator_address={name}-{workers['name']}-0-0.{name}:{port} " in command
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
    assert re.search(r"--workdir=(\S+)", command)[1].startswith(mounted["runs"])


@pytest.mark.parametrize("name", FILES)
def test_flags_and_files_exist(name):
    text = (ROOT / name).read_text()
    of_others = {"format", "output", "zone", "worker", "command", "quiet", "kill-on-bad-exit", "account", "partition"}
    of_others |= {"ntasks-per-node", "gpus-per-node", "xla_force_host_platform_device_count"}
    lines = [line for line in text.splitlines() if not line.startswith("#SBATCH")]
    for flag in re.findall(r"(?<![\w-])--([a-z_-]+)[= ]", "\n".join(lines)):
        assert flag in of_others or flag in flags.FLAGS, flag
    for path in re.findall(r"(?<!\S)((?:launch|configs|docs)/[\w.]+)", text):
        assert (ROOT / path).exists(), path


def test_the_page_names_every_file():
    text = (ROOT / "docs/pods.md").read_text()
    assert all(name in text for name in FILES[:-1])
