"""Data sets by name: from a local folder or a server, checked, prepared once."""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import shutil

import numpy as np
import pytest

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin import load_builtin
from tofu_jax.graphs.datasets import loading, read_provenance, registry, write_graph
from tofu_jax.graphs.datasets.entry import Dataset, PublishedFile, facts_sha256
from tofu_jax.graphs.datasets.loading import load_dataset, stored_folder
from tofu_jax.graphs.datasets.repairs import without_leaks
from tofu_jax.graphs.knowledge_graph import fact_keys
from tofu_jax.graphs.readers import read_graph
from tofu_jax.graphs.registry import load_graph

CONTENTS = {
    "train.txt": "a\tr\tb\nb\tr\tc\n",
    "valid.txt": "a\tr\tb\nc\tr\ta\n",
    "test.txt": "b\tr\tc\na\ts\tunseen\n",
}
INDUCTIVE = CONTENTS | {
    "inference_graph.txt": "u\tr\tv\n",
    "inference_valid.txt": "v\tr\tu\n",
    "inference_test.txt": "u\tr\tu\n",
}
REAL = pathlib.Path(os.environ.get("TOFU_JAX_DATA", "/no data here"))


def write(folder, contents=CONTENTS):
    folder.mkdir(parents=True)
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


def dataset(folder, name="Toy-15K", contents=CONTENTS, **settings):
    """An entry whose facts are those of a folder."""
    files = tuple(
        PublishedFile(f"https://example.org/{file}", file, hashlib.sha256(text.encode()).hexdigest())
        for file, text in contents.items()
    )
    entry = Dataset(name, files, "split files", "transductive", "not stated", "nobody", "not real", repair=without_leaks)
    entry = dataclasses.replace(entry, **settings)
    facts = {part: facts_sha256(read_graph(folder, part, True)) for part in entry.parts}
    return dataclasses.replace(entry, facts=facts)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """(entry in the registry, folder of its files)."""
    folder = write(tmp_path / "data" / "Toy-15K")
    entry = dataset(folder)
    monkeypatch.setitem(registry.DATASETS, entry.name, entry)
    return entry, folder


@pytest.fixture
def no_network(monkeypatch):
    def fetch(url, path, *_):
        raise DataError(f"{url}: cannot be downloaded to {path} (no route to host).")

    monkeypatch.setattr(loading, "fetch", fetch)


@pytest.fixture
def server(monkeypatch, toy):
    """What is asked for: a server that has the files of `toy`."""
    asked = []

    def fetch(url, path, sha256, _):
        asked.append(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(toy[1] / path.name, path)
        return sha256

    monkeypatch.setattr(loading, "fetch", fetch)
    return asked


def facts(graph, split):
    return [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in getattr(graph, split).tolist()]


def test_the_default_split_is_the_repaired_one(toy, no_network):
    graph = load_dataset("Toy-15K", folder=toy[1])
    assert graph.name == "Toy-15K"
    assert facts(graph, "train") == [("a", "r", "b")]
    assert facts(graph, "valid") == [("c", "r", "a")]
    assert facts(graph, "test") == [("b", "r", "c"), ("a", "s", "unseen")]
    published = load_dataset("Toy-15K", folder=toy[1], as_published=True)
    assert published.fingerprint == read_graph(toy[1], keep_unseen_entities=True).fingerprint
    assert facts(load_dataset("Toy-15K"), "train") == [("a", "r", "b")]


def test_prepared_once(toy, no_network, monkeypatch):
    first = load_dataset("Toy-15K", folder=toy[1])
    monkeypatch.setattr(loading, "read_graph", None)
    assert load_dataset("Toy-15K", folder=toy[1]).fingerprint == first.fingerprint
    # Where no folder is given, what has been made from one is as good.
    assert load_dataset("Toy-15K").fingerprint == first.fingerprint
    provenance = read_provenance(stored_folder(toy[0], "training", False))
    assert provenance["dataset"] == "Toy-15K"
    assert provenance["licence"] == "not stated"
    assert sorted(map(os.path.basename, provenance["made_from"])) == sorted(CONTENTS)


def test_prepared_again_when_the_files_change(toy, no_network):
    load_dataset("Toy-15K", folder=toy[1])
    (toy[1] / "entity2text.tsv").write_text("a\tAnna\tis described\n")
    assert load_dataset("Toy-15K", folder=toy[1]).labels[0] == "Anna"
    assert load_dataset("Toy-15K").labels[0] == "Anna"


def test_other_facts_are_refused(toy, no_network):
    (toy[1] / "test.txt").write_text("b\tr\tc\n")
    with pytest.raises(DataError, match="holds other facts than Toy-15K as published") as raised:
        load_dataset("Toy-15K", folder=toy[1])
    assert str(toy[1]) in str(raised.value)


def test_what_is_stored_outlives_a_source_that_fails(toy, no_network):
    load_dataset("Toy-15K", folder=toy[1])
    (toy[1] / "test.txt").write_text("b\tr\tc\n")
    with pytest.raises(DataError, match="other facts"):
        load_dataset("Toy-15K", folder=toy[1])
    assert len(load_dataset("Toy-15K").test) == 2


def test_a_folder_of_data_sets_can_be_named_by_the_environment(toy, no_network, monkeypatch):
    monkeypatch.setenv("TOFU_JAX_DATA", str(toy[1].parent))
    assert load_dataset("Toy-15K").name == "Toy-15K"
    monkeypatch.setenv("TOFU_JAX_DATA", str(toy[1] / "nowhere"))
    with pytest.raises(DataError, match=r"TOFU_JAX_DATA=.*nowhere: no such folder"):
        load_dataset("Toy-15K")
    with pytest.raises(DataError, match="nothing here: no such folder"):
        load_dataset("Toy-15K", folder=toy[1] / "nothing here")


def test_downloads_what_is_not_there(toy, server, own_cache):
    graph = load_dataset("Toy-15K")
    assert graph.fingerprint == without_leaks(read_graph(toy[1], keep_unseen_entities=True)).fingerprint
    assert server == [file.url for file in toy[0].files]
    assert sorted(path.name for path in (own_cache / "downloads" / "Toy-15K").iterdir()) == sorted(CONTENTS)
    load_dataset("Toy-15K")
    assert len(server) == len(CONTENTS)
    provenance = read_provenance(stored_folder(toy[0], "training", False))
    assert provenance["downloaded"] == {file.name: file.sha256 for file in toy[0].files}


def test_of_many_at_once_one_prepares(toy, server):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        graphs = list(pool.map(lambda _: load_dataset("Toy-15K"), range(4)))
    assert len({graph.fingerprint for graph in graphs}) == 1
    assert len(server) == len(CONTENTS)


def test_what_a_killed_process_left_is_removed(toy, no_network):
    stored = stored_folder(toy[0], "training", False)
    left = stored.with_name(f".{stored.name}.partial-1234")
    left.mkdir(parents=True)
    stored.mkdir()  # made, but never filled
    assert load_dataset("Toy-15K", folder=toy[1]).name == "Toy-15K"
    assert not left.exists()


def test_a_cache_that_cannot_be_made_is_named(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"file/tofu_jax/.*cannot be made .*XDG_CACHE_HOME"):
        load_dataset("Toy-15K", folder=toy[1])


def test_without_a_network_the_error_says_how_to_do_without(toy, no_network):
    with pytest.raises(DataError, match="cannot be downloaded") as raised:
        load_dataset("Toy-15K")
    for said in ("https://example.org/train.txt", "downloads/Toy-15K/train.txt", "folder=", "TOFU_JAX_DATA"):
        assert said in str(raised.value)


def test_what_has_to_be_fetched_by_hand_says_where():
    with pytest.raises(DataError, match=r"VTKG-I cannot be downloaded .* https://drive.google.com/.*TOFU_JAX_DATA"):
        load_dataset("VTKG-I")


def test_parts_of_an_inductive_data_set(tmp_path, monkeypatch, no_network):
    folder = write(tmp_path / "data" / "ind", INDUCTIVE)
    entry = dataset(folder, "ind", INDUCTIVE, protocol="inductive", layout="training and inference graph", repair=None)
    monkeypatch.setitem(registry.DATASETS, "ind", entry)
    assert load_dataset("ind", folder=folder).entities == ("u", "v")
    assert load_dataset("ind", "training", folder=folder).entities == ("a", "b", "c", "unseen")
    assert load_dataset("ind", "inference").entities == ("u", "v")
    with pytest.raises(DataError, match="DB15K has no inference graph"):
        load_dataset("DB15K", "inference")


def test_names_come_before_folders_and_paths_are_paths(toy, no_network, tmp_path, monkeypatch):
    load_dataset("Toy-15K", folder=toy[1])
    other = write(tmp_path / "Toy-15K", {name: "x\tr\ty\n" for name in CONTENTS})
    monkeypatch.chdir(tmp_path)
    assert "a" in load_graph("Toy-15K").entities
    for path in ("./Toy-15K", str(other), "Toy-15K/"):
        assert load_graph(path).entities == ("x", "y")
    write(tmp_path / "mine")
    assert "a" in load_graph("mine", keep_unseen_entities=True).entities
    write_graph(load_graph("./Toy-15K"), tmp_path / "stored", {})
    assert load_graph("stored").entities == ("x", "y")
    assert load_graph("elements").fingerprint == load_builtin("elements").fingerprint
    with pytest.raises(DataError, match=r"Toy-15k: no such folder or file, and no data set; did you mean Toy-15K"):
        load_graph("Toy-15k")
    with pytest.raises(DataError, match=r"\./nowhere: no such folder or file\.$"):
        load_graph("./nowhere")


@pytest.mark.skipif(not REAL.is_dir(), reason="TOFU_JAX_DATA names no folder of real data")
def test_db15k_is_repaired_as_its_notes_say(tmp_path):
    folder = REAL / "DB15K"
    if not folder.is_dir():
        pytest.skip("no DB15K in TOFU_JAX_DATA")
    published = load_dataset("DB15K", folder=folder, as_published=True)
    keys = {split: fact_keys(getattr(published, split)) for split in ("train", "valid", "test")}
    assert len(keys["valid"]) == 9904
    assert np.isin(keys["valid"], keys["train"]).sum() == 8719
    assert np.isin(keys["valid"], keys["test"]).sum() == 1105
    assert len(np.intersect1d(keys["valid"], keys["test"])) == 824
    repaired = load_dataset("DB15K", folder=folder)
    assert (len(repaired.train), len(repaired.valid), len(repaired.test)) == (79_222, 73, 9_902)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="TOFU_JAX_DATA names no folder of real data")
@pytest.mark.parametrize("name", [name for name, entry in registry.DATASETS.items() if entry.facts])
def test_real_data_hold_the_facts_that_the_registry_knows(name):
    entry = registry.DATASETS[name]
    if not (REAL / entry.folder).is_dir():
        pytest.skip(f"no {entry.folder} in TOFU_JAX_DATA")
    for part in entry.facts:
        assert load_dataset(name, part, REAL / entry.folder).name == name
