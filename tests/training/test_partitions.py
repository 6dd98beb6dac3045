"""A graph in blocks, a device each, trains as it does in one piece, and in less memory."""

import json

import jax
import numpy as np
import optax
import pytest
from making import CODEBOOKS, make_graph, random_params, random_tokens

from tofu_jax.errors import TrainingError
from tofu_jax.graphs.partitioned import partition
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference.pretrained import device_codebooks
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.training.mixture import BatchConfig, Mixture
from tofu_jax.training.placement import Placement, check_devices
from tofu_jax.training.step import TrainState, create_train_step, replicate, unreplicate

MODEL = Tofu(ModelConfig(width=8, layers=2, prompt_layers=1, relation_layers=1, fusion_heads=2))
# Not Adam, which divides a gradient by its size and so blows the float noise up where a gradient should be zero.
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9))


def small_graph():
    random = np.random.default_rng(0)
    # One hub, and entities without any fact.
    facts = [(0 if i % 4 == 0 else random.integers(29), i % 3, random.integers(29)) for i in range(90)]
    graph = make_graph(33, 3, facts)
    return PreparedGraph.create(graph, random_tokens(random, graph), CODEBOOKS)


def train(graph, blocks, steps):
    """Trains on all devices; {"metrics": [steps, 4], "params": [.]}."""
    config = BatchConfig(relations=4, heads=2, examples=2)
    mixture = Mixture([graph], config, seed=0)
    place = Placement(device_codebooks(CODEBOOKS), [graph], blocks)
    state = replicate(TrainState.create(random_params(MODEL), OPTIMIZER))
    train_step, metrics = create_train_step(MODEL.clone(partitions=blocks), OPTIMIZER), []
    for step in range(steps):
        state, found = train_step(state, *place(mixture.batch(step)))
        metrics.append(list(map(float, unreplicate(found))))
    leaves = [np.asarray(leaf).reshape(jax.device_count(), -1) for leaf in jax.tree.leaves(state.params)]
    copies = np.concatenate(leaves, axis=1)
    assert (copies == copies[0]).all(), "the devices have drifted apart"
    return {"metrics": metrics, "params": copies[0].tolist()}


def test_a_step_sees_the_overlap_of_its_batch():
    """Not that of the whole graph, which counts what is asked for."""
    graph = small_graph()
    batch = Mixture([graph], BatchConfig(relations=4, heads=2, examples=2), seed=0).batch(0)
    _, placed, *_ = Placement(device_codebooks(CODEBOOKS), [graph], 1)(batch)
    np.testing.assert_array_equal(placed.globals["relation_overlap"], batch.overlap)
    assert (batch.overlap != graph.arrays.globals["relation_overlap"]).any()


def train_in_blocks(blocks):
    """On four devices, in one piece and in so many."""
    return [train(small_graph(), number, 4) for number in (1, blocks)]


# In two, each graph is shared by two devices, and the queries by two pairs.
@pytest.mark.parametrize("blocks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_trains_as_in_one_piece(in_new_process, blocks):
    """In a process of its own, since the number of devices is fixed when JAX starts."""
    code = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("partitions_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(module.train_in_blocks(int(sys.argv[2]))))
"""
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    done = in_new_process(code, __file__, blocks, XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    whole, in_blocks = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(in_blocks["metrics"], whole["metrics"], rtol=1e-5)
    np.testing.assert_allclose(in_blocks["params"], whole["params"], rtol=1e-5, atol=1e-6)
    assert np.abs(np.subtract(whole["params"], train_start())).max() > 1e-3, "nothing has been learned"


def train_start():
    leaves = jax.tree.leaves(random_params(MODEL))
    return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])


@pytest.mark.parametrize("blocks", [1, 2, 3, 8])
def test_every_entity_and_edge_stands_in_one_block(blocks):
    graph = small_graph()
    padded, cut = graph.padded, partition(graph.padded, blocks)
    size = cut.graph.nodes["text_ids"].shape[1]
    assert len(set(cut.entity_id.tolist())) == len(padded.entity_mask) <= blocks * size
    together = cut.graph.nodes["text_ids"].reshape(blocks * size, -1)
    np.testing.assert_array_equal(together[cut.entity_id], padded.graph.nodes["text_ids"])

    mask = padded.edge_mask()
    block, turn, place = np.nonzero(cut.edge_mask(mask))
    edges = cut.graph.senders, cut.graph.edges["relation"], cut.graph.receivers
    sender, relation, receiver = (values[block, turn, place] for values in edges)
    found = np.stack([(block + turn) % blocks * size + sender, relation, block * size + receiver], axis=1)
    columns = (cut.entity_id[padded.graph.senders], padded.graph.edges["relation"], cut.entity_id[padded.graph.receivers])
    expected = np.stack(columns, axis=1)[mask]
    assert sorted(found.tolist()) == sorted(expected.tolist())
    assert (np.diff(cut.graph.receivers, axis=-1) >= 0).all(), "edges have to be sorted by receiver"
    np.testing.assert_array_equal(cut.by_entity(padded.entity_mask).ravel()[cut.entity_id], padded.entity_mask)
    assert cut.by_entity(padded.entity_mask).sum() == graph.graph.num_entities


def test_devices_that_cannot_share_the_work():
    check_devices(BatchConfig(relations=8), 4, 4)
    check_devices(BatchConfig(relations=2, edge_partitions=2), 4, 1)
    with pytest.raises(TrainingError, match=r"6 query relations .* 4 devices.*--config\.batch\.relations.*multiple of 4"):
        check_devices(BatchConfig(relations=6), 4, 4)
    with pytest.raises(TrainingError, match=r"edge_partitions is 3: it has to divide the 4 devices"):
        check_devices(BatchConfig(edge_partitions=3), 4, 4)
    with pytest.raises(TrainingError, match=r"edge_partitions is 2: .* divide the 3 devices of a process"):
        check_devices(BatchConfig(edge_partitions=2), 6, 3)
