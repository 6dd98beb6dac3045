"""Prompt graphs against brute force where they are whole, and what is promised where they are cut."""

import collections
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from making import MOST_FACTS, graphs, make_graph, random_graph, renumbered

from tofu_jax.graphs.prompts import NUM_EDGES, NUM_HOPS, NUM_NODES, POOL_SIZE, PromptIndex
from tofu_jax.graphs.structural_colors import structural_colors
from tofu_jax.shapes import inverse_relation


@dataclasses.dataclass(frozen=True)
class PromptGraph:
    """One prompt graph without padding: {entity: (du, dv)} in the order given, and edges between entities."""

    tokens: dict
    edges: list

    @property
    def ends(self):
        """(u, v)."""
        u, v = (next(node for node, token in self.tokens.items() if token[side] == 0) for side in (0, 1))
        return u, v


def prompt_graphs(graph, relations=None, num_examples=MOST_FACTS, index=None):
    """{(relation, example): PromptGraph} of all unmasked examples."""
    relations = np.arange(graph.num_relations) if relations is None else np.array(relations)
    examples = np.tile(np.arange(num_examples), (len(relations), 1))
    prompts = (index or PromptIndex(graph)).prompts(relations, examples)
    found = {}
    for q, m in zip(*np.nonzero(prompts.example_mask), strict=True):
        node_mask, edge_mask = prompts.node_mask[q, m], prompts.edge_mask[q, m]
        nodes, token = prompts.nodes[q, m], prompts.token[q, m][node_mask]
        distances = zip((token // (NUM_HOPS + 1)).tolist(), (token % (NUM_HOPS + 1)).tolist(), strict=True)
        tokens = dict(zip(nodes[node_mask].tolist(), distances, strict=True))
        columns = nodes[prompts.senders[q, m]], prompts.edge_relation[q, m], nodes[prompts.receivers[q, m]]
        edges = list(zip(*(column[edge_mask].tolist() for column in columns), strict=True))
        found[int(relations[q]), int(m)] = PromptGraph(tokens, edges)
    return found


def all_edges(graph):
    return list(zip(*(column.tolist() for column in graph.edges), strict=True))


def hops(neighbors, start):
    """{entity: distance} by breadth-first search over undirected edges."""
    distance, queue = {start: 0}, collections.deque([start])
    while queue:
        node = queue.popleft()
        for neighbor in neighbors[node] - distance.keys():
            distance[neighbor] = distance[node] + 1
            queue.append(neighbor)
    return distance


def distances_to_both_ends(graph, u, v):
    """{entity: (du, dv)} for all entities within NUM_HOPS of both ends."""
    neighbors = collections.defaultdict(set)
    for sender, _, receiver in all_edges(graph):
        neighbors[sender].add(receiver)
    from_u, from_v = hops(neighbors, u), hops(neighbors, v)
    both = {node: (from_u[node], from_v[node]) for node in from_u.keys() & from_v.keys()}
    return {node: pair for node, pair in both.items() if max(pair) <= NUM_HOPS}


@settings(max_examples=60)
@given(graphs())
def test_nodes_tokens_and_edges_equal_brute_force(drawn):
    """Every node near both ends with its exact distances, and every edge among these nodes once."""
    _, graph = drawn
    edges = all_edges(graph)
    for prompt in prompt_graphs(graph).values():
        assert prompt.tokens == distances_to_both_ends(graph, *prompt.ends)
        induced = [(s, r, t) for s, r, t in edges if s in prompt.tokens and t in prompt.tokens]
        assert sorted(prompt.edges) == sorted(induced)


@settings(max_examples=60)
@given(graphs())
def test_examples_are_the_facts_of_the_relation_each_once(drawn):
    """Inverse relations show the same facts backwards."""
    _, graph = drawn
    shown = [(u, relation, v) for (relation, _), (u, v) in ((key, p.ends) for key, p in prompt_graphs(graph).items())]
    assert sorted(shown) == sorted(all_edges(graph))


@settings(max_examples=60)
@given(graphs())
def test_inverse_relation_shows_the_same_graph_from_the_other_end(drawn):
    _, graph = drawn
    found = prompt_graphs(graph)
    for (relation, example), prompt in found.items():
        inverse = found[inverse_relation(relation, graph.num_relations), example]
        assert inverse.tokens == {node: (dv, du) for node, (du, dv) in prompt.tokens.items()}
        assert sorted(inverse.edges) == sorted(prompt.edges)


@settings(max_examples=60)
@given(graphs())
def test_too_few_facts_leave_masked_examples(drawn):
    """P4: also a relation without facts can be asked for; all of its examples are masked."""
    _, graph = drawn
    names = len(graph.relations) + 1
    graph = make_graph(graph.num_entities, names, graph.train)
    index = PromptIndex(graph)
    relations = np.arange(graph.num_relations)
    prompts = index.prompts(relations, np.tile(np.arange(POOL_SIZE), (len(relations), 1)))
    available = np.bincount(graph.train[:, 1], minlength=names)[relations % names]
    np.testing.assert_array_equal([index.num_examples(relation) for relation in relations], available)
    np.testing.assert_array_equal(prompts.example_mask, np.arange(POOL_SIZE) < available[:, None])
    for mask in (prompts.node_mask, prompts.edge_mask):
        np.testing.assert_array_equal(mask.any(axis=-1), prompts.example_mask)


@settings(max_examples=60)
@given(graphs())
def test_facts_that_are_asked_for_are_no_examples(drawn):
    """They are masked; all others stay as they are, of inverse relations too."""
    random, graph = drawn
    asked = graph.train[random.random(len(graph.train)) < 0.5]
    relations, examples = np.arange(graph.num_relations), np.tile(np.arange(MOST_FACTS), (graph.num_relations, 1))
    every, others = (PromptIndex(graph).prompts(relations, examples, facts) for facts in (None, asked))
    gone = every.example_mask & ~others.example_mask
    hidden = {(h, r, t) for h, r, t in asked.tolist()} | {
        (t, inverse_relation(r, graph.num_relations), h) for h, r, t in asked.tolist()
    }
    for (relation, example), prompt in prompt_graphs(graph).items():
        u, v = prompt.ends
        assert gone[relation, example] == ((u, relation, v) in hidden)
    for field in dataclasses.fields(every):
        if field.name != "example_mask":
            np.testing.assert_array_equal(getattr(others, field.name), getattr(every, field.name))


def test_pool_is_capped():
    graph = make_graph(POOL_SIZE + 10, 1, [(i, 0, i + 1) for i in range(POOL_SIZE + 9)])
    assert PromptIndex(graph).num_examples(0) == PromptIndex(graph).num_examples(1) == POOL_SIZE


def assert_same_up_to_ids(first, second, entities, relations):
    """The prompt graphs of a graph and of its renumbered copy, whichever order the examples come in."""

    def described(found, entity, relation):
        return sorted(
            (
                int(relation[key[0]]),
                sorted((int(entity[node]), token) for node, token in prompt.tokens.items()),
                sorted((int(entity[s]), int(relation[r]), int(entity[t])) for s, r, t in prompt.edges),
            )
            for key, prompt in found.items()
        )

    same = np.arange(len(relations))
    assert described(first, entities, relations) == described(second, np.arange(len(entities)), same)


def renumbered_with_maps(random, graph):
    """A renumbered copy, entities [N] and relations [R] (inverses included) as they were renumbered."""
    entities, names = random.permutation(graph.num_entities), random.permutation(len(graph.relations))
    other = renumbered(graph, entities, names, random.permutation(len(graph.train)))
    return other, entities, np.concatenate([names, inverse_relation(names, graph.num_relations)])


@settings(max_examples=60)
@given(graphs())
def test_prompt_graphs_do_not_depend_on_ids_or_order(drawn):
    """S1, S2, S3 at the level of prompt graphs."""
    random, graph = drawn
    other, entities, relations = renumbered_with_maps(random, graph)
    assert_same_up_to_ids(prompt_graphs(graph), prompt_graphs(other), entities, relations)


@pytest.mark.parametrize("num_entities", [40, 90])  # of 40 many are joined by facts that run in opposite directions
def test_cut_prompt_graphs_do_not_depend_on_ids_or_order_either(num_entities):
    """S5: where caps make a choice necessary, structure makes it."""
    random = np.random.default_rng(1)
    graph = random_graph(random, num_entities, 4, 700)
    assert len(set(structural_colors(graph)[0].tolist())) == num_entities, "no two entities are alike in this graph"
    found = prompt_graphs(graph, num_examples=8)
    assert {len(prompt.tokens) for prompt in found.values()} == {min(num_entities, NUM_NODES)}
    assert {len(prompt.edges) for prompt in found.values()} == {NUM_EDGES}
    other, entities, relations = renumbered_with_maps(random, graph)
    assert_same_up_to_ids(found, prompt_graphs(other, num_examples=8), entities, relations)


def test_cache_returns_equal_arrays():
    graph = random_graph(np.random.default_rng(0), 30, 3, 10)
    index = PromptIndex(graph)
    first, again, fresh = (prompt_graphs(graph, index=i) for i in (index, index, PromptIndex(graph)))
    assert first == again == fresh


def test_order_of_requests_does_not_matter():
    """Searches share work space; none of it may be left over."""
    graph = random_graph(np.random.default_rng(1), 60, 3, 60)
    index = PromptIndex(graph)
    backwards = [prompt_graphs(graph, [relation], index=index) for relation in reversed(range(graph.num_relations))]
    assert {key: prompt for found in backwards for key, prompt in found.items()} == prompt_graphs(graph)


@pytest.fixture(scope="module")
def hub():
    """An entity with 3,000 leaves, all alike, and one example of another relation between the hub and a leaf."""
    return make_graph(3_001, 2, [(0, 0, leaf) for leaf in range(1, 3_001)] + [(17, 1, 0)])


@pytest.mark.parametrize("relation", range(4))
def test_both_ends_stay_in_a_hub_with_thousands_of_leaves(hub, relation):
    for prompt in prompt_graphs(hub, [relation], num_examples=2).values():
        assert len(prompt.tokens) == NUM_NODES
        assert set(prompt.ends) == set(list(prompt.tokens)[:2])
        u, v = prompt.ends
        exact = distances_to_both_ends(hub, u, v)
        assert all(exact[node] == token for node, token in prompt.tokens.items())
        assert (u, relation, v) in prompt.edges


def assert_edges_come_with_their_inverses(prompt, num_relations):
    for sender, relation, receiver in prompt.edges:
        assert (receiver, inverse_relation(relation, num_relations), sender) in prompt.edges


def test_edges_are_cut_together_with_their_inverses():
    graph = random_graph(np.random.default_rng(0), 50, 4, 700)
    for prompt in prompt_graphs(graph, num_examples=2).values():
        assert len(prompt.edges) == NUM_EDGES
        assert_edges_come_with_their_inverses(prompt, graph.num_relations)


def test_edges_among_leaves_that_are_alike_are_cut_together_with_their_inverses():
    """Colours cannot tell these edges apart, but an edge and its inverse still belong together."""
    graph = make_graph(60, 12, [(0, relation, leaf) for relation in range(12) for leaf in range(1, 60)])
    for prompt in prompt_graphs(graph, [0, 12], num_examples=2).values():
        assert len(prompt.edges) == NUM_EDGES
        assert_edges_come_with_their_inverses(prompt, graph.num_relations)


def test_edges_at_the_ends_are_kept_first():
    graph = random_graph(np.random.default_rng(0), 50, 4, 700)
    edges = all_edges(graph)
    for prompt in prompt_graphs(graph, num_examples=2).values():
        at_ends = [edge for edge in edges if {edge[0], edge[2]} & set(prompt.ends)]
        assert len(at_ends) < NUM_EDGES
        assert set(at_ends) <= set(prompt.edges)
