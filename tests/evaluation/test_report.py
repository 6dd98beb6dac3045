"""The report says what was measured, in every form, and is never half-written."""

import copy
import io
import json
import os

import matplotlib
import numpy as np
import pytest
import rich.console
from matplotlib.image import imread

from tofu_jax.errors import DataError
from tofu_jax.evaluation.baselines import default_baselines
from tofu_jax.evaluation.picture import plot_mrr_bars
from tofu_jax.evaluation.ranking import POLICIES, half_links, queries_of, rank_queries
from tofu_jax.evaluation.report import evaluate, print_report, write_report
from tofu_jax.evaluation.tables import STRATA, tables

METRICS = ["mrr", "hits@1", "hits@3", "hits@10", "mean_rank"]


@pytest.fixture(scope="module")
def graph(make_random_graph):
    return make_random_graph(2, num_entities=30, num_relation_names=15, sizes=(60, 10, 150))


@pytest.fixture(scope="module")
def scorer(graph, table_scorer, make_tied_scores):
    return table_scorer(make_tied_scores(1, graph))


@pytest.fixture(scope="module")
def results(graph, scorer, table_scorer, make_tied_scores):
    return evaluate(
        scorer,
        graph,
        graph.test,
        checkpoint="runs/mix/step_20000",
        baselines=default_baselines(graph),
        controls={"shuffled texts": table_scorer(make_tied_scores(7, graph))},
    )


def test_results_hold_what_ranking_gives(graph, scorer, results):
    ranks = rank_queries(scorer, graph, graph.test, 8)
    for policy in POLICIES:
        assert results["metrics"][policy] == ranks.metrics(policy)
        assert list(results["metrics"][policy]) == METRICS
    assert results["graph"] == "toy"
    assert results["checkpoint"] == "runs/mix/step_20000"
    assert results["queries"] == 300
    assert results["seconds"] >= 0
    assert list(results["baselines"]) == ["random", "degree prior", "personalised PageRank"]
    for policies in (*results["baselines"].values(), *results["controls"].values()):
        assert [list(policies[policy]) for policy in POLICIES] == [METRICS] * 3
    for name, baseline in default_baselines(graph).items():
        assert results["baselines"][name]["pessimistic"] == rank_queries(baseline, graph, graph.test, 8).metrics("pessimistic")


def test_parts_add_up_to_the_whole(graph, scorer, results):
    for parts in (results["strata"], results["sides"], results["relations"]):
        assert sum(part["queries"] for part in parts.values()) == 300
        for metric in METRICS:
            whole = sum(part["queries"] * part[metric] for part in parts.values()) / 300
            assert whole == pytest.approx(results["metrics"]["realistic"][metric], rel=1e-12)
    ranks = rank_queries(scorer, graph, graph.test, 8)
    linked = half_links(graph, *queries_of(graph.test, graph.num_relations))
    assert results["strata"]["half_link"]["queries"] == linked.sum()
    assert results["strata"]["no_half_link"]["mrr"] == ranks.take(~linked).metrics()["mrr"]
    assert results["sides"]["head"]["mrr"] == ranks.take(np.arange(150, 300)).metrics()["mrr"]
    of_r3 = np.tile(graph.test[:, 1] == 3, 2)
    assert results["relations"]["r3"]["mrr"] == ranks.take(of_r3).metrics()["mrr"]
    both = sum(results["strata"][name]["queries"] * results["strata"][name]["others"]["random"] for name in STRATA)
    assert both / 300 == pytest.approx(results["baselines"]["random"]["realistic"]["mrr"], rel=1e-12)


def test_protocol_counts_what_would_make_figures_incomparable(make_graph):
    graph = make_graph(4, 1, train=[(0, 0, 1), (1, 0, 2)], valid=[(1, 0, 2)], test=[(0, 0, 1), (0, 0, 3)])
    constant = evaluate(lambda q: np.zeros((len(q), 4)), graph, graph.test, checkpoint=None, split="valid+test")
    protocol = constant["protocol"]
    assert protocol["split"] == "valid+test"
    assert protocol["candidate_entities"] == 4
    assert protocol["known_facts"] == 3
    assert protocol["message_facts"] == 2
    assert protocol["evaluated_triples_in_message_graph"] == 1
    assert protocol["valid_facts_in_message_graph"] == 1
    assert "controls" not in constant
    assert constant["baselines"] == {}


def test_an_empty_stratum_has_no_metrics_and_is_printed_as_such(make_graph, tmp_path):
    graph = make_graph(3, 1, test=[(0, 0, 1)])
    constant = evaluate(lambda q: np.zeros((len(q), 3)), graph, graph.test, checkpoint=None)
    assert constant["strata"]["half_link"] == {"queries": 0, "others": {}}
    assert "| half-link | 0 | – | – | – | – | – |" in write_report(constant, tmp_path).read_text()


def test_progress_names_the_scorer(graph, scorer):
    seen = []
    evaluate(
        scorer,
        graph,
        graph.test,
        checkpoint=None,
        baselines={"same": scorer},
        on_batch=lambda name, done, total: seen.append((name, done, total)),
    )
    assert [name for name, done, total in seen if done == total] == ["model", "same"]


def test_a_name_for_two_scorers_raises(graph, scorer):
    with pytest.raises(DataError, match="twin"):
        evaluate(scorer, graph, graph.test, checkpoint=None, baselines={"twin": scorer}, controls={"twin": scorer})


def test_json_round_trip_and_the_same_report_from_it(results, tmp_path):
    path = write_report(results, tmp_path / "new" / "folder")
    restored = json.loads((path.parent / "results.json").read_text())
    assert restored == results
    assert list(restored) == list(results)
    assert tables(restored) == tables(results)
    again = write_report(restored, tmp_path / "again")
    assert sorted(file.name for file in again.parent.iterdir()) == ["report.html", "report.md", "report.png", "results.json"]
    for file in again.parent.iterdir():
        assert file.read_bytes() == (path.parent / file.name).read_bytes()


def test_report_text_holds_the_figures(results, tmp_path):
    text = write_report(results, tmp_path).read_text()
    for policy in POLICIES:
        metrics = results["metrics"][policy]
        row = [f"{metrics[name]:.3f}" for name in METRICS[:-1]] + [f"{metrics['mean_rank']:.1f}"]
        assert f"| {policy} | {' | '.join(row)} |" in text
    for name, policies in {**results["baselines"], **results["controls"]}.items():
        assert f"| {name} | {policies['realistic']['mrr']:.3f} |" in text
        assert f"| {name} | {results['strata']['half_link']['others'][name]:.3f} |" in text
    for name, label in (("half_link", "half-link"), ("no_half_link", "no half-link")):
        part = results["strata"][name]
        assert f"| {label} | {part['queries']} | {part['mrr']:.3f} |" in text
    counted = sorted((p for p in results["relations"].values() if p["queries"] >= 10), key=lambda p: -p["mrr"])
    assert len(counted) > 10  # so that best and worst are tables of their own
    assert f"| {counted[0]['label']} | {counted[0]['queries']} | {counted[0]['mrr']:.3f} |" in text
    assert f"| {counted[-1]['label']} | {counted[-1]['queries']} | {counted[-1]['mrr']:.3f} |" in text
    assert f"| known facts | {results['protocol']['known_facts']} |" in text
    assert "report.png" in text


def test_words_from_the_data_cannot_break_the_tables(results, tmp_path):
    odd = copy.deepcopy(results)
    odd["graph"] = "[/red]$x_"
    for part in odd["relations"].values():
        part["label"] = "[bold]a|b$ " + part["label"]
    assert "| [bold]a\\|b$ r" in write_report(odd, tmp_path).read_text()
    console = rich.console.Console(width=100, file=io.StringIO())
    print_report(odd, console)
    assert "[bold]a|b$ r" in console.file.getvalue()
    assert "[/red]$x_" in console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_terminal_tables_fit_and_hold_the_figures(results, width):
    wide = copy.deepcopy(results)
    for part in wide["relations"].values():
        part["label"] = "/location/statistical_region/rent50_2./measurement_unit/dated_money_value/" + part["label"]
    console = rich.console.Console(width=width, file=io.StringIO())
    print_report(wide, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for table in tables(results):
        assert table.title in text
    for name, policies in {**results["baselines"], **results["controls"]}.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(name))
        assert f"{policies['realistic']['mrr']:.3f}" in line
        assert f"{policies['realistic']['mean_rank']:,.1f}" in line


def test_an_interrupted_write_leaves_the_older_report_whole(results, tmp_path, monkeypatch):
    write_report(results, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    changed = copy.deepcopy(results) | {"graph": "another"}

    def stop(source, target):
        raise OSError("stopped")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="stopped"):
        patched.setattr(os, "replace", stop)
        write_report(changed, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before

    changed["metrics"]["realistic"]["mrr"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        write_report(changed, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_each_file_is_moved_into_place_whole(results, tmp_path, monkeypatch):
    moved, replace = {}, os.replace

    def watch(source, target):
        moved[target.name] = source.read_bytes()
        assert source.parent == target.parent  # a move between file systems would not be atomic
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_report(results, tmp_path)
    assert list(moved)[-1] == "results.json"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == moved


def test_picture_is_drawn_without_touching_matplotlibs_state(results):
    settings = matplotlib.rcParams.copy()
    picture = imread(io.BytesIO(plot_mrr_bars(results)))
    assert matplotlib.rcParams.copy() == settings
    assert picture.shape[0] > 300
    assert picture.shape[1] == 1200
    model_blue = np.array([0x1B, 0x6C, 0xA8]) / 255
    assert (np.abs(picture[..., :3] - model_blue).max(axis=-1) < 0.01).sum() > 1000
