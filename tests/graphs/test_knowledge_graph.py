"""What a KnowledgeGraph refuses, how its directed edges are laid out, and what its fingerprint covers."""

import dataclasses

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, directed, fact_keys
from tofu_jax.shapes import inverse_relation

ENTITIES, RELATIONS = ("a", "b", "c"), ("r", "s")
FACTS = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 2))


def triples(*facts):
    return np.array(facts, np.int32).reshape(-1, 3)


def graph_of(train=((0, 0, 1),), valid=(), test=(), **changes):
    """A graph of three entities and two relations; `changes` replace whole attributes."""
    values = {
        "name": "toy",
        "entities": ENTITIES,
        "relations": RELATIONS,
        "train": triples(*train),
        "valid": triples(*valid),
        "test": triples(*test),
        "labels": ENTITIES,
        "texts": ("", "text", ""),
        "images": ((),) * 3,
    }
    return KnowledgeGraph(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": ("", "")}, "differ in length"),
        ({"labels": ("a",)}, "differ in length"),
        ({"images": ()}, "differ in length"),
        ({"entities": ("a", "a", "c")}, "entity ids are not unique"),
        ({"relations": ("r", "r")}, "relation ids are not unique"),
        ({"train": np.zeros((1, 3), np.int64)}, "train must be int32"),
        ({"valid": np.zeros((1, 2), np.int32)}, "valid must be int32"),
        ({"test": np.zeros(3, np.int32)}, "test must be int32"),
        ({"train": triples((0, 0, 3))}, "train holds ids outside"),
        ({"valid": triples((0, 2, 0))}, "valid holds ids outside"),
        ({"test": triples((-1, 0, 0))}, "test holds ids outside"),
        ({"train": triples((0, 0, 1), (1, 1, 0), (0, 0, 1))}, "train holds a fact twice"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(DataError, match=rf"^toy: .*{message}"):
        dataclasses.replace(graph_of(), **changes)


def test_held_out_facts_may_repeat_and_be_absent():
    graph = graph_of(valid=[(0, 0, 1), (0, 0, 1)])
    assert (len(graph.valid), len(graph.test)) == (2, 0)


def test_facts_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        graph_of().train[0, 0] = 1


def test_relation_labels_default_to_the_ids():
    assert graph_of().relation_labels == RELATIONS
    assert graph_of(relation_labels=("is", "has")).relation_labels == ("is", "has")


def test_summary_counts():
    assert graph_of(valid=[(1, 1, 2)]).summary() == (
        "toy: 3 entities, 2 relations, 1 / 1 / 0 train/valid/test facts, text 33%, image 0%"
    )


@given(st.lists(FACTS, unique=True, max_size=12))
def test_each_edge_has_its_inverse_f_places_later(facts):
    """S7: an inverse's inverse is the edge itself, and facts become edges in both directions."""
    graph = graph_of(train=facts)
    senders, relations, receivers = graph.edges
    half = len(facts)
    assert [column.dtype for column in graph.edges] == [np.int32] * 3
    assert len(senders) == len(relations) == len(receivers) == 2 * half
    np.testing.assert_array_equal(np.stack([senders, relations, receivers], axis=1)[:half], graph.train)
    np.testing.assert_array_equal(senders[half:], receivers[:half])
    np.testing.assert_array_equal(receivers[half:], senders[:half])
    np.testing.assert_array_equal(inverse_relation(relations[half:], graph.num_relations), relations[:half])
    np.testing.assert_array_equal(relations[half:], relations[:half] + 2)


def test_directed_of_nothing():
    assert [len(column) for column in directed(triples(), 4)] == [0, 0, 0]


@given(st.lists(FACTS, max_size=20))
def test_fact_keys_tell_facts_apart(facts):
    assert len(set(fact_keys(triples(*facts)).tolist())) == len(set(facts))


@given(
    st.lists(FACTS, unique=True, min_size=1, max_size=6),
    st.lists(FACTS, max_size=3),
    st.lists(FACTS, max_size=3),
    st.data(),
)
def test_fingerprint_changes_with_any_fact(train, valid, test, data):
    graph = graph_of(train, valid, test)
    assert graph.fingerprint == graph_of(train, valid, test).fingerprint
    dropped = data.draw(st.integers(0, len(train) - 1))
    assert graph_of(train[:dropped] + train[dropped + 1 :], valid, test).fingerprint != graph.fingerprint
    # The last training fact as the first validation fact: the same numbers one after the other, in another split.
    assert graph_of(train[:-1], [train[-1], *valid], test).fingerprint != graph.fingerprint
    other = data.draw(FACTS.filter(lambda fact: fact not in train))
    assert graph_of([*train[:-1], other], valid, test).fingerprint != graph.fingerprint
    assert graph_of(train, [*valid, other], test).fingerprint != graph.fingerprint
    assert graph_of(train, valid, [other, *test]).fingerprint != graph.fingerprint


def test_fingerprint_covers_names_but_not_what_is_said_about_them():
    graph = graph_of()
    assert dataclasses.replace(graph, entities=("a", "b", "d")).fingerprint != graph.fingerprint
    assert dataclasses.replace(graph, relations=("r", "t")).fingerprint != graph.fingerprint
    described = dataclasses.replace(
        graph, name="other", labels=("A", "B", "C"), texts=("x", "y", "z"), relation_labels=("is", "has")
    )
    assert described.fingerprint == graph.fingerprint


def test_files_are_read_by_name(tmp_path):
    folder = tmp_path / "atlas"
    folder.mkdir()
    for split, fact in (("train", "a\tr\tb"), ("valid", "b\tr\ta"), ("test", "a\tr\ta")):
        (folder / f"{split}.txt").write_text(fact + "\n")
    (tmp_path / "atlas.nt").write_text("<http://x/a> <http://x/r> <http://x/b> .\n")
    pyarrow.parquet.write_table(pyarrow.table({"head": ["a"], "relation": ["r"], "tail": ["b"]}), tmp_path / "atlas.parquet")
    assert KnowledgeGraph.from_folder(folder).valid.tolist() == [[1, 0, 0]]
    assert KnowledgeGraph.from_rdf(tmp_path / "atlas.nt").entities == ("http://x/a", "http://x/b")
    assert KnowledgeGraph.from_parquet(tmp_path / "atlas.parquet").train.tolist() == [[0, 0, 1]]
