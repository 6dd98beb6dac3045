"""`tofu-jax export`, from a run to a folder that loads."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from tofu_jax.inference.model_folder import CARD, CONFIG, FILES
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.training.checkpoint import CheckpointStore
from tofu_jax.training.step import TrainState

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run(small_model, tmp_path):
    """The folder of a run that ended with the small model."""
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    state = TrainState(jax.tree.map(np.asarray, small_model.params), {"count": np.int32(12)})
    store.save(small_model.step, state, small_model.tokenizers.codebooks["image"], small_model.meta)
    store.close()
    return tmp_path / "run"


def test_a_run_becomes_a_folder_to_share(bits, quick_loading, small_model, run, tmp_path):
    figures = {
        "graph": "toy",
        "checkpoint": "run step 12",
        "metrics": {"realistic": {"mrr": 0.5, "hits@1": 0.4, "hits@10": 0.9}},
        "baselines": {},
        "protocol": {"split": "test"},
        "queries": 20,
    }
    (tmp_path / "results.json").write_text(json.dumps(figures))
    arguments = (
        "--checkpoint=run",
        "--output=shared/model",
        "--name=tiny",
        "--licence=mit",
        "--figures=results.json",
        "--examples=4",
    )
    done = subprocess.run(
        [sys.executable, ROOT / "launch" / "export.py", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "exported run step 12"
    folder = tmp_path / "shared" / "model"
    assert sorted(os.listdir(folder)) == sorted(FILES)
    loaded = load_pretrained(folder)
    assert bits(loaded.params) == bits(small_model.params)
    assert json.loads((folder / CONFIG).read_text())["name"] == "tiny"
    assert (loaded.num_examples, small_model.num_examples) == (4, 2)
    assert str(tmp_path) not in (folder / CONFIG).read_text() + (folder / CARD).read_text()
    assert "| toy | test | 20 | 0.500 | 0.400 | 0.900 |" in (folder / CARD).read_text()
