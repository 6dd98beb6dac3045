"""The loss against a loop, and what must not reach it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tofu_jax.training.loss import link_loss

QUERIES, HEADS, ENTITIES = 2, 3, 7


@pytest.fixture
def arguments():
    """Random arguments of `link_loss`; some answers are reached, some described, some neither."""
    random = np.random.default_rng(0)
    answers = random.integers(0, ENTITIES, (QUERIES, HEADS)).astype(np.int32)
    candidates = random.random((QUERIES, HEADS, ENTITIES)) < 0.6
    np.put_along_axis(candidates, answers[..., None], True, axis=-1)
    return {
        "scores": random.standard_normal((QUERIES, HEADS, ENTITIES)).astype(np.float32),
        "reached": (random.random((QUERIES, HEADS, ENTITIES)) < 0.5).astype(np.float32),
        "described": random.random(ENTITIES) < 0.3,
        "answers": answers,
        "candidates": candidates,
    }


def by_loop(scores, reached, described, answers, candidates):
    total, counted = 0.0, 0
    for q in range(QUERIES):
        for h in range(HEADS):
            answer = answers[q, h]
            if reached[q, h, answer] or described[answer]:
                competing = scores[q, h, candidates[q, h]].astype(np.float64)
                total -= scores[q, h, answer] - np.log(np.exp(competing).sum())
                counted += 1
    return total, counted


def test_agrees_with_a_loop(arguments):
    total, counted = link_loss(**arguments)
    expected, expected_count = by_loop(**arguments)
    assert 0 < expected_count < QUERIES * HEADS
    assert counted == expected_count
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_unreachable_undescribed_answers_leave_the_loss(arguments):
    arguments |= {"described": np.zeros(ENTITIES, bool), "reached": np.zeros_like(arguments["reached"])}
    loss, gradient = jax.value_and_grad(lambda scores: link_loss(**arguments | {"scores": scores})[0])(arguments["scores"])
    assert (loss, link_loss(**arguments)[1]) == (0, 0)
    assert not gradient.any()
    described = arguments | {"described": np.ones(ENTITIES, bool)}
    assert link_loss(**described)[1] == QUERIES * HEADS


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 3e38])
def test_what_stands_outside_the_candidates_reaches_neither_loss_nor_gradient(arguments, garbage):
    def loss(scores):
        return link_loss(**arguments | {"scores": scores})[0]

    dirty = np.where(arguments["candidates"], arguments["scores"], garbage).astype(np.float32)
    clean_loss, clean_gradient = jax.value_and_grad(loss)(jnp.asarray(arguments["scores"]))
    dirty_loss, dirty_gradient = jax.value_and_grad(loss)(jnp.asarray(dirty))
    np.testing.assert_array_equal(dirty_loss, clean_loss)
    np.testing.assert_array_equal(dirty_gradient, clean_gradient)
    assert not np.asarray(dirty_gradient)[~arguments["candidates"]].any()


def test_a_single_candidate_costs_nothing(arguments):
    only = np.zeros_like(arguments["candidates"])
    np.put_along_axis(only, arguments["answers"][..., None], True, axis=-1)
    total, _ = link_loss(**arguments | {"candidates": only})
    assert total == 0


def test_scores_of_any_size_stay_finite(arguments):
    """Scores far apart: the loss is the gap, not infinity."""
    scores = np.where(np.arange(ENTITIES) == 0, 1e4, -1e4) * np.ones((QUERIES, HEADS, 1), np.float32)
    total, counted = link_loss(**arguments | {"scores": scores.astype(np.float32)})
    assert np.isfinite(total)
    assert total <= counted * 2e4
