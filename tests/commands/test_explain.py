"""The command `tofu-jax explain`, end to end in a process of its own: what it prints and writes, and how it refuses."""

import io
import json

from PIL import Image


def test_the_command(call_many_times, run_folder, graph_folder, tmp_path):
    common = [f"--checkpoint={run_folder}", f"--graph={graph_folder}", "--relation=r1"]
    good = {
        "why.json": ["--head=the entity 1", "--tail=e5"],
        "why.png": ["--head=e1", "--tail=e5", "--messages=all"],
        "why.svg": ["--head=e1", "--tail=e4"],
    }
    bad = {
        "unknown entity 'the entty 1'. Did you mean 'the entity 1' (id 'e1')": (1, ["--head=the entty 1", "--tail=e2"]),
        "flag --tail=None: Flag --tail must have a value": (2, ["--head=e1"]),
        "must end in .png, .svg, .json": (2, ["--head=e1", "--tail=e2", "--output=why.txt"]),
    }
    calls = [[*common, *arguments, f"--output={tmp_path / name}"] for name, arguments in good.items()]
    calls += [[*common, *arguments] for _, arguments in bad.values()]
    outcomes = call_many_times("explain", calls)
    for code, output, errors in outcomes[: len(good)]:
        assert (code, errors) == (0, "")
        assert "the entity 1 —r1→ the entity " in output
        assert "everything" in output
        assert max(map(len, output.splitlines())) <= 100 or "why." in output
    assert "the entity 1 —r1→ the entity 5" in outcomes[0][1].split("Strongest paths")[0]
    assert "hidden from the model here" in outcomes[0][1]
    assert "No path of at most 1 facts" in outcomes[2][1]
    assert {path.name for path in tmp_path.iterdir()} == {*good}
    content = json.loads((tmp_path / "why.json").read_text())
    assert (content["head"], content["hidden"], content["known"]) == ({"id": "e1", "label": "the entity 1"}, True, "train")
    with Image.open(io.BytesIO((tmp_path / "why.png").read_bytes())) as picture:
        assert picture.format == "PNG"
    assert (tmp_path / "why.svg").read_bytes().startswith(b"<?xml")
    for (code, _, errors), (message, (expected, _)) in zip(outcomes[len(good) :], bad.items(), strict=True):
        assert code == expected, errors
        assert message in errors
        assert "Traceback" not in errors
