"""Stop words are scikit-learn's, and cost no import of it."""

import runpy
import sys

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from tofu_jax.tokens.stop_words import english_stop_words


def test_the_list_is_read_without_importing_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)  # importing it would fail
    assert english_stop_words.__wrapped__() == ENGLISH_STOP_WORDS


def test_a_version_that_keeps_it_elsewhere_is_imported(monkeypatch):
    def nowhere(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(runpy, "run_path", nowhere)
    assert english_stop_words.__wrapped__() == ENGLISH_STOP_WORDS
