"""Stored graphs come back as they were, and damage never goes unseen."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tofu_jax.errors import DataError
from tofu_jax.graphs.datasets.store import is_stored, open_graph, read_provenance, write_graph
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys

PROVENANCE = {"source": "a test", "files": {"train.txt": [3, "…"]}}
# Whatever UTF-8 can hold: separators of lines and columns, quotes, zero bytes, marks that reverse the writing, no text at all.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["", "\0", "a\0", "\t\r\n", "\u202e\u2028\ufeff", "'\"\\"]
)
TOO_MANY = 5000  # for one block


def toy(image_root=None, **changes):
    triples = np.array([[0, 0, 1], [1, 1, 2], [2, 0, 0]], np.int32)
    graph = KnowledgeGraph(
        name="toy",
        entities=("a", "b", "c"),
        relations=("r", "s"),
        train=triples[:2],
        valid=triples[2:],
        test=triples[:0],
        labels=("A", "B", "C"),
        texts=("A, first", "", "C"),
        images=(("a.png", "a/2.png"), (), ("c.png",)),
        image_root=image_root,
        relation_labels=("R", "S"),
    )
    return dataclasses.replace(graph, **changes)


def assert_same(graph, other):
    for field in dataclasses.fields(graph):
        ours, theirs = getattr(graph, field.name), getattr(other, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
        else:
            assert ours == theirs
    assert graph.fingerprint == other.fingerprint


@st.composite
def graphs(draw):
    """Small graphs with any text; facts of valid and test may be repeated."""
    entities = draw(st.lists(TEXTS, min_size=1, max_size=6, unique=True))
    relations = draw(st.lists(TEXTS, min_size=1, max_size=3, unique=True))
    ends = st.integers(0, len(entities) - 1)
    facts = st.lists(st.tuples(ends, st.integers(0, len(relations) - 1), ends), max_size=8)
    train, valid, test = (np.array(draw(facts), np.int32).reshape(-1, 3) for _ in range(3))

    def one_each(strategy, names):
        return tuple(draw(st.lists(strategy, min_size=len(names), max_size=len(names))))

    return KnowledgeGraph(
        name=draw(TEXTS),
        entities=tuple(entities),
        relations=tuple(relations),
        train=train[np.sort(np.unique(fact_keys(train), return_index=True)[1])],
        valid=valid,
        test=test,
        labels=one_each(TEXTS, entities),
        texts=one_each(TEXTS, entities),
        images=one_each(st.lists(TEXTS, max_size=3).map(tuple), entities),
        image_root=pathlib.Path("/some/where") if draw(st.booleans()) else None,
        relation_labels=one_each(TEXTS, relations),
    )


@settings(max_examples=40)
@given(graphs())
def test_any_graph_comes_back_as_it_was(graph):
    with tempfile.TemporaryDirectory() as folder:
        write_graph(graph, pathlib.Path(folder) / "stored", PROVENANCE)
        assert_same(open_graph(pathlib.Path(folder) / "stored"), graph)


def test_order_stays_over_many_blocks(tmp_path):
    names = tuple(f"e{i}" for i in np.random.default_rng(0).permutation(TOO_MANY))
    train = np.stack([np.arange(TOO_MANY), np.zeros(TOO_MANY), np.arange(TOO_MANY)[::-1]], axis=1).astype(np.int32)
    images = tuple((name,) * (i % 3) for i, name in enumerate(names))
    graph = KnowledgeGraph("long", names, ("r",), train, train[:1], train[:2], names, names, images)
    write_graph(graph, tmp_path / "stored", {})
    assert_same(open_graph(tmp_path / "stored"), graph)


def test_folder_appears_whole_and_silently_and_says_where_its_graph_comes_from(tmp_path, capfd):
    folder = tmp_path / "new" / "stored"
    assert not is_stored(folder)
    write_graph(toy(), folder, PROVENANCE)
    assert is_stored(folder)
    assert read_provenance(folder) == PROVENANCE
    assert list(folder.parent.iterdir()) == [folder]
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_of_a_write_that_fails(tmp_path):
    with pytest.raises(TypeError):
        write_graph(toy(), tmp_path / "stored", {"not JSON": object()})
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "empty").mkdir()
    write_graph(toy(), tmp_path / "empty", {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for name in ("empty", "full", "full/notes.txt"):
        with pytest.raises(DataError, match="exists already"):
            write_graph(toy(), tmp_path / name, {})


def test_images_below_the_folder_move_with_it(tmp_path):
    write_graph(toy(image_root=tmp_path / "stored" / "images"), tmp_path / "stored", {})
    (tmp_path / "stored").rename(tmp_path / "moved")
    assert open_graph(tmp_path / "moved").image_root == tmp_path / "moved" / "images"


def test_a_relative_image_folder_is_kept_as_the_place_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_graph(toy(image_root=pathlib.Path("images")), "stored", {})
    assert open_graph("stored").image_root == tmp_path / "images"


def test_half_a_surrogate_pair_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"toy: 'B\\ud800' cannot be written as UTF-8"):
        write_graph(toy(labels=("A", "B\ud800", "C")), tmp_path / "stored", {})


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "toy"
    write_graph(toy(), folder, PROVENANCE)
    return folder


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "longer"])
def test_damage_to_any_file_is_seen_and_named(tmp_path, stored, damage):
    for name in files_of(stored):
        folder = tmp_path / name
        shutil.copytree(stored, folder)
        path, data = folder / name, (stored / name).read_bytes()
        middle = len(data) // 2
        changed = {
            "empty": b"",
            "cut": data[:-1],
            "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "longer": data.replace(b"\n", b"\n\n", 1) if name == "SHA256SUMS" else data + b"\n",
        }
        path.unlink() if damage == "missing" else path.write_bytes(changed[damage])
        with pytest.raises(DataError, match=r"SHA256SUMS|missing") as raised:
            open_graph(folder)
        assert str(folder) in str(raised.value)
        assert name == "SHA256SUMS" or name in str(raised.value)


def test_other_files_beside_the_graph_are_no_damage(tmp_path, stored):
    shutil.copytree(stored, tmp_path / "stored")
    (tmp_path / "stored" / "tokens.safetensors").write_bytes(b"mine")
    assert_same(open_graph(tmp_path / "stored"), toy())


def test_what_is_no_stored_graph_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a stored graph"):
        open_graph(tmp_path)
    with pytest.raises(DataError, match="not a stored graph"):
        read_provenance(tmp_path / "nowhere")


def test_tfds_reads_what_was_stored(stored):
    tfds = pytest.importorskip("tensorflow_datasets")
    source = tfds.builder_from_directory(stored).as_data_source()
    assert source["train"][0]["triples"].tolist() == toy().train.tolist()
    assert [text.decode() for text in source["entities"][0]["texts"]] == list(toy().texts)


def test_tfds_is_imported_only_when_a_graph_is_stored_or_opened():
    code = "import sys, tofu_jax.graphs.datasets.store; print('tensorflow_datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
