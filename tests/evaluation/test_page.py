"""The page says what was measured, needs nothing beside it, and no word from the data becomes a part of it."""

import base64
import dataclasses
import html.parser
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from tofu_jax.evaluation.baselines import default_baselines
from tofu_jax.evaluation.mistakes import INSTEAD, MOST, worst_mistakes
from tofu_jax.evaluation.page import render_page
from tofu_jax.evaluation.ranking import queries_of, rank_queries
from tofu_jax.evaluation.report import evaluate
from tofu_jax.evaluation.tables import HEADINGS, overall_tables
from tofu_jax.graphs.known_answers import KnownAnswers

HOSTILE = "<script>alert(1)</script>\"'><img src=http://x/y onerror=z>&amp;{{ 7*7 }}"
VOID = {"meta", "img", "br", "link"}


class Page(html.parser.HTMLParser):
    """Reads a page: text, tags with attributes, and whether every element is closed where it should be."""

    def __init__(self, source):
        super().__init__()
        self.text, self.tags, self._open = [], [], []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def graph(make_random_graph):
    return make_random_graph(2, num_entities=30, num_relation_names=15, sizes=(60, 10, 60))


@pytest.fixture(scope="module")
def scorer(graph, table_scorer, make_tied_scores):
    return table_scorer(make_tied_scores(1, graph))


@pytest.fixture(scope="module")
def results(graph, scorer):
    found = evaluate(scorer, graph, graph.test, checkpoint="runs/mix step 3", baselines=default_baselines(graph), controls={})
    return found | {"configuration": {"model": {"width": 8, "operators": ["a", "b"]}}, "environment": {"jax": "1.2.3"}}


def test_the_worst_mistakes_are_those_of_the_ranks(graph, scorer, results):
    ranks, known = rank_queries(scorer, graph, graph.test, 8), KnownAnswers.of_graph(graph)
    mistakes = results["mistakes"]
    assert [mistake["rank"] for mistake in mistakes] == sorted(ranks.realistic[ranks.realistic > 1], reverse=True)[:MOST]
    queries, answers = queries_of(graph.test, graph.num_relations)
    found = {}
    for (entity, relation), answer, rank in zip(queries.tolist(), answers.tolist(), ranks.realistic, strict=True):
        asked = "tail" if relation < len(graph.relations) else "head"
        ends = (entity, answer) if asked == "tail" else (answer, entity)
        fact = (graph.entities[ends[0]], graph.relations[relation % len(graph.relations)], graph.entities[ends[1]], asked)
        found[fact] = rank, (entity, relation)
    for mistake in mistakes:
        rank, query = found[mistake["head"]["id"], mistake["relation"]["id"], mistake["tail"]["id"], mistake["asked"]]
        assert mistake["rank"] == rank
        others = [graph.entities.index(name["id"]) for name in mistake["instead"]]
        answered = set(known.answers(np.array([query]))[1].tolist())
        assert not answered & {*others}
        scores = scorer.table[query].astype(float)
        scores[[*answered]] = -np.inf
        assert [scores[i] for i in others] == sorted(scores, reverse=True)[:INSTEAD]
    perfect = rank_queries(lambda q: _right(graph, q), graph, graph.test[:1], 8)
    assert worst_mistakes(lambda q: _right(graph, q), graph, graph.test[:1], perfect, known) == []


def _right(graph, queries):
    known = KnownAnswers.of_graph(graph).answers(queries)
    scores = np.zeros((len(queries), graph.num_entities))
    scores[known] = 1
    return scores


def test_the_page_holds_the_figures(results):
    page = Page(render_page(results, None, None))
    for table in overall_tables(results):
        assert table.title in page.words
        for row in table.rows:
            assert " ".join(row) in re.sub(r" +", " ", page.words)
    assert all(heading in page.words for heading in HEADINGS)
    labels = [part["label"] for part in results["relations"].values()]
    assert all(f" {label} " in page.words for label in labels)
    for words in ("Relations (all)", "Worst mistakes", "runs/mix step 3", "model: width 8", "model: operators a, b", "1.2.3"):
        assert words in page.words
    assert "Training" not in page.words
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_nothing_comes_from_outside(results, graph, tmp_path):
    pictured, curves = with_pictures(graph, tmp_path)
    page = Page(render_page(results, pictured, curves))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("href", "srcset", "action") for name in attributes), tag
        assert attributes.get("src", "data:image/").startswith("data:image/")
    policies = [a["content"] for tag, a in page.tags if tag == "meta" and "Content-Security" in a.get("http-equiv", "")]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert "url(" not in render_page(results, pictured, curves)


def with_pictures(graph, folder):
    """The graph with a picture of every entity, one of them broken; and a picture of curves."""
    for name in graph.entities:
        Image.new("RGB", (20, 10), "red").save(folder / f"{name}.png")
    (folder / "e0.png").write_bytes(b"no picture")
    Image.new("RGB", (50, 30), "blue").save(folder / "curves.png")
    images = tuple((f"{name}.png", "second.png") for name in graph.entities)
    return dataclasses.replace(graph, images=images, image_root=folder), folder / "curves.png"


def test_pictures_of_entities_and_curves(results, graph, tmp_path):
    pictured, curves = with_pictures(graph, tmp_path)
    page = Page(render_page(results, pictured, curves))
    shown = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    kinds = {source.split(";")[0] for source in shown}
    assert kinds == {"data:image/jpeg", "data:image/png"}
    named = [n["id"] for m in results["mistakes"] for n in (m["head"], m["tail"], *m["instead"]) if n["id"] != "e0"]
    assert len(shown) == len(named) + 1
    assert imread(io.BytesIO(base64.b64decode(shown[0].split(",")[1])), "jpeg").shape == (96, 96, 3)


def test_words_from_the_data_stay_words(results, graph, table_scorer, make_tied_scores):
    odd = dataclasses.replace(
        graph,
        name=HOSTILE,
        labels=(HOSTILE,) * graph.num_entities,
        relation_labels=tuple(f"{HOSTILE}{i}" for i in range(len(graph.relations))),
    )
    found = evaluate(table_scorer(make_tied_scores(1, odd)), odd, odd.test, checkpoint=HOSTILE, baselines={HOSTILE: _flat(odd)})
    source = render_page(found | {"configuration": {HOSTILE: {HOSTILE: HOSTILE}}, "environment": {HOSTILE: HOSTILE}}, odd, None)
    page, plain = Page(source), Page(render_page(results, None, None))
    assert {tag for tag, _ in page.tags} - {"small"} == {tag for tag, _ in plain.tags}
    assert "<script" not in source
    assert "onerror=z>" not in source
    assert page.text.count(HOSTILE) > 20


def _flat(graph):
    return lambda queries: np.zeros((len(queries), graph.num_entities))
