"""Padding must not show: not its amount, not what stands in it, and not in the number of compiled programs."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest
from making import CODEBOOKS, MOST_FACTS, make_graph, random_graph, random_params, random_tokens

from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.model.messages import OPERATORS
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.ops.edges import edge_rows, order_by_sender
from tofu_jax.training.mixture import BatchConfig, Mixture
from tofu_jax.training.optimizer import OptimizerConfig, create_optimizer
from tofu_jax.training.step import TrainState, create_train_step, query_arrays, replicate, split_over_devices

PRECISIONS = {np.float64: 1e-10, np.float32: 1e-5}
MORE_PADDING = {"num_entities": 128, "num_edges": 320, "num_relations": 28, "num_codes": 64}
HUGE = np.iinfo(np.int32).max


@pytest.fixture(scope="module")
def small_model(small_model):
    return small_model.compiled_quickly()


def random_case(seed):
    """Graph, tokens, query relations [2], heads [2, 2]."""
    random = np.random.default_rng(seed)
    graph = random_graph(random, int(random.integers(20, 61)), 5, MOST_FACTS)
    relations = random.choice(graph.num_relations, 2, replace=False).astype(np.int32)
    heads = random.integers(0, graph.num_entities, (2, 2), dtype=np.int32)
    return graph, random_tokens(random, graph), relations, heads


def with_larger_prompts(inputs):
    """One more masked example, and masked nodes and edges in every prompt graph."""
    sizes = {"nodes": 4, "token": 4, "node_mask": 4, "senders": 40, "receivers": 40, "edge_relation": 40, "edge_mask": 40}
    prompts = {name: np.pad(getattr(inputs.prompts, name), [(0, 0), (0, 1), (0, more)]) for name, more in sizes.items()}
    example_mask = np.pad(inputs.prompts.example_mask, [(0, 0), (0, 1)])
    return inputs._replace(prompts=inputs.prompts._replace(**prompts, example_mask=example_mask))


def with_more_slots(tokens):
    """Masked slots beside the tokens of every entity."""
    slots = ("text_ids", "text_mask", "image_ids", "image_mask")
    return dataclasses.replace(tokens, **{name: np.pad(getattr(tokens, name), [(0, 0), (0, 2)]) for name in slots})


def assert_same(small_model, first, second, dtype):
    """Scores; loss and gradients. In f32 relative to the largest score, and to the largest gradient of any parameter."""
    for results in (small_model.scores, small_model.loss_and_gradients):
        expected, found = (jax.tree.leaves(results(inputs, dtype)) for inputs in (first, second))
        largest = max(np.abs(values).max() for values in expected)
        assert np.isfinite(largest)
        atol = PRECISIONS[dtype] * (1 if dtype == np.float64 else largest)
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_scores_and_gradients_do_not_depend_on_the_amount_of_padding(small_model, dtype):
    """P1: padding entities, edges, relations, codes, token slots, prompt examples, nodes and edges."""
    for seed in range(5):
        graph, tokens, relations, heads = random_case(seed)
        small = small_model.inputs(graph, tokens, relations, heads)
        large = with_larger_prompts(small_model.inputs(graph, with_more_slots(tokens), relations, heads, **MORE_PADDING))
        assert_same(small_model, small, large, dtype)


def with_garbage(random, inputs):
    """Overwrites everything that a mask or the real sizes exclude.

    Two things stay, which `pad_graph` promises: padding edges come after all others with receivers among the padding
    entities, sorted; and no padding relation type leads to a real one in the relation graph.
    """
    graph, prompts = inputs.graph, inputs.prompts
    num_relations = graph.edges["relation"][inputs.edge_mask].max() + 1
    padding_node = graph.receivers[~inputs.edge_mask].min()

    def spoiled(values, keep):
        """Any id, in bounds, beyond, or the largest that there is."""
        return np.where(keep, values, random.choice(np.array([0, 1, 7, 1_000, HUGE], np.int32), values.shape))

    spoiled_ids = {f"{name}_ids": spoiled(graph.nodes[f"{name}_ids"], graph.nodes[f"{name}_mask"]) for name in CODEBOOKS}
    spoiled_globals = graph.globals | {"relation_graph": graph.globals["relation_graph"].copy()}
    spoiled_globals["relation_graph"][0, :, num_relations:] = 255
    spoiled_globals["relation_graph"][1] = 255
    for name in CODEBOOKS:
        vocabulary, ids = graph.globals[f"{name}_vocabulary"], graph.nodes[f"{name}_ids"][graph.nodes[f"{name}_mask"]]
        used = np.isin(np.arange(vocabulary.shape[1]), ids) & np.array([[True], [False]])
        spoiled_globals[f"{name}_vocabulary"] = spoiled(vocabulary, used)
    num_nodes = len(graph.nodes["text_ids"])
    garbage_receivers = np.sort(random.integers(padding_node, num_nodes, len(graph.receivers), dtype=np.int32))
    graph = graph._replace(
        nodes=graph.nodes | spoiled_ids,
        edges=graph.edges | {"relation": spoiled(graph.edges["relation"], inputs.edge_mask)},
        senders=spoiled(graph.senders, inputs.edge_mask),
        receivers=np.where(inputs.edge_mask, graph.receivers, garbage_receivers),
        globals=spoiled_globals,
    )
    masks = dict.fromkeys(("nodes", "token"), prompts.node_mask)
    masks |= dict.fromkeys(("senders", "receivers", "edge_relation"), prompts.edge_mask)
    prompts = prompts._replace(**{name: spoiled(getattr(prompts, name), mask) for name, mask in masks.items()})
    return inputs._replace(graph=graph, prompts=prompts)


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_values_in_padding_do_not_matter(small_model, dtype):
    """P2: garbage in every masked place, gradients finite and equal."""
    for seed in range(5):
        inputs = small_model.inputs(*random_case(seed))
        assert_same(small_model, inputs, with_garbage(np.random.default_rng(seed), inputs), dtype)


def four_graphs_in_two_buckets():
    """Different graphs of 16 facts with 18 or 19 and 30 or 31 entities, whose tokens are from 8 codes."""
    for seed, num_entities in enumerate((18, 19, 30, 31)):
        random = np.random.default_rng(seed)
        facts = np.stack([random.permutation(num_entities)[:16], np.arange(16) % 4, random.permutation(num_entities)[:16]], 1)
        graph = make_graph(num_entities, 4, facts)
        tokens = random_tokens(random, graph)
        mentions = tokens.mentions[:6]
        tokens = dataclasses.replace(tokens, text_ids=tokens.text_ids % 8, image_ids=tokens.image_ids % 8, mentions=mentions)
        yield PreparedGraph.create(graph, tokens, CODEBOOKS)


@contextlib.contextmanager
def counted_compilations():
    """A list that grows by one with every program that XLA compiles."""
    compiled = []

    def listen(event, _, **kwargs):
        if event.endswith("backend_compile_duration"):
            compiled.append(kwargs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("num_steps", [30, pytest.param(1_000, marks=pytest.mark.slow)])
def test_no_more_programs_than_buckets(num_steps):
    """P3, and N2 for real training steps: their gradients are finite, and those of the first one are not zero."""
    prepared = list(four_graphs_in_two_buckets())
    buckets = {tuple(values.shape for values in jax.tree.leaves(graph.arrays)) for graph in prepared}
    assert len(buckets) == 2
    mixture = Mixture(prepared, BatchConfig(relations=2, heads=2, examples=2), seed=0)
    codebooks = {name: jax.numpy.asarray(codebook.vectors) for name, codebook in CODEBOOKS.items()}
    # As small as can be: the number of programs does not depend on it, their compilation time does.
    model = Tofu(ModelConfig(width=4, layers=1, prompt_layers=1, relation_layers=1, fusion_heads=1, operators=OPERATORS[:1]))
    optimizer = create_optimizer(OptimizerConfig(), num_steps)
    state, step = replicate(TrainState.create(random_params(model), optimizer)), create_train_step(model, optimizer)
    norms, seen = [], set()
    with counted_compilations() as compiled:
        for batch in map(mixture.batch, range(num_steps)):
            queries = split_over_devices(query_arrays(batch), num_devices=1)
            arrays = prepared[batch.graph].arrays
            state, metrics = step(state, codebooks, arrays, batch.edge_mask, batch.modalities, queries)
            norms.append(metrics.gradient_norm)
            seen.add(batch.graph)
    assert len(seen) == len(prepared)
    assert 1 <= len(compiled) <= len(buckets), compiled
    norms = np.concatenate(norms)
    assert np.isfinite(norms).all()
    assert norms[0] > 0


def no_tokens(graph):
    return random_tokens(np.random.default_rng(0), graph).without("text").without("image")


def edge_cases():
    """{what is odd: (graph, tokens, query relations, heads)}."""
    random = np.random.default_rng(0)
    plain = random_graph(random, 10, 3, 6)
    one = make_graph(2, 1, [(0, 0, 1)])

    def case(graph, relations, heads):
        return graph, random_tokens(random, graph), relations, heads

    return {
        "empty relation": case(make_graph(10, 4, plain.train), [3, 7], [[0, 1], [2, 3]]),
        "isolated head": case(make_graph(11, 3, plain.train), [0, 3], [[10, 10], [10, 0]]),
        "self loops": case(make_graph(3, 2, [(0, 0, 0), (1, 0, 1), (0, 1, 1)]), [0, 2], [[0, 1], [0, 2]]),
        "only a self loop": case(make_graph(1, 1, [(0, 0, 0)]), [0, 1], [[0, 0], [0, 0]]),
        "one fact": case(one, [0, 1], [[0, 1], [0, 1]]),
        "one fact, no tokens": (one, no_tokens(one), [0, 1], [[0, 1], [0, 1]]),
        "no tokens": (plain, no_tokens(plain), [0, 3], [[0, 1], [2, 3]]),
        "no facts": case(make_graph(3, 1, []), [0, 1], [[0, 1], [2, 0]]),
        "the same relation twice": case(plain, [1, 1], [[0, 0], [0, 0]]),
    }


def global_norm(gradients):
    return np.sqrt(sum(np.square(values).sum() for values in jax.tree.leaves(gradients)))


@pytest.mark.parametrize("start", ["initial", "params"])
@pytest.mark.parametrize("case", edge_cases())
def test_odd_graphs_have_finite_scores_and_gradients(small_model, case, start):
    """P4, N2: before the first step and with parameters that have left it."""
    graph, tokens, relations, heads = edge_cases()[case]
    inputs = small_model.inputs(graph, tokens, np.array(relations, np.int32), np.array(heads))
    assert np.isfinite(small_model.scores(inputs, np.float32)).all()
    loss, gradients = small_model.loss_and_gradients(inputs, np.float32, getattr(small_model, start))
    assert np.isfinite(loss)
    norm = global_norm(gradients)
    assert norm < 1e4  # not NaN either
    # A single entity is the only candidate: its loss is 0 whatever the parameters.
    assert (norm > 0) == (graph.num_entities > 1)


def test_an_edge_that_stands_twice_in_the_arrays_is_harmless(small_model):
    """P4: `KnowledgeGraph` refuses a fact that stands there twice; arrays built elsewhere may hold one."""
    inputs = small_model.inputs(*random_case(0))
    graph, real = inputs.graph, inputs.edge_mask.sum()
    positions = np.repeat(np.arange(len(graph.senders)), 1 + (np.arange(len(graph.senders)) < 20))[: len(graph.senders)]
    columns = [values[positions] for values in (graph.senders, graph.edges["relation"], graph.receivers)]
    doubled = graph._replace(
        senders=columns[0],
        receivers=columns[2],
        edges={"relation": columns[1], "by_sender": order_by_sender(*columns)},
        globals=graph.globals | edge_rows(*columns, len(graph.nodes["text_ids"]), graph.globals["relation_graph"].shape[-1]),
    )
    inputs = inputs._replace(graph=doubled, edge_mask=np.arange(len(positions)) < real + 20)
    assert np.isfinite(small_model.scores(inputs, np.float32)).all()
    _, gradients = small_model.loss_and_gradients(inputs, np.float32)
    assert np.isfinite(global_norm(gradients))
