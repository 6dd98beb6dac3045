"""The command `tofu-jax serve`, in a process of its own: it answers, it warns, and it ends when it is told to."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import httpx2
import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(run_folder, tmp_path_factory):
    """The folder of a run, and a file of facts."""
    graph = tmp_path_factory.mktemp("graphs") / "toy.tsv"
    graph.write_text("".join(f"e{i}\tr{i % 2}\te{i * 5 % 12}\n" for i in range(12)))
    return run_folder, graph


def command(run, graph, *arguments):
    return [sys.executable, "-m", "tofu_jax", "serve", f"--checkpoint={run}", f"--graph={graph}", *arguments]


ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "JAX_COMPILATION_CACHE_DIR": "",
    "GLIBC_TUNABLES": "",
}


def test_it_answers_until_it_is_told_to_stop(folders):
    arguments = command(*folders, "--host=0.0.0.0", "--port=0")
    with subprocess.Popen(
        arguments, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as serving:
        try:
            lines = []
            while not (lines and " on http://0.0.0.0:" in lines[-1]):
                lines.append(serving.stdout.readline())
                assert lines[-1], serving.stderr.read()
            assert "WARNING: whoever can reach this machine can ask." in " ".join(lines)
            port = int(lines[-1].rstrip("/\n").rsplit(":", 1)[1])
            # The line is printed just before connections are taken.
            with httpx2.Client(transport=httpx2.HTTPTransport(retries=8), timeout=60) as client:
                body = {"queries": [{"head": "e3", "relation": "r1"}], "k": 2}
                answers = client.post(f"http://127.0.0.1:{port}/predict", json=body).json()["answers"]
            assert [row["head"] for row in answers[0]["predictions"]] == ["e3", "e3"]
            serving.send_signal(signal.SIGTERM)
            out, errors = serving.communicate(timeout=60)
            assert (serving.returncode, out, errors) == (0, "stopped\n", "")
        finally:
            serving.kill()


def test_a_taken_port_is_told_at_once(folders):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            command(*folders, f"--port={taken.getsockname()[1]}"), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: 127.0.0.1:")
    assert "choose another --host or --port" in done.stderr
