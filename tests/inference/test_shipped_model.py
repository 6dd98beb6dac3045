"""The model that ships with the package: small, whole, worth having, and there wherever the package is installed."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import venv

import numpy as np
import pytest
import rich.console

from tofu_jax.evaluation.zero_shot import evaluate_zero_shot
from tofu_jax.graphs.builtin import load_builtin
from tofu_jax.inference.model_folder import CARD, CONFIG, FILES, WEIGHTS
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.inference.sources import SHIPPED

ROOT = pathlib.Path(__file__).parents[2]
MOST_BYTES = 2_000_000
NOT_COPIED = (".*", "runs", "build", "shared", "*.egg-info", "*.so", "__pycache__")

shipped = pytest.mark.skipif(not SHIPPED.is_dir(), reason="no model is shipped yet")


@shipped
def test_the_shipped_model_is_small_and_whole():
    assert sorted(os.listdir(SHIPPED)) == sorted(FILES)
    assert sum((SHIPPED / name).stat().st_size for name in FILES) <= MOST_BYTES
    config = json.loads((SHIPPED / CONFIG).read_text())
    assert config["weights_sha256"] == hashlib.sha256((SHIPPED / WEIGHTS).read_bytes()).hexdigest()
    assert config["licence"], "a model that is given away needs a licence"
    assert sum(source["removed_evaluation_facts"] for source in config["sources"]) > 0
    assert "elements" not in [source["name"] for source in config["sources"]]
    card = (SHIPPED / CARD).read_text()
    assert config["weights_sha256"] in card
    assert "| elements | test |" in card, "export it with --figures, of tofu-jax zero-shot --graph=elements"
    pretrained = load_pretrained()
    assert pretrained.step == config["step"]


@shipped
@pytest.mark.slow
def test_the_shipped_model_is_worth_it():
    graph = load_builtin("elements")
    results = evaluate_zero_shot(load_pretrained(), graph, rich.console.Console(quiet=True), controls=False)
    prior = results["baselines"]["degree prior"]["realistic"]["mrr"]
    assert results["metrics"]["realistic"]["mrr"] > prior


@pytest.mark.slow
def test_an_installed_wheel_has_the_model(small_model, tmp_path):
    """Checkout → sdist → wheel → fresh environment, where nothing of the checkout can be found."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*NOT_COPIED))
    if not SHIPPED.is_dir():
        small_model.save_pretrained(checkout / "tofu_jax" / "pretrained")
    shipped = (checkout / "tofu_jax" / "pretrained" / WEIGHTS).read_bytes()
    python, environment = fresh_environment(tmp_path / "fresh")

    def call(*command, cwd=tmp_path):
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call(python, "-m", "pip", "install", "--quiet", "setuptools>=77")
    backend = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    call(python, "-c", backend, cwd=checkout)
    (sdist,) = tmp_path.glob("*.tar.gz")
    pip = (python, "-m", "pip")
    call(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={tmp_path}", sdist)
    (wheel,) = tmp_path.glob("*.whl")
    call(*pip, "install", "--quiet", "--no-deps", wheel)
    shutil.rmtree(checkout)

    folder = pathlib.Path(call(python, "-c", "from tofu_jax.inference.sources import SHIPPED; print(SHIPPED)").strip())
    assert folder.is_relative_to(tmp_path / "fresh")
    assert sorted(os.listdir(folder)) == sorted(FILES)
    assert (folder / WEIGHTS).read_bytes() == shipped
    (tmp_path / "toy").mkdir()
    for name, text in {"train.txt": "a\tr\tb\nb\tr\tc\n", "valid.txt": "a\tr\tc\n", "test.txt": "c\tr\ta\n"}.items():
        (tmp_path / "toy" / name).write_text(text)
    call(python.parent / "tofu-jax", "zero-shot", "--graph=toy", "--nocontrols", "--output=report")
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["checkpoint"].startswith("tofu_jax's own model step ")
    assert np.isfinite(results["metrics"]["realistic"]["mrr"])


def fresh_environment(folder):
    """An environment with pip that finds the dependencies of this one, but after its own packages, and none of its code."""
    venv.create(folder, with_pip=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return folder / "bin" / "python", environment
