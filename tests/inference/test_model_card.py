"""The model card: what it says, and that figures of another model do not get into it."""

import json

import pytest

from tofu_jax.errors import DataError
from tofu_jax.inference.model_folder import CARD, CONFIG


def results(checkpoint="runs/small step 12", **changes):
    metrics = {"realistic": {"mrr": 0.4567, "hits@1": 0.3, "hits@10": 0.9}}
    prior = {"realistic": {"mrr": 0.25, "hits@1": 0.1, "hits@10": 0.5}}
    return {
        "graph": "el|ements",
        "checkpoint": checkpoint,
        "metrics": metrics,
        "baselines": {"degree prior": prior},
        "controls": {"structure only": prior},
        "protocol": {"split": "valid+test"},
        "queries": 1234,
    } | changes


@pytest.fixture
def write(tmp_path):
    """write(name, value): a file of JSON."""

    def to(name, value):
        (tmp_path / name).write_text(json.dumps(value))
        return tmp_path / name

    return to


def test_the_card(exported, small_model):
    card = (exported / CARD).read_text()
    assert card.startswith("---\nlibrary_name: tofu_jax\npipeline_tag: graph-ml\n")
    assert "\nlicense: cc-by-4.0\n---\n\n# small\n" in card
    for told in (
        "its last training took 12 steps",
        json.loads((exported / CONFIG).read_text())["weights_sha256"],
        "34 facts that graphs used for evaluation hold out",
        r"| flüsse \| {seen} | 120 | 34 |",
        f"| flüsse | 120 | {'ab' * 32} |",
        f"patches-v1-k20 ({small_model.tokenizers.codebooks['image'].sha256})",
        "None were given when this card was made.",
        "## Limits",
    ):
        assert told in card


def test_without_a_licence_and_without_removed_facts(small_model, tmp_path):
    small_model.meta["sources"][0]["removed_evaluation_facts"], before = 0, 34
    try:
        small_model.save_pretrained(tmp_path / "bare")
    finally:
        small_model.meta["sources"][0]["removed_evaluation_facts"] = before
    card = (tmp_path / "bare" / CARD).read_text()
    assert "license:" not in card
    assert "Licence of the weights: not stated." in card
    assert "No facts were taken out for an evaluation" in card


def test_figures(small_model, tmp_path, write):
    files = [write("a.json", results()), write("b.json", results(graph="other", baselines={}, controls={}))]
    small_model.save_pretrained(tmp_path / "model", figures=files)
    lines = (tmp_path / "model" / CARD).read_text().splitlines()
    assert "| graph | facts | queries | MRR | Hits@1 | Hits@10 | MRR of degree prior | MRR of structure only |" in lines
    assert r"| el\|ements | valid+test | 1,234 | 0.457 | 0.300 | 0.900 | 0.250 | 0.250 |" in lines
    assert "| other | valid+test | 1,234 | 0.457 | 0.300 | 0.900 | – | – |" in lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (results("runs/small step 112"), "figures of runs/small step 112, but the model is of step 12"),
        (results(None), "figures of None, but the model is of step 12"),
        (results(metrics={}), "no results of an evaluation"),
        (results(queries="many"), "no results of an evaluation"),
        (results(baselines=[1]), "no results of an evaluation"),
        ([], "no results of an evaluation"),
        ("text", "no results of an evaluation"),
    ],
)
def test_figures_that_cannot_be_used(small_model, tmp_path, write, content, message):
    with pytest.raises(DataError, match=message):
        small_model.save_pretrained(tmp_path / "model", figures=[write("a.json", content)])
    assert not (tmp_path / "model").exists()
