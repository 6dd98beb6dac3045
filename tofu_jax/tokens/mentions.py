"""Which entities the text of an entity names: "Alabama is a state of the United States" leads to the United States.

Word pieces tell what a text is about, but not whom it names; a name that stands in a text word by word is the plainest link
that a text can make. To the model mentions are edges of two kinds beside those of facts (`graphs.relation_types`).
"""

import collections
import re
from collections.abc import Iterator, Sequence

import numpy as np

from tofu_jax.shapes import Array
from tofu_jax.tokens.stop_words import english_stop_words

NAMES_PER_TEXT = 8  # the rarest are kept: they say most
ENTITIES_PER_NAME = 8  # a name of more entities says too little of any of them
_MOST_WORDS = 8  # of a name
_WORD = re.compile(r"\w+")
_PLURAL = re.compile(r"(?<=\w{3})(?<!s)s$")
_REMARK = re.compile(r"\s*\([^()]*\)\s*$")  # "Mercury (planet)"


def mentions(labels: Sequence[str], texts: Sequence[str]) -> Array:
    """Pairs (entity, entity that its text names): its namesakes among them, but not itself.

    Of overlapping names the longest counts, from left to right, its own name apart: a Siamese cat names the cat. Names of stop
    words and single letters alone count nowhere. What is left out for being too much depends on names and texts, not on the
    order of entities.

    Args:
      labels: [N] names.
      texts: [N] name and description; an entity of an empty text neither names nor is named.

    Returns:
      int32 [X, 2], sorted.
    """
    empty = english_stop_words()
    entities_of: dict[tuple[str, ...], list[int]] = {}
    own_names = [tuple(_words(_REMARK.sub("", label))) for label in labels]
    for entity, (name, text) in enumerate(zip(own_names, texts, strict=True)):
        if text and 0 < len(name) <= _MOST_WORDS and not all(word in empty or len(word) < 2 for word in name):
            entities_of.setdefault(name, []).append(entity)
    longest: dict[str, int] = collections.defaultdict(int)  # of the names that begin with a word
    for name in entities_of:
        longest[name[0]] = max(longest[name[0]], len(name))
    named = [
        {*_names(_words(text), entities_of, longest, own), *([own] if own in entities_of else [])}
        for own, text in zip(own_names, texts, strict=True)
    ]
    times = collections.Counter(name for names in named for name in names)
    pairs = []
    for entity, names in enumerate(named):
        few = [name for name in names if len(entities_of[name]) <= ENTITIES_PER_NAME]
        for name in sorted(few, key=lambda name: (times[name], name))[:NAMES_PER_TEXT]:
            pairs += [(entity, other) for other in entities_of[name] if other != entity]
    return np.array(sorted(pairs), np.int32).reshape(-1, 2)


def _words(text: str) -> list[str]:
    """The words of a text, without the s of a plural: "states" and "state" are one word here."""
    return [_PLURAL.sub("", word) for word in _WORD.findall(text.lower())]


def _names(
    words: list[str], names: collections.abc.Container[tuple[str, ...]], longest: dict[str, int], own: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Names that stand in a text, `own` apart, from left to right, the longest first; none overlaps another."""
    start = 0
    while start < len(words):
        length = min(longest.get(words[start], 0), len(words) - start)
        while length and ((name := tuple(words[start : start + length])) not in names or name == own):
            length -= 1
        if length:
            yield name
        start += max(length, 1)
