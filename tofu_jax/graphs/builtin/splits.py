"""Train, valid and test facts without leaks: which facts may be held out, and the draw itself."""

import collections
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Set

Fact = tuple[str, str, str]  # (head, relation, tail), by id

HELD_OUT_SHARE = 0.2  # of all facts, half of it valid and half test: the usual 80/10/10
MOST_OF_A_RELATION = 0.3  # no relation gives more of its facts: where another one has few facts to give, this one would
# otherwise make up for it and be tested without being learnt
FEWEST_TRAIN_FACTS = 5  # per held-out relation: with fewer there is nothing to learn it from or to show as an example

# A plural ending of a word with three letters or more before it. Taking the "e" of a singular as well makes
# "gas" = "gases" and "face" = "faces"; a false match only keeps one more fact in train.
_PLURAL = re.compile(r"(?<=\w{3})e?s?$")


def split_facts(
    facts: Iterable[Fact], seed: int, keep_in_train: Set[Fact] = frozenset()
) -> tuple[list[Fact], list[Fact], list[Fact]]:
    """Draws valid and test facts, about 10 % each, so that nothing of a held-out fact is left in train.

    All facts between the same two entities, in either direction and by any relation, go to the same split. Hence
    train never holds (t, r, h), (h, s, t) or (t, s, h) of a held-out (h, r, t), whether s is the inverse of r, nearly
    the same relation, or unrelated. Besides, every entity keeps a fact in train, and every relation keeps
    `FEWEST_TRAIN_FACTS` and 1 - `MOST_OF_A_RELATION` of its facts there; a fact that would break this stays in train,
    so that fewer than 20 % may be held out.

    Args:
      facts: in any order; duplicates count once.
      seed: of the draw. The draw hashes ids, so that neither the order of `facts` nor Python's hash seed matters.
      keep_in_train: facts that are never held out.

    Returns:
      train, valid, test: sorted, disjoint, together all the facts.
    """
    unique = sorted(set(facts))
    linked: dict[frozenset[str], list[Fact]] = collections.defaultdict(list)
    for head, relation, tail in unique:
        linked[frozenset((head, tail))].append((head, relation, tail))

    entities_left = _ends(unique)
    relations_left = collections.Counter(relation for _, relation, _ in unique)
    fewest = {
        relation: max(FEWEST_TRAIN_FACTS, math.ceil((1 - MOST_OF_A_RELATION) * count))
        for relation, count in relations_left.items()
    }
    train: list[Fact] = []
    valid: list[Fact] = []
    test: list[Fact] = []
    for group in sorted(linked.values(), key=lambda group: _draw(group[0], seed)):
        entities = _ends(group)
        relations = collections.Counter(relation for _, relation, _ in group)
        if (
            len(valid) + len(test) + len(group) > HELD_OUT_SHARE * len(unique)
            or not keep_in_train.isdisjoint(group)
            or any(entities_left[entity] <= count for entity, count in entities.items())
            or any(relations_left[relation] - count < fewest[relation] for relation, count in relations.items())
        ):
            train.extend(group)
            continue
        entities_left.subtract(entities)
        relations_left.subtract(relations)
        (valid if len(valid) < len(test) else test).extend(group)
    return sorted(train), sorted(valid), sorted(test)


def spelled_out(facts: Iterable[Fact], labels: Mapping[str, str], texts: Mapping[str, str]) -> set[Fact]:
    """Facts that can be read off: one entity's text holds the name of the other, as whole words.

    Case, punctuation and plural endings do not count. Such a fact is fine for training but would test reading only,
    not knowledge of the graph.

    Args:
      facts: to look through.
      labels: name of each entity, by id.
      texts: text of each entity, by id; an empty text holds no name.
    """
    names = {entity: _words(label) for entity, label in labels.items()}
    read = {entity: _words(text) for entity, text in texts.items()}
    return {fact for fact in facts if names[fact[2]] in read[fact[0]] or names[fact[0]] in read[fact[2]]}


def _ends(facts: Iterable[Fact]) -> collections.Counter[str]:
    """How many facts each entity has; a fact from an entity to itself counts once."""
    return collections.Counter(entity for head, _, tail in facts for entity in {head, tail})


def _draw(fact: Fact, seed: int) -> bytes:
    """A place in the draw that depends on the ids and the seed alone."""
    return hashlib.blake2b("\0".join((str(seed), *fact)).encode(), digest_size=8).digest()


def _words(text: str) -> str:
    """Words in lower case without plural endings, each with a space on both sides."""
    words = (_PLURAL.sub("", word, count=1) for word in re.findall(r"\w+", text.casefold()))
    return f" {' '.join(words)} "
