"""The built-in graphs: their size, their splits, and that nothing of a held-out fact is left in train or in a text."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import resvg_py

from tofu_jax.errors import DataError
from tofu_jax.graphs.builtin import BUILTIN_GRAPHS, load_builtin
from tofu_jax.graphs.builtin.splits import FEWEST_TRAIN_FACTS, spelled_out, split_facts

# Lower and upper bounds: new releases of the packages may add some facts, a broken reader loses or doubles many.
SIZES = {"countries": (3_500, 5_000, 7_000), "emoji": (3_500, 5_000, 10_000), "elements": (300, 500, 2_000)}
SHARED_PAIRS = 0.5  # above this share of pairs in common, two relations say nearly the same


@pytest.fixture(scope="module", params=BUILTIN_GRAPHS)
def graph(request):
    return load_builtin(request.param)


def held_out(graph):
    return np.concatenate([graph.valid, graph.test])


def all_facts(graph):
    return np.concatenate([graph.train, held_out(graph)])


def as_set(triples):
    return set(map(tuple, triples.tolist()))


def test_unknown_name_lists_the_names():
    with pytest.raises(DataError, match="countries, emoji, elements"):
        load_builtin("planets")


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycountry", None)
    with pytest.raises(DataError, match="'pycountry', which is not installed"):
        load_builtin("countries")


def test_sizes(graph):
    fewest_entities, most_entities, fewest_facts = SIZES[graph.name]
    assert fewest_entities < graph.num_entities < most_entities
    assert len(all_facts(graph)) > fewest_facts
    assert len(set(all_facts(graph)[:, 1].tolist())) == len(graph.relations) >= 7
    share = len(held_out(graph)) / len(all_facts(graph))
    assert 0.18 < share <= 0.2
    assert abs(len(graph.valid) - len(graph.test)) <= 2


def test_ids_say_their_kind_and_names_are_not_empty(graph):
    assert all(kind and rest for kind, _, rest in (entity.partition(":") for entity in graph.entities))
    assert all(graph.labels)
    assert list(graph.entities) == sorted(graph.entities)


def test_no_fact_twice_and_nothing_of_a_held_out_fact_in_train(graph):
    facts = all_facts(graph)
    assert len(as_set(facts)) == len(facts)
    train = as_set(graph.train)
    for head, relation, tail in held_out(graph).tolist():
        assert (head, relation, tail) not in train
        assert (tail, relation, head) not in train
        for other in range(len(graph.relations)):
            assert (head, other, tail) not in train
            assert (tail, other, head) not in train


def test_valid_and_test_do_not_answer_each_other(graph):
    valid = as_set(graph.valid)
    for head, _, tail in graph.test.tolist():
        for relation in range(len(graph.relations)):
            assert (head, relation, tail) not in valid
            assert (tail, relation, head) not in valid


def test_held_out_entities_and_relations_are_known_from_train(graph):
    known = set(graph.train[:, [0, 2]].ravel().tolist())
    assert set(range(graph.num_entities)) == known
    count = np.bincount(graph.train[:, 1], minlength=len(graph.relations))
    assert (count[np.unique(held_out(graph)[:, 1])] >= FEWEST_TRAIN_FACTS).all()


def test_no_relation_holds_both_directions_of_a_pair(graph):
    facts = as_set(all_facts(graph))
    assert not [fact for fact in facts if fact[::-1] in facts]


def test_relations_that_say_nearly_the_same_share_their_splits(graph):
    """Only `mined_in` and `reserves_in` come near; a new inverse or duplicate relation should be noticed here."""
    facts = all_facts(graph)
    pairs = [as_set(facts[facts[:, 1] == relation][:, [0, 2]]) for relation in range(len(graph.relations))]
    reverse = [{(tail, head) for head, tail in found} for found in pairs]
    close = set()
    for one, other in itertools.permutations(range(len(pairs)), 2):
        shared = max(len(pairs[one] & pairs[other]), len(pairs[one] & reverse[other]))
        if shared > SHARED_PAIRS * len(pairs[one]):
            close.add((graph.relations[one], graph.relations[other]))
    assert close <= {("mined_in", "reserves_in"), ("reserves_in", "mined_in")}
    splits = {}
    for name in ("train", "valid", "test"):
        for head, _, tail in getattr(graph, name).tolist():
            splits.setdefault(frozenset((head, tail)), set()).add(name)
    assert all(len(names) == 1 for names in splits.values())


def test_no_text_spells_a_held_out_fact_out(graph):
    """Plain substring search with the name as it is written, unlike the word search of the builder."""
    for head, _, tail in held_out(graph).tolist():
        for one, other in ((head, tail), (tail, head)):
            text, name = (f" {words} " for words in (graph.texts[one].casefold(), graph.labels[other].casefold()))
            assert name not in text, (graph.entities[one], graph.entities[other])


def test_images_exist(graph):
    if graph.name == "elements":
        assert not any(graph.images) and graph.image_root is None
        return
    assert all((graph.image_root / file).is_file() for files in graph.images for file in files)
    kind = {"countries": "country:", "emoji": "emoji:"}[graph.name]
    files = [files for entity, files in zip(graph.entities, graph.images, strict=True) if entity.startswith(kind)]
    assert np.mean([bool(found) for found in files]) > 0.98


def test_images_can_be_drawn():
    graph = load_builtin("countries")
    for entity in ("country:FRA", "subdivision:GB-SCT", "subdivision:US-CA"):
        (file,) = graph.images[graph.entities.index(entity)]
        png = resvg_py.svg_to_bytes(
            svg_path=str(graph.image_root / file), width=224, height=224, background="#ffffff", skip_system_fonts=True
        )
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (224, 224)  # width and height of the header


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("countries", ("country:DEU", "borders", "country:FRA")),
        ("countries", ("city:Paris (FRA)", "capital_of", "country:FRA")),
        ("countries", ("country:BRA", "speaks", "language:por")),
        ("countries", ("subdivision:US-CA", "part_of", "country:USA")),
        ("countries", ("country:NPL", "utc_offset", "offset:UTC+05:45")),
        ("emoji", ("emoji:1F600", "in_subgroup", "subgroup:face-smiling")),
        ("emoji", ("emoji:1F468-200D-1F33E", "has_component", "emoji:1F33E")),
        ("emoji", ("emoji:1F44D-1F3FD", "variant_of", "emoji:1F44D")),
        ("emoji", ("emoji:1F44D-1F3FD", "has_skin_tone", "emoji:1F3FD")),
        ("elements", ("element:Fe", "in_group", "group:8")),
        ("elements", ("element:Fe", "next_element", "element:Co")),
        ("elements", ("element:C", "element_below", "element:Si")),
        ("elements", ("element:P", "discovered_by", "discoverer:Brand")),
        ("elements", ("element:O", "main_oxidation_state", "oxidation:-2")),
    ],
)
def test_known_facts(name, fact):
    graph = load_builtin(name)
    head, relation, tail = fact
    numbers = (graph.entities.index(head), graph.relations.index(relation), graph.entities.index(tail))
    assert numbers in as_set(all_facts(graph))


def test_same_graph_in_every_process():
    """Python orders sets of strings anew in each process; nothing may hang on that."""
    code = (
        "import zlib\n"
        "from tofu_jax.graphs.builtin import BUILTIN_GRAPHS, load_builtin\n"
        "for name in BUILTIN_GRAPHS:\n"
        "    graph = load_builtin(name)\n"
        "    rest = repr((graph.labels, graph.texts, graph.images)).encode()\n"
        "    print(graph.fingerprint, zlib.crc32(rest))\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert load_builtin("elements").fingerprint in outputs[0]


def toy_facts():
    """A ring with shortcuts: every entity has several facts, `twin` repeats `next` backwards."""
    ring = [(f"e{n}", "next", f"e{(n + 1) % 40}") for n in range(40)]
    twin = [(tail, "twin", head) for head, _, tail in ring]
    return ring + twin + [(f"e{n}", "skip", f"e{(n + 7) % 40}") for n in range(40)]


def test_split_does_not_depend_on_the_order_but_on_the_seed():
    facts = toy_facts()
    assert split_facts(facts, seed=3) == split_facts(facts[::-1] + facts, seed=3)
    assert split_facts(facts, seed=3) != split_facts(facts, seed=4)


def test_split_keeps_inverse_relations_together():
    train, valid, test = split_facts(toy_facts(), seed=0)
    assert sorted(train + valid + test) == sorted(toy_facts())
    assert len(valid) + len(test) > 12
    for split in (train, valid, test):
        assert {(tail, "twin", head) for head, relation, tail in split if relation == "next"} <= set(split)


def test_split_keeps_what_it_is_told_to_and_lone_facts():
    lone = [("e0", "rare", "only here"), ("self", "next", "self")]
    train, _, _ = split_facts(toy_facts() + lone, seed=0, keep_in_train=frozenset(toy_facts()[:10]))
    assert set(lone + toy_facts()[:10]) <= set(train)
    assert split_facts([], seed=0) == ([], [], [])


def test_spelled_out_looks_for_whole_words_in_both_directions():
    labels = {"a": "Gas", "b": "Noble gases", "c": "Tin", "d": "Tuvalu"}
    texts = {"a": "A GAS.", "b": "They are noble gases", "c": "Tinned food is no gasoline", "d": ""}
    facts = [("a", "r", "b"), ("c", "r", "a"), ("b", "r", "a"), ("d", "r", "c")]
    assert spelled_out(facts, labels, texts) == {("a", "r", "b"), ("b", "r", "a")}
