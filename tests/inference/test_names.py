"""Names: ids and labels lead to entities; what is ambiguous or unknown is refused with the names to choose from."""

import pytest

from tofu_jax.errors import DataError
from tofu_jax.inference.names import Names

IDS = ("FR", "FX", "GE", "US-GA", "Chad", "TD", "É", "")
LABELS = ("France", "Metropolitan France", "Georgia", "Georgia", "a person", "Chad", "Élan", "nothing")


@pytest.fixture(scope="module")
def names():
    return Names("entity", "atlas", IDS, LABELS)


@pytest.mark.parametrize(("name", "position"), [("FR", 0), ("France", 0), ("US-GA", 3), ("a person", 4), ("", 7)])
def test_ids_and_labels(names, name, position):
    assert names.position(name) == position


def test_an_id_goes_before_a_label(names):
    assert names.position("Chad") == 4


def test_an_ambiguous_label_lists_the_ids(names):
    with pytest.raises(DataError, match=r"atlas: 2 entities are called 'Georgia'; give the id of one: 'GE', 'US-GA'\.$"):
        names.position("Georgia")


def test_a_very_ambiguous_label_lists_some_ids():
    names = Names("relation", "atlas", tuple(map(str, range(25))), ("same",) * 25)
    with pytest.raises(DataError, match=r"25 relations .* '9' and 15 more\.$"):
        names.position("same")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Frnace", "'France' (id 'FR')"),
        ("france", "'France' (id 'FR')"),
        ("metropolitan france", "'Metropolitan France' (id 'FX')"),
        ("us-gb", "'Georgia' (id 'US-GA')"),
        ("E\N{COMBINING ACUTE ACCENT}lan", "'Élan' (id 'É')"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(names, name, suggestion):
    with pytest.raises(DataError) as refused:
        names.position(name)
    assert str(refused.value).startswith(f"atlas: unknown entity {name!r}. Did you mean {suggestion}")


def test_a_name_like_no_other_shows_what_ids_look_like(names):
    with pytest.raises(DataError, match=r"Nothing is called like that; entity ids look like 'FR', 'FX', 'GE'\.$"):
        names.position("zzzzzzzz")


def test_a_hostile_name_is_shown_escaped(names):
    with pytest.raises(DataError) as refused:
        names.position("\x1b[2J\n")
    assert str(refused.value).isprintable()
