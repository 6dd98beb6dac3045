"""Facts that a model will be judged on leave its training data, in whatever graph and direction they stand."""

import hashlib

import numpy as np
import pytest
from making import make_graph

from tofu_jax.errors import DataError
from tofu_jax.graphs.excluded_facts import ExcludedFacts, canonical_keys


def _write(folder, train, valid, test):
    folder.mkdir()
    for name, facts in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"{name}.txt").write_text("".join("\t".join(fact) + "\n" for fact in facts), encoding="utf-8")
    return str(folder)


def test_key_is_the_documented_one():
    digest = hashlib.sha256(b"Dean_Semler\tediting\tconcept_x").digest()
    fact = ("<http://dbpedia.org/resource/Dean_Semler>", "editing", "concept:x")
    assert canonical_keys([fact]).tolist() == [int.from_bytes(digest[:8], "little")]


def test_removes_evaluation_facts_as_they_stand_and_reversed(tmp_path):
    target = _write(tmp_path / "target", [("e0", "r0", "e9")], [("e0", "r0", "e1")], [("e3", "r1", "e2")])
    graph = make_graph(4, 2, [(0, 0, 1), (2, 1, 3), (0, 1, 1), (3, 0, 2)])
    kept, removed = ExcludedFacts.read([target]).remove_from(graph)
    assert removed == 2
    assert kept.train.tolist() == [[0, 1, 1], [3, 0, 2]]
    assert kept.entities == graph.entities


def test_file_of_keys_equals_the_graph_it_was_made_of(tmp_path):
    target = _write(tmp_path / "target", [("a", "r", "b")], [("a", "r", "c")], [("b", "s", "a")])
    keys = ExcludedFacts.read([target]).keys
    assert keys.tolist() == sorted(canonical_keys([("a", "r", "c"), ("b", "s", "a")]).tolist())
    np.save(tmp_path / "keys.npy", keys)
    assert (ExcludedFacts.read([str(tmp_path / "keys.npy"), target]).keys == keys).all()


def test_nothing_excluded_changes_nothing():
    graph = make_graph(3, 1, [(0, 0, 1)])
    assert ExcludedFacts.read([]).remove_from(graph) == (graph, 0)


def test_file_of_something_else_is_refused(tmp_path):
    np.save(tmp_path / "keys.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"keys\.npy: not a list of fact keys"):
        ExcludedFacts.read([str(tmp_path / "keys.npy")])
