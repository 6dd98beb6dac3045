"""The pages that say "type this" are typed: their commands run, in their order, in a folder with a model."""

import os
import pathlib
import subprocess
import sys

import pytest
from random_run import write_random_run

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the programs `tofu-jax` and `python`."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "bin").mkdir()
    for name, arguments in (("tofu-jax", "-m tofu_jax "), ("python", "")):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def folder_with_model(folder):
    """The same with runs/mix, a model of random parameters."""
    (folder / "runs").mkdir()
    write_random_run(folder / "runs" / "mix")
    return folder


def run(folder, blocks):
    """Runs blocks of `bash` and `python` as one script that stops at the first error."""
    script = ["set -eu"]
    for block in blocks:
        script.append(block.text if block.language == "bash" else f"python - <<'PYTHON'\n{block.text}PYTHON")
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "GLIBC_TUNABLES": "",
    }
    done = subprocess.run(
        ["/bin/bash", "-c", "\n".join(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def tutorial(blocks):
    page = [block for block in blocks("docs/tutorial.md") if block.language in ("bash", "python")]
    assert len(page) == 5
    return page


def test_the_graph_of_the_tutorial_has_no_mistakes(folder, tutorial):
    """What needs no model, for the default run."""
    output = run(folder, tutorial[:2])
    assert "11 entities, 4 relations, 14 / 1 / 2 train / valid / test facts" in output
    assert "valley: 0 errors" in output


@pytest.mark.slow
def test_the_tutorial(folder_with_model, tutorial):
    folder = folder_with_model
    output = run(folder, tutorial)
    for expected in ("valley", "(Brig, railway_to, ?)", "(?, speaks, German)", "(Thun, railway_to, ?)", "valley: MRR"):
        assert expected in output
    assert {"speakers.csv", "railways.csv"} <= {path.name for path in folder.iterdir()}
    assert (folder / "report" / "results.json").exists()


@pytest.mark.slow
def test_the_first_page(folder_with_model, blocks):
    page = [block for block in blocks("docs/index.md") if block.language in ("bash", "python")]
    assert len(page) == 2
    assert run(folder_with_model, page).count("(France, shares a border with, ?)") == 2
