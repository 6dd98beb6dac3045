"""Probabilities: right where it is known how often scores come true, and refused where they would mean nothing."""

import dataclasses
import json

import numpy as np
import pytest
from making import make_graph
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.inference import calibration as calibration_module
from tofu_jax.inference.calibration import Calibration, calibrate
from tofu_jax.inference.predict import GraphPredictor
from tofu_jax.inference.queries import Query
from tofu_jax.inference.reliability import Reliability

NUM_ENTITIES = 60


@pytest.fixture(scope="module")
def drawn():
    """(graph, scorer): the tail of each fact is drawn by the softmax of the scores of its tail query."""
    random = np.random.default_rng(0)
    tails = random.normal(0, 2.5, (NUM_ENTITIES, 8, NUM_ENTITIES)).astype(np.float32)
    share = np.exp(tails) / np.exp(tails).sum(axis=2, keepdims=True)
    places = np.ndindex(NUM_ENTITIES, 8)
    facts = [(head, relation, random.choice(NUM_ENTITIES, p=share[head, relation])) for head, relation in places]
    graph = dataclasses.replace(make_graph(NUM_ENTITIES, 8, facts[:1]), valid=np.array(facts[1:], np.int32))
    table = np.concatenate([tails, tails.transpose(2, 1, 0)], axis=1)
    return graph, lambda queries: table[queries[:, 0], queries[:, 1]]


@pytest.fixture(scope="module")
def predictor(drawn):
    return GraphPredictor(*drawn, "made")


@pytest.fixture(scope="module")
def made(predictor):
    return calibrate(predictor)


def test_probabilities_are_right(made):
    """Each probability bin of questions that the curve was not fitted to holds as many answers as it says."""
    reliability = made.reliability
    assert made.slope > 0
    assert sum(reliability.count) > 1000
    assert reliability.expected_calibration_error < 0.05
    well_filled = [
        (p, f) for p, f, n in zip(reliability.predicted, reliability.found, reliability.count, strict=True) if n > 100
    ]
    assert len(well_filled) >= 2
    for predicted, found in well_filled:
        assert predicted == pytest.approx(found, abs=0.12)


def test_probabilities_rise_with_scores(made):
    scores = np.concatenate([-np.geomspace(1e3, 1e-12, 200), [0.0]])
    probabilities = made.probabilities(scores)
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert probabilities[0] < 0.01 < 0.5 < probabilities[-1]


def test_predictions_carry_them_where_the_graph_says_nothing(made, predictor):
    predictions = predictor.answer([Query("e0", "r0", None), Query("e0", None, "e1")], 60, calibration=made)
    unknown = np.array(predictions.known) == ""
    of_tail = np.array(predictions.asked) == "tail"
    np.testing.assert_array_equal(np.isnan(predictions.probability), ~(unknown & of_tail))
    assert (~unknown).any()
    np.testing.assert_array_equal(
        predictions.probability[unknown & of_tail], made.probabilities(predictions.score[unknown & of_tail])
    )


def test_files(made, tmp_path):
    made.save(tmp_path / "new")
    assert Calibration.load(tmp_path / "new") == made
    with Image.open(tmp_path / "new" / "reliability.png") as picture:
        assert picture.format == "PNG"
    for content in ("", "[]", "{}", json.dumps({"slope": 1})):
        (tmp_path / "new" / "calibration.json").write_text(content)
        with pytest.raises(DataError, match=r"calibration\.json: no calibration"):
            Calibration.load(tmp_path / "new")


def test_it_belongs_to_one_model_and_graph(made, drawn):
    graph, scorer = drawn
    question = [Query("e0", "r0", None)]
    others = (
        GraphPredictor(graph, scorer, "another model"),
        GraphPredictor(dataclasses.replace(graph, valid=graph.valid[1:]), scorer, "made"),
    )
    for other in others:
        with pytest.raises(DataError, match="calibrate again"):
            other.answer(question, calibration=made)
    with pytest.raises(DataError, match="hold with messages='train' only"):
        GraphPredictor(graph, scorer, "made", "all").answer(question, calibration=made)


def test_it_is_refused_where_it_would_mean_nothing(drawn, monkeypatch):
    graph, scorer = drawn
    few = dataclasses.replace(graph, valid=graph.valid[:5])
    with pytest.raises(DataError, match="probabilities need 20 or more"):
        calibrate(GraphPredictor(few, scorer, "made"))
    monkeypatch.setattr(calibration_module, "CANDIDATES", NUM_ENTITIES)
    with pytest.raises(DataError, match="score no higher than others"):
        calibrate(GraphPredictor(graph, lambda queries: -scorer(queries), "made"))


def test_reliability():
    reliability = Reliability.of(np.array([0.0, 0.05, 0.95, 1.0, 1.0, 0.5]), np.array([0, 1, 1, 1, 0, 0], bool))
    assert reliability.count == (2, 1, 3)
    assert reliability.predicted == pytest.approx((0.025, 0.5, 2.95 / 3))
    assert reliability.found == pytest.approx((0.5, 0, 2 / 3))
    assert reliability.expected_calibration_error == pytest.approx((2 * 0.475 + 0.5 + 3 * (2.95 - 2) / 3) / 6)
