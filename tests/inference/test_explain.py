"""An explanation says what the model itself says once the facts in question are gone, and says it readably."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET

import jax
import numpy as np
import pytest
from making import CODEBOOKS, SameTokens, make_graph
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.inference.drawing import draw
from tofu_jax.inference.explanation import Name
from tofu_jax.inference.pretrained import Pretrained, parameter_shapes
from tofu_jax.model.tofu import ModelConfig, Tofu

HOSTILE = ("$x_1$ <b>&amp;</b>", "\x1b[2Jline\nbreak", "名前 👩‍🚀", "very " * 40, "", "[bold]")


@pytest.fixture(scope="module")
def model():
    """Three layers with random parameters."""
    small = Tofu(ModelConfig(width=8, layers=3, prompt_layers=1, relation_layers=1, fusion_heads=2))
    random = np.random.default_rng(0)
    shapes = parameter_shapes(small, CODEBOOKS)
    params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32) / 2, shapes)
    return Pretrained(small, params, SameTokens(), 2, 0, "random", {})


@pytest.fixture(scope="module")
def graph():
    """e0 to e4 are joined in several ways, e5 to e7 are elsewhere; (e0, r1, e4) is held out, (e0, r2, e4) is not."""
    facts = [(0, 0, 1), (1, 1, 4), (0, 2, 2), (2, 0, 3), (4, 1, 3), (0, 2, 4), (1, 0, 3), (5, 1, 6), (6, 2, 7)]
    graph = make_graph(8, 3, facts)
    return dataclasses.replace(
        graph,
        test=np.array([(0, 1, 4)], np.int32),
        labels=tuple(f"the {name}" for name in graph.entities),
        relation_labels=("likes", "knows", "sees"),
    )


@pytest.fixture(scope="module")
def explanation(model, graph):
    return model.explain(graph, head="the e0", relation="knows", tail="e4", k=3)


def asked_anew(model, graph, removed, fact=(0, 1, 4), known=()):
    """Score and rank of the tail without some training facts and known candidates; the relations' states stay as they are."""
    scorer = model.predictor(graph).scorer
    scores = scorer.score_without(fact[0], fact[1], np.array(removed, int)).astype(np.float64)
    rivals = np.delete(scores, known)
    return scores[fact[2]] - np.log(np.exp(rivals).sum()), 1 + int((rivals > scores[fact[2]]).sum())


def test_standings(model, graph, explanation):
    named = {standing.name: standing for standing in explanation.standings}
    assert list(named) == ["everything", "without text", "without image", "structure only"]
    predicted = model.predict(dataclasses.replace(graph, test=graph.test[:0]), head="e0", relation="r1", k=8)
    row = predicted.tail.index("e4")
    assert named["everything"].score == pytest.approx(predicted.score[row], rel=1e-5)
    assert named["everything"].rank == predicted.rank[row]
    prepared, tokens = model.prepare(graph)
    bare = model.scorer(prepared.with_tokens(tokens.without("text").without("image")))(np.array([[0, 1]], np.int32))[0]
    assert named["structure only"].score == pytest.approx(float(bare[4] - np.log(np.exp(bare).sum())), rel=1e-5)
    assert len({standing.score for standing in explanation.standings}) == 4
    assert (explanation.known, explanation.hidden, explanation.candidates) == ("test", False, 8)


def test_paths_lead_from_head_to_tail_and_count_when_removed(model, graph, explanation):
    assert len(explanation.paths) == 3
    links = [(h, graph.relations[r], t) for h, r, t in graph.train.tolist()]
    links += [(h, "", t) for h, t in model.prepare(graph)[1].mentions.tolist()]  # a text names an entity
    rows = {(graph.entities[h], name, graph.entities[t]): row for row, (h, name, t) in enumerate(links)}
    for path in explanation.paths:
        nodes = [path.steps[0].sender.id, *(step.receiver.id for step in path.steps)]
        assert (nodes[0], nodes[-1]) == ("e0", "e4")
        assert nodes[1:-1] == [step.sender.id for step in path.steps[1:]]
        facts = [
            (s.sender.id, s.relation.id, s.receiver.id) if s.forward else (s.receiver.id, s.relation.id, s.sender.id)
            for s in path.steps
        ]
        score, rank = asked_anew(model, graph, [rows[fact] for fact in facts])
        assert (path.without.score, path.without.rank) == (pytest.approx(score, rel=1e-5), rank)
    weights = [path.weight for path in explanation.paths]
    assert weights == sorted(weights, reverse=True)


def test_a_fact_does_not_explain_itself(model, graph):
    explanation = model.explain(graph, head="e0", relation="sees", tail="e4", k=50)
    assert (explanation.known, explanation.hidden) == ("train", True)
    assert all(len(path.steps) > 1 or path.steps[0].relation.label == "text names" for path in explanation.paths)
    assert "the graph holds this fact (train), hidden from the model here" in str(explanation)
    assert explanation.standings[0].score == pytest.approx(asked_anew(model, graph, [5], (0, 2, 4), [2])[0], rel=1e-5)


def test_where_no_path_leads(model, graph):
    explanation = model.explain(graph, head="e0", relation="knows", tail="e6")
    assert explanation.paths == ()
    assert "No path of at most 3 facts leads from the e0 to the e6: the score comes from content alone" in str(explanation)
    assert json.loads(json.dumps(explanation.to_dict()))["note"].startswith("No path")
    assert draw(explanation, "png").startswith(b"\x89PNG")


def test_words(explanation):
    text = str(explanation)
    assert text == repr(explanation)
    assert max(map(len, text.splitlines())) <= 100
    assert re.search(r"the e0 —\w+→ the e\d", text)
    inverse = [step for path in explanation.paths for step in path.steps if not step.forward]
    for step in inverse:
        assert str(step) == f"←{step.relation.label}— {step.receiver.label}"
    assert f"rank {explanation.standings[0].rank} of 8" in text


def test_files(explanation, tmp_path):
    explanation.to_json(tmp_path / "why.json")
    content = json.loads((tmp_path / "why.json").read_text())
    assert content == json.loads(json.dumps(explanation.to_dict()))
    assert content["paths"][0]["steps"][0]["head"].keys() == {"id", "label"}
    assert [path["weight"] for path in content["paths"]] == [path.weight for path in explanation.paths]
    explanation.to_png(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as picture:
        assert (picture.format, picture.size[0] > 900) == ("PNG", True)
    explanation.to_svg(tmp_path / "why.svg")
    assert ET.parse(tmp_path / "why.svg").getroot().tag.endswith("svg")  # noqa: S314 (written by us)
    again = tmp_path / "again.svg"
    explanation.to_svg(again)
    assert {path.name for path in tmp_path.iterdir()} == {"why.json", "why.png", "why.svg", "again.svg"}


@pytest.mark.parametrize("label", HOSTILE)
def test_any_label_can_be_printed_and_drawn(explanation, label):
    def renamed(step):
        return step._replace(sender=Name("x", label), receiver=Name("x", label), relation=Name("x", label))

    paths = tuple(path._replace(steps=tuple(map(renamed, path.steps))) for path in explanation.paths)
    name = Name("x", label)
    odd = dataclasses.replace(explanation, head=name, relation=name, tail=name, paths=paths)
    assert all(c.isprintable() or c in "\n\u200d" for c in str(odd))
    assert draw(odd, "png").startswith(b"\x89PNG")


def test_refusals(model, graph):
    with pytest.raises(DataError, match=r"unknown entity 'the e00'. Did you mean 'the e0' \(id 'e0'\)"):
        model.explain(graph, head="the e00", relation="knows", tail="e4")
    with pytest.raises(DataError, match="unknown relation 'nos'"):
        model.explain(graph, head="e0", relation="nos", tail="e4")
    with pytest.raises(DataError, match="k is 0"):
        model.explain(graph, head="e0", relation="knows", tail="e4", k=0)
