"""What `check_graph` finds: every defect that is planted, where it stands, and nothing else."""

import collections
import dataclasses
import itertools
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_graphs import clean_facts, clean_texts, make_raw

from tofu_jax.errors import DataError
from tofu_jax.graphs.check import check_graph
from tofu_jax.graphs.check.overlaps import FEWEST_FACTS, MOST
from tofu_jax.graphs.knowledge_graph import MOST_NAMES

TRAIN, VALID, TEST = clean_facts()
N_TRAIN, N_TEST = len(TRAIN), len(TEST)


def reverse(fact, relation=None):
    head, name, tail = fact
    return tail, relation or name, head


def planted(train=(), valid=(), test=(), texts=None, **others):
    """The clean graph with facts added at the end of its splits, and other texts, labels, images."""
    texts = clean_texts() | (texts or {})
    return make_raw([*TRAIN, *train], [*VALID, *valid], [*TEST, *test], texts=texts, **others)


# name: (graph, grade, kind, count, lines, names); the only finding above a note.
PLANTED = {
    "repeated in test": (
        planted(test=[TEST[1]]),
        *("warning", "repeated fact", 1, {"test.txt": [N_TEST + 1], "test.txt (first)": [2]}, []),
    ),
    "test fact in train": (
        planted(train=[TEST[1]]),
        *("error", "fact in two splits", 1, {"test.txt": [2], "train.txt": [N_TRAIN + 1]}, []),
    ),
    "valid fact in train": (
        planted(valid=[TRAIN[3]]),
        *("error", "fact in two splits", 1, {"valid.txt": [len(VALID) + 1], "train.txt": [4]}, []),
    ),
    "test fact in valid": (
        planted(test=[VALID[1]]),
        *("error", "fact in two splits", 1, {"test.txt": [N_TEST + 1], "valid.txt": [2]}, []),
    ),
    "reversed in train": (
        planted(test=[reverse(TRAIN[5])]),
        *("error", "reversed fact", 1, {"test.txt": [N_TEST + 1], "train.txt": [6]}, []),
    ),
    "one of many reversed in train": (
        planted(test=[("e0", "u", f"x{i}") for i in range(30)] + [reverse(TRAIN[5])],
                train=[(f"x{i}", "u", f"x{i + 1}") for i in range(30)]),
        *("warning", "reversed fact", 1, {"test.txt": [N_TEST + 31], "train.txt": [6]}, []),
    ),
    "inverse relation": (
        planted(train=[reverse(fact, "r of") for fact in TRAIN + VALID + TEST if fact[1] == "r"]),
        "error", "inverse relations", 1, {
            "valid.txt": [1, 2],
            "train.txt (answers valid.txt)": [N_TRAIN + 9, N_TRAIN + 10],
            "test.txt": [1],
            "train.txt (answers test.txt)": [N_TRAIN + 11],
        }, [["r", "r of"]],
    ),
    "duplicate relation": (
        planted(train=[(head, "s again", tail) for head, name, tail in TRAIN + TEST if name == "s"]),
        "error", "duplicate relations", 1, {
            "test.txt": [2, 3],
            "train.txt (answers test.txt)": [N_TRAIN + 9, N_TRAIN + 10],
        }, [["s", "s again"]],
    ),
    "unknown entity": (
        planted(test=[("e1", "r", "nobody")]),
        *("error", "unknown entities", 1, {"test.txt": [N_TEST + 1]}, [["nobody"]]),
    ),
    "described entity unseen in train": (
        planted(valid=[("somebody", "r", "e1")], texts={"somebody": "somebody else"}),
        *("warning", "entities unseen in train", 1, {"valid.txt": [len(VALID) + 1]}, [["somebody"]]),
    ),
    "relation unseen in train": (
        planted(test=[("e0", "new", "e1")]),
        *("warning", "relations unseen in train", 1, {"test.txt": [N_TEST + 1]}, [["new"]]),
    ),
    "self loop": (
        planted(train=[("e4", "r", "e4")]),
        *("warning", "self loops", 1, {"train.txt": [N_TRAIN + 1]}, []),
    ),
    "probable doubles": (
        planted(labels={"e2": "Two", "e7": "Two"}, texts={"e2": "Two of it", "e7": "Two of it"}),
        *("warning", "probable doubles", 2, {}, [["e7", "e2"]]),
    ),
    "control character": (
        planted(labels={"e3": "th\x07ree"}),
        *("warning", "unseen characters", 1, {}, [["e3"]]),
    ),
    "replacement character": (
        planted(train=[("caf\ufffd", "r", "e9")]),
        *("warning", "unseen characters", 1, {}, [["caf\ufffd"]]),
    ),
    "reading direction turned in a relation": (
        planted(relation_labels={"s": "\u202es"}),
        *("warning", "unseen characters", 1, {}, [["s"]]),
    ),
    "surrounding blank": (
        planted(labels={"e3": "three "}),
        *("warning", "surrounding blanks", 1, {}, [["e3"]]),
    ),
    "case of an id": (
        planted(train=[("E3", "r", "e9")]),
        *("warning", "nearly equal entity ids", 2, {}, [["e3", "E3"]]),
    ),
    "blanks of an id": (
        planted(train=[("x y", "r", "e9"), ("x_ Y", "r", "e9")]),
        *("warning", "nearly equal entity ids", 2, {}, [["x y", "x_ Y"]]),
    ),
    "normal form of an id": (
        planted(train=[("é", "r", "e9"), ("e\u0301", "r", "e9")]),
        *("warning", "nearly equal entity ids", 2, {}, [["é", "e\u0301"]]),
    ),
    "case of a relation": (
        planted(train=[("e0", "R", "e9")]),
        *("warning", "nearly equal relation ids", 2, {}, [["r", "R"]]),
    ),
    "missing image file": (
        planted(images={"e1": ["not there.png"]}, image_root=pathlib.Path(__file__).parent),
        *("warning", "missing image files", 1, {}, [["not there.png"]]),
    ),
}  # fmt: skip
# name: (graph, kind, count): good to know, nothing more.
NOTES = {
    "repeated in train": (planted(train=[TRAIN[7]]), "repeated fact", 1),
    "equal labels": (planted(labels={"e2": "Two", "e7": "Two"}), "equal labels", 2),
    "no text": (planted(texts={"e5": ""}), "entities without text", 1),
    "no image": (planted(), "entities without image", 11),
    "one fact": (planted(train=[("x", "r", "e9")]), "entities of one fact", 1),
    "in no fact": (planted(more=["x"]), "isolated entities", 1),
    "two parts": (planted(train=[("x", "r", "y"), ("y", "s", "z"), ("z", "t", "x")]), "separate parts", 2),
    "symmetric": (
        planted(train=[pair for i in range(5) for pair in ((f"e{i}", "u", f"x{i}"), (f"x{i}", "u", f"e{i}"))]),
        *("symmetric relations", 1),
    ),
    "inverse relation without held-out facts": (
        make_raw([fact for i in range(6) for fact in ((f"e{i}", "r", f"e{i + 1}"), (f"e{i + 1}", "s", f"e{i}"))]),
        *("inverse relations", 1),
    ),
}


def of_kind(check, kind):
    return [finding for finding in check.findings if finding.kind == kind]


def test_a_clean_graph_gives_notes_only():
    check = check_graph(planted())
    assert {finding.kind for finding in check.findings} == {"entities without image"}
    assert check.count("error") == check.count("warning") == 0
    assert (check.entities, check.facts) == (11, {"train": N_TRAIN, "valid": len(VALID), "test": N_TEST})
    assert check.components == [[11, 1]]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_found_where_it_stands(name):
    raw, grade, kind, count, lines, names = PLANTED[name]
    check = check_graph(raw)
    grave = [finding for finding in check.findings if finding.grade != "note"]
    assert [(finding.grade, finding.kind, finding.count) for finding in grave] == [(grade, kind, count)]
    (finding,) = grave
    assert finding.lines == lines
    assert finding.names == names
    assert finding.examples
    places = {f"{file.split()[0]}:{line}" for file, numbers in lines.items() for line in numbers}
    assert not lines or any(place in finding.examples[0].split() for place in places)
    # The gravest stands first.
    assert check.findings[0] == finding


@pytest.mark.parametrize("name", NOTES)
def test_what_is_only_good_to_know(name):
    raw, kind, count = NOTES[name]
    check = check_graph(raw)
    assert {finding.grade for finding in check.findings} == {"note"}
    assert [(finding.kind, finding.count) for finding in of_kind(check, kind)] == [(kind, count)]


def test_splits_in_one_file_are_told_apart():
    raw = planted(train=[TEST[1]])
    in_one = {split: dataclasses.replace(getattr(raw, split), source=pathlib.Path("all.parquet")) for split in
              ("train", "valid", "test")}  # fmt: skip
    (leak,) = of_kind(check_graph(dataclasses.replace(raw, **in_one)), "fact in two splits")
    assert leak.lines == {"all.parquet (test)": [2], "all.parquet (train)": [N_TRAIN + 1]}


def test_too_many_names_are_refused():
    raw = dataclasses.replace(make_raw([("a", "r", "b")]), entities=range(MOST_NAMES + 1))
    with pytest.raises(DataError, match="split the graph"):
        check_graph(raw)


FACTS = st.lists(st.tuples(*(st.sampled_from(names) for names in ("abcd", "rst", "abcd"))), max_size=30)


@given(FACTS.filter(bool), FACTS, FACTS)
@settings(max_examples=150)
def test_counts_equal_those_of_brute_force(train, valid, test):
    check = check_graph(make_raw(train, valid, test))
    splits = {"train": train, "valid": valid, "test": test}
    found = {(finding.kind, *finding.lines): finding for finding in check.findings}

    def lines(kind, *files):
        finding = found.get((kind, *files))
        return set(zip(*finding.lines.values(), strict=True)) if finding else set()

    def first(split, fact):
        return splits[split].index(fact) + 1

    for split, facts in splits.items():
        again = {(i, first(split, fact)) for i, fact in enumerate(facts, 1) if first(split, fact) < i}
        assert lines("repeated fact", f"{split}.txt", f"{split}.txt (first)") == again
    for earlier, later in (("train", "test"), ("train", "valid"), ("valid", "test")):
        both = {(i, first(earlier, fact)) for i, fact in enumerate(splits[later], 1) if fact in splits[earlier]}
        assert lines("fact in two splits", f"{later}.txt", f"{earlier}.txt") == both
    for split in ("valid", "test"):
        backwards = {
            (i, first("train", reverse(fact)))
            for i, fact in enumerate(splits[split], 1)
            if fact[0] != fact[2] and reverse(fact) in train
        }
        assert lines("reversed fact", f"{split}.txt", "train.txt") == backwards
    loops = {split: [i for i, (h, _, t) in enumerate(facts, 1) if h == t] for split, facts in splits.items()}
    loops = {f"{split}.txt": numbers for split, numbers in loops.items() if numbers}
    assert [finding.lines for finding in of_kind(check, "self loops")] == [loops] * bool(loops)
    check_relations(check, splits)
    check_overlaps(check, splits)
    check_entities(check, splits)


def check_relations(check, splits):
    train = set(splits["train"])
    for row in check.relations:
        pairs = {(h, t) for h, r, t in train if r == row.relation}
        heads, tails = ({pair[side] for pair in pairs} for side in (0, 1))
        assert row.tails_per_head == pytest.approx(len(pairs) / max(len(heads), 1), abs=1e-3)
        assert row.heads_per_tail == pytest.approx(len(pairs) / max(len(tails), 1), abs=1e-3)
        assert [row.train, row.valid, row.test] == [sum(r == row.relation for _, r, _ in facts) for facts in splits.values()]
        if pairs:
            sides = ("N" if len(pairs) / len(others) >= 1.5 else "1" for others in (tails, heads))
            assert row.cardinality == "-".join(sides)
    sizes = [row.train + row.valid + row.test for row in check.relations]
    assert sizes == sorted(sizes, reverse=True)


def check_overlaps(check, splits):
    pairs = collections.defaultdict(set)
    for head, relation, tail in itertools.chain(*splits.values()):
        if head != tail:
            pairs[relation].add((head, tail))
    train = {fact for fact in splits["train"] if fact[0] != fact[2]}
    turned = {relation: {(t, h) for h, t in both} for relation, both in pairs.items()}
    for row in check.relations:
        both = pairs[row.relation]
        assert row.symmetric == pytest.approx(len(both & turned.get(row.relation, set())) / max(len(both), 1), abs=1e-4)
    for kind, others in (("duplicate relations", pairs), ("inverse relations", turned)):
        rules = [
            (body, head)
            for body, head in itertools.permutations(pairs, 2)
            if len(pairs[body]) >= FEWEST_FACTS and len(pairs[body] & others[head]) >= MOST * len(pairs[body])
        ]
        findings = of_kind(check, kind)
        assert {frozenset(names) for finding in findings for names in finding.names} == set(map(frozenset, rules))
        for split in ("valid", "test"):
            answered = {
                i
                for i, (h, r, t) in enumerate(splits[split], 1)
                for body, head in rules
                if r == head and ((t, body, h) if others is turned else (h, body, t)) in train
            }
            assert {line for finding in findings for line in finding.lines.get(f"{split}.txt", [])} == answered


def check_entities(check, splits):
    degree = collections.Counter(end for h, _, t in set(splits["train"]) for end in (h, t))
    names = {end for facts in splits.values() for h, _, t in facts for end in (h, t)}
    assert check.degrees["both"] == [[d, n] for d, n in sorted(collections.Counter(degree[e] for e in names).items())]
    unseen = {name for name in names if not degree[name]}
    assert {name for finding in of_kind(check, "unknown entities") for (name,) in finding.names} == unseen
    parts = {frozenset([name]) for name in degree}
    for head, _, tail in splits["train"]:
        joined = [part for part in parts if {head, tail} & part]
        parts = (parts - set(joined)) | {frozenset().union(*joined)}
    sizes = collections.Counter(map(len, parts))
    assert check.components == [[size, sizes[size]] for size in sorted(sizes, reverse=True)]


def test_memory_is_a_few_arrays_even_where_many_relations_share_pairs():
    """A graph of 20,000 facts of 40 relations between 500 pairs: each pair has all relations."""
    pairs = [(f"a{i}", f"b{i}") for i in range(500)]
    check = check_graph(make_raw([(h, f"r{k}", t) for h, t in pairs for k in range(40)]))
    (finding,) = of_kind(check, "duplicate relations")
    assert finding.count == 40 * 39 // 2
    assert len(finding.examples) == 5
