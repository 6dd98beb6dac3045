"""The command `tofu-jax predict`, end to end in a process of its own: what it prints and writes, and how it refuses."""

import csv
import json
import pathlib
import subprocess
import sys

import pyarrow.parquet

ROOT = pathlib.Path(__file__).parents[2]


def test_the_command(call_many_times, run_folder, graph_folder, tmp_path):
    questions = tmp_path / "questions.tsv"
    questions.write_text("the entity 1\tr1\t?\n?\tr0\te3\ne1\t?\te5\n")
    files = {suffix: tmp_path / f"top.{suffix}" for suffix in ("csv", "json", "parquet")}
    common = [f"--checkpoint={run_folder}", f"--graph={graph_folder}"]
    good = [
        ["--head=the entity 1", "--relation=r1", "--k=3", f"--output={files['csv']}"],
        ["--all", "--relation=r1", "--head=e0", "--head=e1", "--k=5", f"--output={files['parquet']}"],
        [f"--queries={questions}", "--known=drop", "--k=2", "--messages=all", f"--output={files['json']}"],
    ]
    bad = {
        "unknown entity 'the entty 1'. Did you mean 'the entity 1' (id 'e1')": (1, ["--head=the entty 1", "--relation=r1"]),
        "give two of --head, --relation and --tail": (2, ["--head=e1"]),
        "--all goes with --head and --relation only": (2, ["--all", "--tail=e1"]),
        "must end in .csv, .json, .parquet": (2, ["--head=e1", "--relation=r0", "--output=top.txt"]),
    }
    calls = [[*common, *arguments] for arguments in [*good, *(arguments for _, arguments in bad.values())]]
    outcomes = call_many_times("predict", calls)
    for (code, output, errors), arguments in zip(outcomes, good, strict=False):
        assert (code, errors) == (0, ""), arguments
        assert max(map(len, output.splitlines())) <= 100 or "top." in output
        assert "Scores order the answers" in output
    assert "(the entity 1, r1, ?)" in outcomes[0][1]
    assert "New facts of toy" in outcomes[1][1]
    assert all(title in outcomes[2][1] for title in ("(the entity 1, r1, ?)", "(?, r0, the entity 3)", "?, the entity 5)"))
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["head"], row["relation"], row["asked"]) for row in rows] == [("e1", "r1", "tail")] * 3
    assert pyarrow.parquet.read_table(files["parquet"])["rank"].to_pylist() == [1, 2, 3, 4, 5]
    content = json.loads(files["json"].read_text())
    assert content["messages"] == "all"
    assert [row["query"] for row in content["predictions"]] == [0, 0, 1, 1, 2]
    for (code, _, errors), (message, (expected, _)) in zip(outcomes[len(good) :], bad.items(), strict=True):
        assert code == expected, errors
        assert errors.startswith("error: ")
        assert message in errors
        assert "Traceback" not in errors
    assert {path.name for path in tmp_path.iterdir()} == {"questions.tsv", *(path.name for path in files.values())}


def test_public_names():
    code = """
import sys, tofu_jax
assert not {"jax", "numpy", "pyarrow"} & {*sys.modules}
assert {*tofu_jax.__all__} <= {*dir(tofu_jax)}
from tofu_jax import KnowledgeGraph, load_graph
print(KnowledgeGraph.__name__, load_graph.__name__, hasattr(tofu_jax, "nothing"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["KnowledgeGraph", "load_graph", "False"], done.stderr
