"""The table of predictions: what is read back is what was written, and no name can spoil a file or a terminal."""

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tofu_jax.inference.predictions import NOTE, Predictions

COLUMNS = [
    "query", "asked", "rank", "head", "head_label", "relation", "relation_label", "tail", "tail_label", "score", "known",
]  # fmt: skip
HOSTILE = (
    'tab\tand "quotes"', "line\nbreak\r\n", "comma, semicolon;", "", "\x00\x1b[2J\x07", "\u202eright to left",
    "[bold]no[/bold]", "=1+1", "👩\u200d🚀", "a\u2028b", " spaces ", "ü" * 200, "\ufeff", "NaN", "None",
)  # fmt: skip


def make(names, asked="tail", probability=None, rows_per_query=1):
    count = len(names)
    rotated = [(*names[i:], *names[:i]) for i in range(6)]
    random = np.random.default_rng(count)
    return Predictions(
        graph="a [red]graph[/red]",
        checkpoint="made",
        messages="train",
        query=np.arange(count, dtype=np.int32) // rows_per_query,
        asked=(asked,) * count,
        **dict(zip([c for c in COLUMNS if c[:4] in ("head", "rela", "tail")], rotated, strict=True)),
        score=random.normal(0, 10, count),
        rank=np.arange(count) % rows_per_query + 1,
        known=tuple(("", "train", "test")[i % 3] for i in range(count)),
        probability=probability,
    )


def columns_of(predictions):
    return {name: list(getattr(predictions, name)) for name in COLUMNS}


def check_files(predictions, folder):
    expected = columns_of(predictions)
    predictions.to_csv(folder / "p.csv")
    with (folder / "p.csv").open(newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == COLUMNS
    numbers = {"query": int, "rank": int, "score": float}
    found = [[numbers.get(name, str)(cell) for name, cell in zip(COLUMNS, row, strict=True)] for row in rows]
    assert found == [list(row) for row in zip(*expected.values(), strict=True)]

    predictions.to_json(folder / "p.json")
    content = json.loads((folder / "p.json").read_bytes())
    assert content["note"] == NOTE
    assert (content["graph"], content["checkpoint"], content["messages"]) == ("a [red]graph[/red]", "made", "train")
    assert [list(row) for row in content["predictions"]] == [COLUMNS] * len(predictions)
    assert [list(row.values()) for row in content["predictions"]] == found

    predictions.to_parquet(folder / "p.parquet")
    table = pyarrow.parquet.read_table(folder / "p.parquet")
    assert {name: table[name].to_pylist() for name in table.column_names} == expected
    assert table.schema.metadata[b"note"] == NOTE.encode()
    assert {path.name for path in folder.iterdir()} == {"p.csv", "p.json", "p.parquet"}


def test_files_of_hostile_names(tmp_path):
    check_files(make(HOSTILE), tmp_path)


@settings(max_examples=25)
@given(names=st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=5))
def test_files_of_any_names(tmp_path_factory, names):
    check_files(make(tuple(names)), tmp_path_factory.mktemp("files"))


def test_a_probability_that_is_not_there_is_empty(tmp_path):
    predictions = make(("a", "b"), probability=np.array([0.25, np.nan]))
    predictions.to_csv(tmp_path / "p.csv")
    assert [line.rsplit(",", 1)[1] for line in (tmp_path / "p.csv").read_text().splitlines()] == ["probability", "0.25", ""]
    predictions.to_json(tmp_path / "p.json")
    rows = json.loads((tmp_path / "p.json").read_text())["predictions"]
    assert [row["probability"] for row in rows] == [0.25, None]
    predictions.to_parquet(tmp_path / "p.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "p.parquet")["probability"].to_pylist() == [0.25, None]
    assert "0.25" in str(predictions)
    assert "nan" not in str(predictions)


def test_pandas():
    predictions = make(HOSTILE)
    frame = predictions.to_pandas()
    assert {name: frame[name].tolist() for name in frame.columns} == columns_of(predictions)


@pytest.mark.parametrize("asked", ["head", "relation", "tail", "fact"])
def test_the_table_fits_a_terminal(asked):
    predictions = make(HOSTILE, asked, rows_per_query=5)
    text = str(predictions)
    assert text == repr(predictions)
    assert max(map(cell_len, text.splitlines())) <= 100
    assert all(c.isprintable() or c in "\n\u200d" for c in text)
    assert "[bold]no[/bold]" in text
    assert NOTE in text
    assert text.count("score") == 3


def test_long_results_are_cut_for_the_terminal():
    many = make(tuple(f"n{i}" for i in range(130)), rows_per_query=60)
    assert "… and 10 more" in str(many)
    assert str(many).count("\n") < 150
    assert "answers to 110 more questions" in str(make(tuple(f"n{i}" for i in range(130))))


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        make(("lone \ud800 surrogate",)).to_csv(path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]
