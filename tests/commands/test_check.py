"""`tofu-jax check` end to end, in a process of its own, and on real data where they are at hand."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from raw_graphs import clean_facts, clean_texts

from tofu_jax.graphs.check import check_graph
from tofu_jax.graphs.registry import load_raw

ROOT = pathlib.Path(__file__).parents[2]
DB15K = pathlib.Path(os.environ.get("TOFU_JAX_DATA", "absent")) / "DB15K"


def run(*arguments):
    """Code, stdout and stderr of `tofu-jax check`, and whether it imported JAX."""
    code = "import sys\nfrom tofu_jax.__main__ import main\ntry: main()\nfinally: print('jax' in sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", code, "check", *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    errors, jax = done.stderr.strip().rpartition("\n")[::2]
    assert jax == "False"
    return done.returncode, done.stdout, errors


@pytest.fixture
def folder(tmp_path):
    """A folder of which one test fact stands in train too."""
    folder = tmp_path / "toy"
    folder.mkdir()
    train, valid, test = clean_facts()
    for name, facts in (("train", [*train, test[1]]), ("valid", valid), ("test", test)):
        (folder / f"{name}.txt").write_text("".join("\t".join(fact) + "\n" for fact in facts))
    (folder / "entity2text.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in clean_texts().items()))
    return folder


def test_a_leak_is_shown_written_and_told_to_the_shell(folder, tmp_path):
    code, out, errors = run(folder, f"--output={tmp_path / 'report'}")
    assert (code, errors) == (1, "")
    line = len(clean_facts()[0]) + 1
    assert f"- test.txt:2 = train.txt:{line}  " in out
    assert "toy: 1 error, 0 warnings, " in out
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "check.json", "check.md", "degrees.png", "relations.png",
    }  # fmt: skip
    read = json.loads((tmp_path / "report" / "check.json").read_text())
    assert read["findings"][0]["lines"] == {"test.txt": [2], "train.txt": [line]}


def test_without_errors_the_code_is_zero(folder):
    facts = (folder / "train.txt").read_text().splitlines(keepends=True)[:-1]
    (folder / "train.txt").write_text("".join(facts))
    code, out, errors = run(folder)
    assert (code, errors) == (0, "")
    assert "toy: 0 errors, 0 warnings, " in out


def test_what_cannot_be_read_is_refused_in_words(folder):
    (folder / "test.txt").write_text("a\tr\n")
    code, out, errors = run(folder)
    assert (code, out) == (1, "")
    assert errors.startswith("error: ")
    assert "test.txt:1: 2 column(s), expected 3" in errors


@pytest.mark.skipif(not DB15K.is_dir(), reason="TOFU_JAX_DATA names no folder with DB15K")
def test_the_known_defects_of_db15k():
    check = check_graph(load_raw(str(DB15K)))
    counts = {tuple(finding.lines): finding.count for finding in check.findings if finding.kind == "fact in two splits"}
    assert counts == {("valid.txt", "train.txt"): 8719, ("test.txt", "valid.txt"): 824}
