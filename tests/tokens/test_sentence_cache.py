"""Vectors of texts are kept, found again by the same encoder only, and never in the way."""

import concurrent.futures
import sqlite3

import numpy as np
import pytest

from tofu_jax.tokens import sentence_cache
from tofu_jax.tokens.sentence_cache import SentenceCache, text_keys
from tofu_jax.tokens.text import TextTokenizer

KEYS = text_keys(["a", "b", "c", "\ud800"], "encoder")
VECTORS = np.arange(16, dtype=np.float16).reshape(4, 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(sentence_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_kept_is_found(folder):
    SentenceCache(4).keep(KEYS[:3], VECTORS[:3])
    found = SentenceCache(4).find([*KEYS] * 300)
    assert set(found) == set(KEYS[:3])
    for key, vector in zip(KEYS[:3], VECTORS, strict=False):
        np.testing.assert_array_equal(found[key], vector)
    assert not set(text_keys(["a", "b"], "another encoder")) & set(KEYS)


def test_vectors_that_cannot_be_are_not_found(folder):
    SentenceCache(4).keep(KEYS[:2], np.array([[np.nan] * 4, [1] * 4], np.float16))
    assert set(SentenceCache(4).find(KEYS)) == {KEYS[1]}
    assert not SentenceCache(5).find(KEYS)


@pytest.mark.parametrize("damage", ["garbage", "other table", "folder is a file"])
def test_a_cache_that_cannot_be_used_costs_a_note(folder, capsys, damage):
    path = folder / sentence_cache._NAME
    if damage == "folder is a file":
        folder.write_text("")
    else:
        folder.mkdir()
        path.write_bytes(b"no database" * 100)
    if damage == "other table":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE vectors (other TEXT)")
    cache = SentenceCache(4)
    assert cache.find(KEYS) == {}
    cache.keep(KEYS, VECTORS)  # once is enough
    notes = capsys.readouterr().err
    assert notes.count("texts are encoded anew") == 1
    assert sentence_cache.VARIABLE in notes


def test_the_cache_can_be_turned_off(folder, tmp_path, monkeypatch):
    monkeypatch.setenv(sentence_cache.VARIABLE, "")
    SentenceCache(4).keep(KEYS, VECTORS)
    assert not SentenceCache(4).find(KEYS)
    assert not any(tmp_path.iterdir())


def test_without_a_name_it_lies_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.delenv(sentence_cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    SentenceCache(4).keep(KEYS, VECTORS)
    assert (tmp_path / "tofu_jax" / "texts" / sentence_cache._NAME).is_file()


def test_several_may_write_at_once(folder):
    many = [text_keys([f"{i} {j}" for j in range(50)], "encoder") for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda keys: SentenceCache(4).keep(keys, np.ones((50, 4), np.float16)), many))
    assert len(SentenceCache(4).find([key for keys in many for key in keys])) == 400


def test_a_text_is_encoded_once(folder, monkeypatch):
    texts = ["a dog", "", "a cat", "a dog"]
    first = TextTokenizer.load().vectors(texts)
    np.testing.assert_array_equal(first[0], first[3])
    monkeypatch.setattr("tofu_jax.tokens.text.SentenceEncoder", None)
    np.testing.assert_array_equal(TextTokenizer.load().vectors(texts), first)
