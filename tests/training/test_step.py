"""The training step: on several devices it is the same step, it is compiled once, and it learns."""

import json

import jax
import numpy as np
import optax
import pytest
from making import CODEBOOKS, make_graph, random_params, random_tokens

from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference.pretrained import device_codebooks
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.training.mixture import BatchConfig, Mixture
from tofu_jax.training.step import (
    AXIS,
    TrainState,
    create_train_step,
    query_arrays,
    replicate,
    split_over_devices,
    unreplicate,
    visible_nodes,
)

MODEL = Tofu(ModelConfig(width=8, layers=1, prompt_layers=1, relation_layers=1, fusion_heads=2, operators=("rotation",)))


def twin_relations(random, num_entities=30):
    """Every entity has one answer, the same for both relations: either of them tells the other."""
    pairs = list(enumerate(random.permutation(num_entities).tolist()))
    return make_graph(num_entities, 2, [(head, relation, tail) for head, tail in pairs for relation in range(2)])


class Training:
    """A model and one small graph, on the first `num_devices` devices, a step in `parts` parts."""

    def __init__(self, num_devices, parts=1):
        random = np.random.default_rng(2)
        graph = twin_relations(random)
        self.graph = PreparedGraph.create(graph, random_tokens(random, graph), CODEBOOKS)
        self.codebooks = device_codebooks(CODEBOOKS)
        # Not Adam, which divides a gradient by its size and so blows the float noise up where a gradient should be zero.
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9))
        params = random_params(MODEL)
        state = TrainState.create(params, optimizer)
        self.num_devices = num_devices
        if num_devices == jax.local_device_count():
            self.state = replicate(state)
        else:  # `replicate` on the first few devices
            stacked = jax.tree.map(lambda leaf: np.stack([leaf] * num_devices), state)
            self.state = jax.pmap(lambda leaf: leaf, axis_name=AXIS)(stacked)
        self.train_step = create_train_step(MODEL, optimizer, parts)

    def mixture(self, masking):
        """Batches with so much relation masking and modality dropout."""
        config = BatchConfig(relations=4, heads=2, examples=2, relation_masking=masking, modality_dropout=masking)
        return Mixture([self.graph], config, seed=0)

    def run(self, mixture, steps):
        """Trains; returns [steps, 3]: the metrics of each step."""
        found = []
        for step in steps:
            batch = mixture.batch(step)
            queries = split_over_devices(query_arrays(batch), self.num_devices)
            self.state, metrics = self.train_step(
                self.state, self.codebooks, self.graph.arrays, batch.edge_mask, batch.modalities, queries
            )
            found.append(unreplicate(metrics))
        return np.array(found).tolist()

    def params(self):
        """[devices, .]: the parameters on each device."""
        leaves = [np.asarray(leaf).reshape(self.num_devices, -1) for leaf in jax.tree.leaves(self.state.params)]
        return np.concatenate(leaves, axis=1).tolist()


def train_everywhere():
    """JSON values: what happens on 1, 2 and 4 devices, in one part and in several."""
    compiled, found = [], {}

    def listen(event, duration, fun_name="", **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(fun_name)

    for num_devices, parts in ((1, 1), (1, 4), (2, 2), (4, 1)):
        training = Training(num_devices, parts)
        metrics = training.run(training.mixture(0.5), range(3))
        found[f"{num_devices} devices, {parts} parts"] = {"metrics": metrics, "params": training.params()}
        if num_devices == 4:
            jax.monitoring.register_event_duration_secs_listener(listen)
            found["learning"] = training.run(training.mixture(0.0), range(120))
            found["compiled"] = compiled
    return found


@pytest.fixture(scope="module")
def found(in_new_process):
    """`train_everywhere` in a process of its own, since the number of devices is fixed when JAX starts."""
    code = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("step_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(module.train_everywhere()))
"""
    # Unoptimised, since compiling takes nearly all of the time.
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    done = in_new_process(code, __file__, XLA_FLAGS=flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("devices", "parts"), [(4, 1), (1, 4), (2, 2)])
def test_several_devices_and_parts_train_as_one(found, devices, parts):
    """G1: in parts, on one device too, it is the same step."""
    one, several = found["1 devices, 1 parts"], found[f"{devices} devices, {parts} parts"]
    np.testing.assert_allclose(several["metrics"], one["metrics"], rtol=1e-5)
    copies = several["params"]
    assert len(copies) == devices
    assert all(copy == copies[0] for copy in copies), "the devices have drifted apart"
    np.testing.assert_allclose(copies[0], one["params"][0], rtol=1e-5, atol=1e-6)


def test_learns_that_two_relations_mean_the_same(found):
    losses, norms, parameter_norms, counted = np.array(found["learning"]).T
    # The median: where a step asks for both facts of a pair, neither is left to tell the other.
    assert np.median(losses[-40:]) < 0.5 * np.median(losses[:20])
    assert (norms > 0).all() and (parameter_norms > 0).all()
    assert ((counted > 0) & (counted <= 1)).all()


def test_compiled_once(found):
    """P3: after the first steps nothing is compiled any more, for the state comes back as it went in."""
    assert found["compiled"] == []


def test_queries_are_split_in_order_and_none_is_lost():
    training = Training(1)
    batch = training.mixture(0.5).batch(0)
    whole = query_arrays(batch)
    together = jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:]), split_over_devices(whole, 4))
    jax.tree.map(np.testing.assert_array_equal, together, whole)


@pytest.mark.parametrize("kind", range(2), ids=["direction", "mask"])
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("image", [False, True])
def test_what_is_dropped_is_masked_and_the_others_left_alone(text, image, kind):
    nodes = {name: np.ones((3, 2), bool) for name in ("text_mask", "image_mask")} | {"text_ids": np.arange(6).reshape(3, 2)}
    nodes |= {name: np.ones((3, 4), np.float32) for name in ("text_direction", "image_direction")}
    modalities = np.ones((2, 2), bool)
    modalities[kind] = text, image
    visible = visible_nodes(nodes, modalities)
    dropped, whole = ("direction", "mask")[kind], ("mask", "direction")[kind]
    assert (visible[f"text_{dropped}"].all(), visible[f"image_{dropped}"].all()) == (text, image)
    assert (visible[f"text_{dropped}"].any(), visible[f"image_{dropped}"].any()) == (text, image)
    assert visible[f"text_{whole}"].all() and visible[f"image_{whole}"].all()
    np.testing.assert_array_equal(visible["text_ids"], nodes["text_ids"])
