import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tofu_jax.tokens import mentions as module
from tofu_jax.tokens.mentions import mentions


def named(*described):
    """Pairs of names for (name, description) each; a text begins with the name."""
    labels = [label for label, _ in described]
    pairs = mentions(labels, [f"{label} {text}".strip() if text is not None else "" for label, text in described])
    assert (pairs.dtype, pairs.shape[1:]) == (np.int32, (2,))
    return [(labels[i], labels[j]) for i, j in pairs.tolist()]


def test_a_text_names_entities():
    alabama = ("Alabama", "is a state in the southeastern region of the United States.")
    assert named(alabama, ("United States", ""), ("United", "")) == [("Alabama", "United States"), ("United States", "United")]


def test_the_longest_name_counts():
    assert named(
        ("Hudson", "flows through New York City."), ("New York City", ""), ("New York", ""), ("York City Hall", "")
    ) == [
        ("Hudson", "New York City"),
        ("New York City", "New York"),
    ]


@pytest.mark.parametrize("text", ["art", "ART!", "(art)", "of art, of course"])
def test_words_and_not_letters_count(text):
    assert named(("a", text), ("Art", "")) == [("a", "Art")]
    assert named(("a", "artist, party"), ("Art", "")) == []


@pytest.mark.parametrize("text", ["two states", "a state", "States"])
def test_a_plural_is_the_same_name(text):
    assert [pair[0] for pair in named(("union", text), ("state", ""))] == ["union"]
    assert [pair[0] for pair in named(("union", text), ("states", ""))] == ["union"]
    assert named(("union", "glass, gas, his"), ("glas", ""), ("ga", ""), ("hi", "")) == []


def test_a_remark_is_no_part_of_a_name():
    assert named(("Hermes", "is called Mercury"), ("Mercury (planet)", "")) == [("Hermes", "Mercury (planet)")]


def test_a_siamese_cat_names_the_cat():
    assert named(("Siamese cat", "a slender breed"), ("cat", "a feline"), ("Siamese", "")) == [
        ("Siamese cat", "cat"),
        ("Siamese cat", "Siamese"),
    ]


def test_namesakes_name_each_other_but_nobody_names_himself():
    assert mentions(["break", "break", "pause"], ["break", "break a pause", "pause"]).tolist() == [[0, 1], [1, 0], [1, 2]]


@pytest.mark.parametrize("name", ["the", "Of The", "x", "", "...", "one two three four five six seven eight nine"])
def test_empty_and_endless_names_count_nowhere(name):
    assert named(("a b", f"the of the x {name}"), (name, "")) == []


def test_without_a_text_there_is_no_name():
    assert named(("Alabama", "borders Georgia"), ("Georgia", None)) == []
    assert mentions([], []).shape == (0, 2)


def test_the_rarest_names_are_kept():
    rare, common = [f"rare{i}" for i in range(module.NAMES_PER_TEXT)], "common"
    described = [("all", " ".join([common, *rare])), ("other", common), (common, ""), *((name, "") for name in rare)]
    assert named(*described) == [*(("all", name) for name in rare), ("other", common)]


def test_a_name_of_many_says_nothing():
    many = [("run", "")] * (module.ENTITIES_PER_NAME + 1)
    assert named(("race", "to run"), *many) == []
    assert len(named(("race", "to run"), *many[1:])) == module.ENTITIES_PER_NAME + module.ENTITIES_PER_NAME * (
        module.ENTITIES_PER_NAME - 1
    )


WORDS = st.sampled_from(["alpha", "beta", "gamma", "the"])


@given(st.lists(st.tuples(st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=9)), max_size=30), st.randoms())
def test_the_order_of_entities_does_not_matter(described, random):
    labels = [" ".join(name) for name, _ in described]
    texts = [" ".join(name + text) for name, text in described]
    order = list(range(len(labels)))
    random.shuffle(order)
    moved = mentions([labels[i] for i in order], [texts[i] for i in order])
    assert {(order[i], order[j]) for i, j in moved.tolist()} == set(map(tuple, mentions(labels, texts).tolist()))
