"""Raw graphs from plain facts, and a graph with nothing wrong in it."""

import pathlib

import numpy as np

from tofu_jax.graphs.raw import RawGraph, RawSplit

RING = 11
STEPS = {"r": 1, "s": 3, "t": 5}  # none is the reverse of another on a ring of 11


def make_raw(train, valid=(), test=(), labels=None, relation_labels=None, texts=None, images=None, image_root=None, more=()):
    """Facts (head, relation, tail) by name, a line each; `labels`, `texts` and `images` by entity.

    `more` are entities that stand in no fact.
    """
    entities, relations, splits = {}, {}, {}
    for split, facts in (("train", train), ("valid", valid), ("test", test)):
        triples = [
            (
                entities.setdefault(head, len(entities)),
                relations.setdefault(relation, len(relations)),
                entities.setdefault(tail, len(entities)),
            )
            for head, relation, tail in facts
        ]
        splits[split] = RawSplit(
            pathlib.Path("folder") / f"{split}.txt",
            np.array(triples, np.int32).reshape(-1, 3),
            np.arange(1, len(triples) + 1),
        )
    names = (*entities, *more)
    return RawGraph(
        name="made",
        entities=names,
        relations=tuple(relations),
        labels=tuple((labels or {}).get(name, name) for name in names),
        texts=tuple((texts or {}).get(name, "") for name in names),
        images=tuple(tuple((images or {}).get(name, ())) for name in names),
        image_root=image_root,
        relation_labels=tuple((relation_labels or {}).get(name, name) for name in relations),
        **splits,
    )


def clean_facts():
    """train, valid, test of a graph in which every two entities are related at most once, in one direction."""
    facts = [(f"e{i}", name, f"e{(i + step) % RING}") for name, step in STEPS.items() for i in range(RING)]
    held_out = facts[:3] + facts[14:17]
    return [fact for fact in facts if fact not in held_out], held_out[::2], held_out[1::2]


def clean_texts():
    """A text of its own for each entity."""
    return {f"e{i}": f"e{i} number {i}" for i in range(RING)}
