"""Random graphs, tokens and parameters, and the same graph under other ids: what the property tests are made of."""

import dataclasses

import jax
import numpy as np
from hypothesis import strategies as st

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.inference.pretrained import parameter_shapes
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.graph_tokens import OF_ENTITIES, GraphTokens

TEXT_TOKENS, IMAGE_TOKENS = 3, 2
MOST_ENTITIES, MOST_RELATION_NAMES, MOST_FACTS = 60, 6, 12  # facts per relation

CODEBOOKS = {
    name: Codebook(f"random {name}", np.random.default_rng(seed).standard_normal(shape).astype(np.float32))
    for seed, (name, shape) in enumerate({"text": (50, 12), "image": (20, 6)}.items())
}


def make_graph(num_entities, num_relation_names, facts, prefix=""):
    """A graph of the given facts (head, relation, tail), repeated ones once; nothing held out, no texts."""
    entities = tuple(f"{prefix}e{i}" for i in range(num_entities))
    facts = np.array(facts, np.int32).reshape(-1, 3)
    first = np.sort(np.unique(facts, axis=0, return_index=True)[1])
    none = np.zeros((0, 3), np.int32)
    relations = tuple(f"{prefix}r{i}" for i in range(num_relation_names))
    return KnowledgeGraph(
        "made", entities, relations, facts[first], none, none, entities, ("",) * len(entities), ((),) * len(entities)
    )


def random_graph(random, num_entities, num_relation_names, facts_per_relation, prefix=""):
    """1 to `facts_per_relation` facts of each relation, between any two entities; self loops included."""
    counts = random.integers(1, facts_per_relation + 1, num_relation_names)
    relation = np.repeat(np.arange(num_relation_names), counts)
    ends = random.integers(0, num_entities, (2, len(relation)))
    return make_graph(num_entities, num_relation_names, np.stack([ends[0], relation, ends[1]], axis=1), prefix)


def random_tokens(random, graph):
    """Random ids; some slots are masked, so some entities miss a modality or both. Vectors and mentions of those with texts."""

    def draw(slots, codes):
        mask = random.random((graph.num_entities, slots)) < 0.5
        return np.where(mask, random.integers(0, codes, mask.shape), 0).astype(np.int32), mask

    text, image = (len(CODEBOOKS[name].vectors) for name in ("text", "image"))
    (text_ids, text_mask), (image_ids, image_mask) = draw(TEXT_TOKENS, text), draw(IMAGE_TOKENS, image)
    there = text_mask.any(axis=1)
    vectors = random.standard_normal((graph.num_entities, CODEBOOKS["text"].vectors.shape[1])) * there[:, None]
    pairs = random.choice(np.append(np.flatnonzero(there), -1), (graph.num_entities, 2))
    pairs = np.unique(pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])], axis=0).astype(np.int32)
    return GraphTokens(
        text_ids=text_ids,
        text_mask=text_mask,
        text_vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)).astype(np.float16),
        image_ids=image_ids,
        image_mask=image_mask,
        mentions=pairs,
    )


def random_params(model):
    """Random matrices, scales of 1, zeros elsewhere: compiling `initial_params` takes as long as compiling a training step."""
    random = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.ndim >= 2:
            return (random.standard_normal(leaf.shape) * leaf.shape[-2] ** -0.5).astype(np.float32)
        return np.full(leaf.shape, "scale" in jax.tree_util.keystr(path), np.float32)

    return jax.tree_util.tree_map_with_path(draw, parameter_shapes(model, CODEBOOKS))


class SameTokens:
    """In the place of tokenizers: random tokens, whatever the texts; counts how often it is asked."""

    codebooks = CODEBOOKS

    def __init__(self):
        self.calls = 0

    def restricted_to(self, modalities):
        return self

    def __call__(self, graph, work=None):
        self.calls += 1
        return random_tokens(np.random.default_rng(0), graph)


@st.composite
def graphs(draw, most_entities=MOST_ENTITIES):
    """Strategy: (random generator, graph), with so few facts that every prompt graph is whole and every fact an example."""
    num_entities, names = draw(st.integers(2, most_entities)), draw(st.integers(1, MOST_RELATION_NAMES))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random, random_graph(random, num_entities, names, MOST_FACTS)


def renumbered(graph, entities=None, relations=None, facts=None):
    """The same facts under other ids and names, in another order.

    Args:
      graph: of N entities and R/2 relation names.
      entities: permutation [N]; entity i becomes entities[i].
      relations: permutation [R/2]; likewise, inverses move along.
      facts: permutation [F]; line i of the result is line facts[i].
    """
    entities = np.arange(graph.num_entities) if entities is None else entities
    relations = np.arange(len(graph.relations)) if relations is None else relations
    head, relation, tail = graph.train.T
    train = np.stack([entities[head], relations[relation], entities[tail]], axis=1)
    train = train if facts is None else train[facts]
    return dataclasses.replace(
        make_graph(graph.num_entities, len(graph.relations), [], prefix="other "), train=train.astype(np.int32)
    )


def renumbered_tokens(tokens, entities):
    """Tokens that belong to `renumbered(graph, entities)`."""
    return GraphTokens(
        **{name: getattr(tokens, name)[np.argsort(entities)] for name in OF_ENTITIES},
        mentions=entities[tokens.mentions].astype(np.int32),
    )


def joined(graph, extra):
    """One graph of two components, each with its own entities and relations; those of `graph` keep their ids."""
    shift = np.array([graph.num_entities, len(graph.relations), graph.num_entities])
    return make_graph(
        graph.num_entities + extra.num_entities,
        len(graph.relations) + len(extra.relations),
        np.concatenate([graph.train, extra.train + shift]),
    )


def joined_tokens(tokens, extra):
    """Tokens that belong to `joined`."""
    shifted = dataclasses.replace(extra, mentions=extra.mentions + np.int32(len(tokens.text_ids)))
    return GraphTokens(
        *(np.concatenate([getattr(t, field.name) for t in (tokens, shifted)]) for field in dataclasses.fields(tokens))
    )
