"""What a run leaves behind, and what opening it again does to it."""

import json

import pytest
from PIL import Image

from tofu_jax.errors import CheckpointError
from tofu_jax.training.run_folder import MetricsWriter, RunFolder, refuse_other_run

CONFIG = {"seed": 0, "graphs": ("a", "b"), "model": {"width": 4, "operators": ("product",)}}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "one", CONFIG)


def write(folder, done_steps, steps):
    """Writes a line for each step and one of an evaluation."""
    writer = MetricsWriter(folder, done_steps)
    for step in steps:
        writer.write(step, {"loss": 1 / step, "graph": "toy" if step % 2 else "other"})
    writer.write(steps[-1], {"valid_mrr/toy": 0.5})
    writer.close()


def test_config_is_written_as_json(folder):
    text = (folder.folder / "config.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(CONFIG))
    assert RunFolder(folder.folder, CONFIG).folder == folder.folder
    assert (folder.folder / "config.json").read_text() == text
    assert sorted(path.name for path in folder.folder.iterdir()) == ["config.json"]


def test_differences_are_listed(folder):
    other = {"seed": 1, "graphs": ("a",), "model": {"width": 4, "operators": ("product",), "layers": 2}}
    with pytest.raises(CheckpointError) as error:
        refuse_other_run(folder.folder, other)
    lines = str(error.value).splitlines()
    assert lines[0].startswith(str(folder.folder / "config.json"))
    assert [line.strip() for line in lines[1:-1]] == [
        "graphs: ['a', 'b'] there, ['a'] now",
        "model.layers: 'absent' there, 2 now",
        "seed: 0 there, 1 now",
    ]
    assert "--workdir" in lines[-1]
    with pytest.raises(CheckpointError):
        RunFolder(folder.folder, other)


def test_lines_after_the_checkpoint_are_dropped(folder):
    write(folder, 0, [1, 2, 3, 4])
    assert [line["step"] for line in folder.metrics()] == [1, 2, 3, 4, 4]
    write(folder, 2, [3, 4, 5])
    assert [line["step"] for line in folder.metrics()] == [1, 2, 3, 4, 5, 5]
    assert folder.metrics()[2] == {"step": 3, "loss": 1 / 3, "graph": "toy"}
    assert list((folder.folder / "tensorboard").glob("events.out.tfevents*"))


def test_a_line_that_a_kill_cut_off_is_dropped(folder):
    write(folder, 0, [1, 2])
    with (folder.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 0.')
    assert [line["step"] for line in folder.metrics()] == [1, 2, 2]
    write(folder, 2, [3])
    assert [line["step"] for line in folder.metrics()] == [1, 2, 2, 3, 3]


def test_a_loss_that_is_not_finite_can_be_read_back(folder):
    writer = MetricsWriter(folder, 0)
    writer.write(1, {"loss": float("nan"), "graph": "toy"})
    writer.close()
    assert str(folder.metrics()[0]["loss"]) == "nan"


@pytest.mark.parametrize("steps", [[1], [1, 2, 3], list(range(1, 60))])
def test_curves(folder, steps):
    write(folder, 0, steps)
    path = folder.plot_curves()
    assert path == folder.folder / "curves.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


def test_curves_of_nothing(folder):
    with Image.open(folder.plot_curves()) as picture:
        assert picture.format == "PNG"
