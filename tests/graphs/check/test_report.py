"""A check on the terminal and on disk: complete, readable at 100 columns, and safe against what names may hold."""

import dataclasses
import io
import json

import pytest
import rich.console
from PIL import Image
from raw_graphs import clean_facts, clean_texts, make_raw

from tofu_jax.graphs.builtin import load_builtin
from tofu_jax.graphs.check import check_graph
from tofu_jax.graphs.check.report import print_check, verdict, write_check
from tofu_jax.graphs.raw import raw_of

FILES = {"check.json", "check.md", "degrees.png", "relations.png"}


@pytest.fixture(scope="module")
def check():
    """A graph with a leak, and with names that a terminal or Markdown could take for orders."""
    train, valid, test = clean_facts()
    long = "/film/film/distributors./film/film_film_distributor_relationship/film_distribution_medium"
    return check_graph(
        make_raw(
            [*train, test[0], ("[bold]x[/bold]", long, "e1\x1b[31m"), ("a|b", "$x_1$", "\u202ee2")],
            valid,
            [*test, ("half \ud800 pair", "r", "e1")],
            texts=clean_texts(),
        )
    )


def printed(check):
    console = rich.console.Console(file=io.StringIO(), width=100)
    print_check(check, console)
    return console.file.getvalue()


def test_the_terminal_shows_every_finding(check):
    text = printed(check)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert not {character for character in text if not character.isprintable()} - {"\n"}
    flat = " ".join(text.split())
    for finding in check.findings:
        assert " ".join(finding.what.split()) in flat
        assert finding.todo in flat
    assert "test.txt:1 = train.txt:" in flat
    assert "[bold]x[/bold]" in flat
    assert "made: 2 errors, 1 warning, " in verdict(check)
    assert lines[-1].strip() == verdict(check)


def test_the_folder_has_all_places(check, tmp_path):
    write_check(check, tmp_path / "new" / "report")
    assert {path.name for path in (tmp_path / "new" / "report").iterdir()} == FILES
    read = json.loads((tmp_path / "new" / "report" / "check.json").read_text())
    assert read == json.loads(json.dumps(dataclasses.asdict(check)))
    (leak,) = [finding for finding in read["findings"] if finding["kind"] == "fact in two splits"]
    assert leak["lines"] == {"test.txt": [1], "train.txt": [len(clean_facts()[0]) + 1]}
    markdown = (tmp_path / "new" / "report" / "check.md").read_text()
    for finding in check.findings:
        assert finding.what in markdown
        assert all(f"    {example}" in markdown for example in finding.examples)
    table = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + len(check.relations)
    for name in ("degrees.png", "relations.png"):
        with Image.open(tmp_path / "new" / "report" / name) as picture:
            assert picture.format == "PNG"
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 10


def test_a_built_in_graph_has_no_errors():
    assert "elements: 0 errors, 0 warnings" in printed(check_graph(raw_of(load_builtin("elements"))))


def test_the_smallest_graph_and_one_without_held_out_facts(tmp_path):
    smallest = check_graph(make_raw([("a", "r", "b")]))
    many = check_graph(make_raw([(f"a{i}", f"r{i}", f"a{i + 1}") for i in range(70)]))
    for check in (smallest, many):
        write_check(check, tmp_path)
        assert check.count("error") == check.count("warning") == 0
        assert "train / valid / test facts" in printed(check)
