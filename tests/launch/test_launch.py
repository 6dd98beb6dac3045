"""The commands of the README, end to end and in processes of their own: what they write, and how they refuse."""

import json
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tofu_jax.evaluation.ranking import POLICIES, sample_triples
from tofu_jax.evaluation.tables import METRICS
from tofu_jax.graphs.builtin import load_builtin

ROOT = pathlib.Path(__file__).parents[2]
INDUCTIVE = {
    "train.txt": "a\tr\tb\nb\tr\tc\n",
    "valid.txt": "a\tr\tc\n",
    "test.txt": "c\tr\ta\n",
    "inference_graph.txt": "u\tr\tv\nv\tr\tw\nw\ts\tu\n",
    "inference_valid.txt": "u\tr\tw\n",
    "inference_test.txt": "v\ts\tu\nw\tr\tv\n",
}
# Several calls in one process, since each process costs seconds: prints the exit code and stderr of each.
MANY_CALLS = """
import contextlib, io, json, sys
from absl import flags
from tofu_jax import launching
from tofu_jax.commands import zero_shot

outcomes = []
for arguments in json.loads(sys.argv[1]):
    flags.FLAGS.unparse_flags()
    sys.argv = ["launch/zero_shot.py", *arguments]
    code, errors = None, io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            launching.run(zero_shot)
        except SystemExit as stop:
            code = stop.code
    outcomes.append((code, errors.getvalue()))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """launch(script or code, *arguments): runs it to its end, with a folder of compiled programs of its own."""
    compiled = str(tmp_path_factory.mktemp("compiled"))

    def run(what, *arguments):
        command = [sys.executable, what] if what.endswith(".py") else [sys.executable, "-c", what]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": compiled}
        return subprocess.run(
            [*command, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
        )

    return run


@pytest.fixture(scope="module")
def workdir(launch, tmp_path_factory):
    """The folder of one pre-training run of configs/debug.py."""
    folder = tmp_path_factory.mktemp("runs") / "debug"
    done = launch("launch/pretrain.py", "--config=configs/debug.py", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "elements: MRR" in done.stdout
    return folder


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def check_schema(results, graph, queries):
    keys = {"graph", "checkpoint", "metrics", "strata", "sides", "relations", "baselines", "protocol", "seconds", "queries"}
    assert results.keys() - {"controls"} == keys | {"mistakes", "configuration", "environment"}
    assert (results["graph"], results["queries"]) == (graph, queries)
    assert results["seconds"] > 0
    scored = [results["metrics"], *results["baselines"].values(), *results.get("controls", {}).values()]
    for policies in scored:
        assert set(policies) == set(POLICIES) == {"realistic", "optimistic", "pessimistic"}
        for metrics in policies.values():
            assert set(metrics) == set(METRICS) == {"mrr", "hits@1", "hits@3", "hits@10", "mean_rank"}
            assert all(0 <= metrics[name] <= 1 for name in METRICS if name != "mean_rank")
            assert 1 <= metrics["mean_rank"] <= results["protocol"]["candidate_entities"]
        assert policies["pessimistic"]["mrr"] <= policies["realistic"]["mrr"] <= policies["optimistic"]["mrr"]
    assert set(results["baselines"]) == {"random", "degree prior", "personalised PageRank"}
    assert set(results["strata"]) == {"half_link", "no_half_link"}
    assert sum(part["queries"] for part in results["strata"].values()) == queries
    assert sum(part["queries"] for part in results["relations"].values()) == queries


def test_pretraining_leaves_a_whole_run(workdir):
    assert {path.name for path in workdir.iterdir()} == {
        "config.json", "metrics.jsonl", "tensorboard", "checkpoints", "curves.png", "report",
    }  # fmt: skip
    lines = lines_of(workdir)
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == sorted(set(steps))
    assert steps[-1] == 30
    assert all(np.isfinite(line["loss"]) and line["graph"] == "countries#0" for line in lines if "loss" in line)
    assert [line["step"] for line in lines if "valid_mrr/countries#0" in line] == [30]
    assert [path.stat().st_size > 0 for path in (workdir / "tensorboard").glob("events.out.tfevents*")] == [True]
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"20", "30", "valid_mrr.json"}
    with Image.open(workdir / "curves.png") as picture:
        assert picture.format == "PNG"
    assert json.loads((workdir / "config.json").read_text())["graphs"] == ["countries"]


def test_pretraining_reports_on_the_graph_it_held_out(workdir):
    report = workdir / "report" / "elements"
    assert {path.name for path in report.iterdir()} == {"results.json", "report.md", "report.png", "report.html"}
    results = results_of(report)
    check_schema(results, "elements", 2 * len(load_builtin("elements").test))
    assert results["checkpoint"] == f"{workdir} step 30"
    assert {"structure only", "untrained"} <= set(results["controls"])
    assert results["protocol"]["evaluated_triples_in_message_graph"] == 0
    assert "elements: MRR" in (report / "report.md").read_text()
    assert "Training loss and held-out MRR by step" in (report / "report.html").read_text()


@pytest.mark.slow
def test_the_same_command_again_finds_nothing_to_train(launch, workdir):
    before = lines_of(workdir)
    results = results_of(workdir / "report" / "elements")
    done = launch("launch/pretrain.py", "--config=configs/debug.py", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert "resuming after step 30" in done.stdout
    assert lines_of(workdir) == before
    assert results_of(workdir / "report" / "elements")["metrics"] == results["metrics"]


def write(folder, **changes):
    """An inductive folder; `changes`: {file without .txt: text}."""
    folder.mkdir()
    for name, text in (INDUCTIVE | {f"{name}.txt": text for name, text in changes.items()}).items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def evaluations(launch, workdir, tmp_path_factory):
    """Evaluations with the run, one after the other in one process: {name: (folder, exit code, stderr)}."""
    folder = tmp_path_factory.mktemp("zero_shot")
    run, good = f"--checkpoint={workdir}", write(folder / "toy")
    bad = {
        "two columns": write(folder / "1", inference_test="v\ts\tu\nw\tr\n"),
        "unknown entity": write(folder / "2", inference_test="x\tr\tv\n"),
        "no triples": write(folder / "3", inference_test=""),
        "no graph": folder / "nowhere",
    }
    calls = {
        "sample": [run, "--graph=elements", "--max_triples=20", "--seed=1", "--nocontrols"],
        "inductive": [
            *(f"--checkpoint={workdir / 'checkpoints'}", "--step=20", f"--graph={good}"),
            *("--split=valid+test", "--nocontrols"),
        ],
        "no run": [f"--checkpoint={folder / 'no run'}", "--graph=elements"],
        "no such split": [run, f"--graph={good}", "--split=train"],
        **{name: [run, f"--graph={graph}"] for name, graph in bad.items()},
    }
    arguments = [[*call, f"--output={folder / 'reports' / name}"] for name, call in calls.items()]
    done = launch(MANY_CALLS, json.dumps(arguments))
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout.splitlines()[-1])
    return {name: (folder / "reports" / name, *outcome) for name, outcome in zip(calls, outcomes, strict=True)}


@pytest.fixture(scope="module")
def reports(evaluations):
    """{"sample", "inductive"}: results."""
    for name in ("sample", "inductive"):
        assert evaluations[name][1:] == (None, "")
    return {name: results_of(evaluations[name][0]) for name in ("sample", "inductive")}


def test_a_sample_of_a_built_in_graph(reports):
    results = reports["sample"]
    check_schema(results, "elements", 40)
    assert results["protocol"]["triples"] == 20
    # The sample is the documented one, so that samples nest: each begins with every smaller one.
    graph = load_builtin("elements")
    chosen = graph.test[random.Random(1).sample(range(len(graph.test)), len(graph.test))[:20]]
    np.testing.assert_array_equal(sample_triples(graph.test, 10, 1), chosen[:10])
    names, counts = np.unique(chosen[:, 1], return_counts=True)
    expected = {graph.relations[name]: 2 * int(count) for name, count in zip(names, counts, strict=True)}
    assert {name: part["queries"] for name, part in results["relations"].items()} == expected


def test_an_inductive_folder_is_evaluated_on_its_inference_graph(reports):
    results = reports["inductive"]
    check_schema(results, "toy", 2 * (1 + 2))
    assert "controls" not in results or not results["controls"]
    assert results["protocol"]["split"] == "valid+test"
    assert results["protocol"]["candidate_entities"] == 3
    assert results["protocol"]["message_facts"] == 3
    assert set(results["relations"]) == {"r", "s"}
    assert results["checkpoint"].endswith("step 20")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no graph", "nowhere: no such folder or file"),
        ("no run", "no checkpoint here"),
        ("two columns", "inference_test.txt:2: 2 column(s), expected 3"),
        ("unknown entity", "inference_test.txt:1: unknown entity 'x'"),
        ("no triples", "inference_test.txt: no triples"),
    ],
)
def test_bad_input_is_refused_in_words(evaluations, name, message):
    """Exit code 1, one message for people, and nothing written."""
    output, code, errors = evaluations[name]
    assert code == 1
    assert errors.startswith("error: ")
    assert message in errors
    assert "Traceback" not in errors
    assert not output.exists()


def test_a_bad_flag_is_refused(evaluations):
    output, code, _ = evaluations["no such split"]
    assert code not in (0, None)
    assert not output.exists()


def test_a_refusal_in_the_shell(launch, tmp_path):
    done = launch("launch/zero_shot.py", f"--checkpoint={tmp_path}", "--graph=elements", f"--output={tmp_path / 'report'}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: no checkpoint here.")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
