"""A graph whose names try to break out of a page, and a predictor that looks its scores up."""

import dataclasses
import threading

import numpy as np
import pytest
from making import make_graph

from tofu_jax.inference.predict import GraphPredictor

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><svg onload=alert(1)>",
    "\u202egnp.exe\u202c",
    "a\u0000b\u200b\ufeff",
    "日本 🗾 الأردن",
    "${7*7} {{7*7}}",
    "'; DROP TABLE names; --",
)
ENTITIES, RELATIONS = 24, 4


@pytest.fixture(scope="session")
def graph():
    random = np.random.default_rng(0)
    facts = np.stack([random.integers(0, size, 60) for size in (ENTITIES, RELATIONS, ENTITIES)], axis=1)
    facts = np.unique(facts.astype(np.int32), axis=0)
    made = make_graph(ENTITIES, RELATIONS, facts[:-10])
    labels = [f"the {name}" for name in made.entities]
    labels[: len(HOSTILE)] = HOSTILE
    labels[-2:] = ("twin", "twin")
    return dataclasses.replace(made, valid=facts[-10:-5], test=facts[-5:], labels=tuple(labels))


class Lookup:
    """A scorer that counts its calls, and can be held."""

    def __init__(self):
        random = np.random.default_rng(1)
        self.table = random.integers(0, 9, (ENTITIES, 2 * RELATIONS, ENTITIES)).astype(np.float32)
        self.calls = 0
        self.free = threading.Event()
        self.free.set()

    def __call__(self, queries):
        self.free.wait(20)
        self.calls += 1
        return self.table[queries[:, 0], queries[:, 1]]


@pytest.fixture
def lookup():
    found = Lookup()
    yield found
    found.free.set()


@pytest.fixture
def predictor(graph, lookup):
    return GraphPredictor(graph, lookup, "runs/made step 1")
