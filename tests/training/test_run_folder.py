"""What a run leaves behind, and what opening it again does to it."""

import json
import struct

import jax
import numpy as np
import pytest
from full_disk import most_bytes_per_file
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from tofu_jax.errors import CheckpointError, TrainingError
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


def test_numbers_that_are_not_finite_are_valid_json_and_can_be_read_back(folder):
    for writer in (MetricsWriter(folder, 0), MetricsWriter(folder, 1)):  # the second one copies the first one's line
        writer.write(1, {"loss": float("nan"), "up": float("inf"), "down": -float("inf"), "graph": "toy"})
        writer.close()
    for text in (folder.folder / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert line == {"step": 1, "loss": "NaN", "up": "Infinity", "down": "-Infinity", "graph": "toy"}
        assert np.isnan(float(line["loss"]))
        assert (float(line["up"]), float(line["down"])) == (np.inf, -np.inf)
    folder.plot_curves()


def test_tensorboard_gets_every_number(folder):
    writer = MetricsWriter(folder, 7)
    writer.write(8, {"loss": 0.5, "graph": "toy", "time/step_s": float("nan")})
    writer.close()
    (path,) = (folder.folder / "tensorboard").glob("events.out.tfevents*")
    data, events = path.read_bytes(), []
    while data:  # length, checksum, event, checksum
        (size,) = struct.unpack("<Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert [event.step for event in events] == [0, 8, 8]
    assert events[1].session_log.status == SessionLog.START
    values = {value.tag: value.simple_value for value in events[2].summary.value}
    assert values.keys() == {"loss", "time/step_s"}
    assert values["loss"] == 0.5


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    """H3."""
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    folder = RunFolder(tmp_path, CONFIG)
    write(folder, 0, [1, 2])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"file/run: cannot be written .*--workdir"):
        RunFolder(tmp_path / "file" / "run", CONFIG)
    writer = MetricsWriter(folder, 0)
    with most_bytes_per_file(100), pytest.raises(TrainingError, match=r"cannot be written .*Free space"):
        for step in range(1, 9):
            writer.write(step, {"loss": 1.0})
    writer.close()
    assert folder.metrics()[0] == {"step": 1, "loss": 1.0}


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
