"""Every named data set says where it comes from, under which terms, and how its facts are known."""

import re

import numpy as np
import pytest

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin import BUILTIN_GRAPHS
from tofu_jax.graphs.datasets.builder import KnowledgeGraphs
from tofu_jax.graphs.datasets.entry import facts_sha256
from tofu_jax.graphs.datasets.hashes import FACTS, FILES
from tofu_jax.graphs.datasets.registry import DATASETS, find_dataset
from tofu_jax.graphs.datasets.repairs import without_leaks
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.readers.layouts import LAYOUTS, SPLIT_FILES

EXPECTED = {
    *("countries", "emoji", "elements"),
    *("DB15K", "MKG-W", "MKG-Y", "TIVA", "KVC16K", "YAGO15K", "WN9-IMG", "VTKG-I", "VTKG-C"),
    *("FB15k-237", "WN18RR", "CoDEx-S", "CoDEx-M", "CoDEx-L", "NELL-995"),
    *(f"{family}_v{i}" for family in ("fb237", "WN18RR", "nell") for i in (1, 2, 3, 4)),
    *(f"{family}-{share}" for family in ("FB", "WK", "NL") for share in (25, 50, 75, 100)),
    *("NL-0", "ILPC-small", "ILPC-large"),
}
SHA256 = re.compile(r"[0-9a-f]{64}")
# Pinned: whatever happens to the repository, the file stays the same.
PINNED = re.compile(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/[\w./-]+")


def test_all_names_are_there():
    assert set(DATASETS) == EXPECTED
    assert set(BUILTIN_GRAPHS) < EXPECTED


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_is_complete(name):
    dataset = DATASETS[name]
    assert dataset.name == name
    assert all((dataset.licence, dataset.citation, dataset.notes, dataset.folder))
    assert dataset.protocol in ("transductive", "inductive", "fully inductive", "not split")
    if name in BUILTIN_GRAPHS:
        return
    assert bool(dataset.files) != bool(dataset.homepage)
    assert not dataset.homepage or dataset.homepage.startswith("https://")
    assert len({file.name for file in dataset.files}) == len(dataset.files)
    for file in dataset.files:
        assert PINNED.fullmatch(file.url)
        assert file.sha256 is None or SHA256.fullmatch(file.sha256)
    assert set(dataset.facts) <= set(dataset.parts)
    assert all(SHA256.fullmatch(value) for value in dataset.facts.values())
    # What cannot be checked says so.
    if set(dataset.facts) != set(dataset.parts):
        assert "not checked" in dataset.notes or "count of others" in dataset.notes


def test_no_hash_is_left_over():
    used = {f"{dataset.name}/{file.name}": file.sha256 for dataset in DATASETS.values() for file in dataset.files}
    assert FILES.items() <= used.items()
    assert set(FACTS) <= set(DATASETS)


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].files])
def test_published_files_have_the_layout_that_the_entry_names(name):
    dataset = DATASETS[name]
    files = {file.name for file in dataset.files}
    if dataset.layout == "one RDF file":
        assert [file.endswith(".nt") for file in files] == [True]
        return
    (layout,) = (layout for layout in (*LAYOUTS, SPLIT_FILES) if layout.name == dataset.layout)

    def there(name):
        return any({alternative, f"{alternative}.txt"} & files for alternative in name.split("|"))

    assert all(map(there, (*layout.marks, *layout.training, *layout.inference)))
    assert ("inference" in dataset.parts) == bool(layout.inference)


def test_unknown_names_get_a_hint():
    with pytest.raises(DataError, match=r"no data set 'db15k'; did you mean DB15K\?"):
        find_dataset("db15k")
    with pytest.raises(DataError, match=r"did you mean FB15k-237\b"):
        find_dataset("FB15K237")
    with pytest.raises(DataError, match="the names are countries, emoji"):
        find_dataset("???")


def test_tfds_knows_every_part_by_a_name_of_its_own():
    names = [config.name for config in KnowledgeGraphs.BUILDER_CONFIGS]
    assert len(set(names)) == len(names)
    assert {"FB15k-237", "DB15K", "DB15K.as_published", "fb237_v1", "fb237_v1.training"} <= set(names)
    assert "FB15k-237.as_published" not in names


def graph(train, valid=(), test=(), entities="abcd"):
    """One relation; facts are pairs of entities."""
    splits = [np.array([[h, 0, t] for h, t in pairs], np.int32).reshape(-1, 3) for pairs in (train, valid, test)]
    names = tuple(entities)
    return KnowledgeGraph("toy", names, ("r",), *splits, names, ("",) * len(names), ((),) * len(names))


def pairs(triples):
    return [(head, tail) for head, _, tail in triples.tolist()]


def test_repaired_splits_share_no_fact():
    """The defects of DB15K, TIVA and KVC16K in small: lines of valid in train and test, lines of test in train."""
    leaking = graph(
        train=[(0, 1), (1, 2), (2, 3)], valid=[(0, 1), (3, 0), (0, 3), (1, 2), (3, 0)], test=[(1, 2), (0, 3), (2, 0)]
    )
    repaired = without_leaks(leaking)
    assert pairs(repaired.train) == [(0, 1), (2, 3)]
    assert pairs(repaired.valid) == [(3, 0)]
    np.testing.assert_array_equal(repaired.test, leaking.test)
    assert repaired.entities == leaking.entities


def test_repair_leaves_sound_splits_alone():
    sound = graph(train=[(2, 3), (0, 1)], valid=[(1, 0), (3, 2)], test=[(0, 2)])
    assert without_leaks(sound).fingerprint == sound.fingerprint


def test_facts_have_the_same_hash_in_any_order_and_number():
    one = graph(train=[(0, 1), (1, 2)], valid=[(2, 3), (2, 3)], test=[(3, 0)])
    # b, a, d, c: the same facts by name under other ids.
    other = graph(train=[(0, 3), (1, 0)], valid=[(3, 2)], test=[(2, 1)], entities="badc")
    assert facts_sha256(one) == facts_sha256(other) != facts_sha256(graph(train=[(0, 1), (1, 2)], valid=[(2, 3)]))
    moved = graph(train=[(0, 1), (1, 2), (2, 3)], test=[(3, 0)])
    assert facts_sha256(moved) != facts_sha256(one)
