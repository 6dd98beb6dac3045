"""What more devices bring: queries per second of a training step, and memory per device of a graph spread over several.

    python benchmarks/scaling.py [--devices=1,2,4] [--blocks=1,2,4,8] [--entities=20000]

Devices are CPU devices forced on one machine. They share its cores, so the first table says what splitting a step costs, not
what it gains; memory per device in the second one is what the compiler plans, and holds for any machine of this kind.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time

from absl import app, flags

DEVICES = flags.DEFINE_list("devices", ["1", "2", "4"], "Numbers of devices to time.")
BLOCKS = flags.DEFINE_list("blocks", ["1", "2", "4", "8"], "edge_partitions to compile for, on as many devices as the largest.")
ENTITIES = flags.DEFINE_integer("entities", 20_000, "Entities of the graph; it has eight times as many facts.")
STEPS = flags.DEFINE_integer("steps", 10, "Timed steps.")
TASK = flags.DEFINE_string("task", None, "Internal: what a process with its own number of devices does.")


def make_step(num_entities: int, relations: int, blocks: int):
    """The step of the default model on a random graph, its state and its arguments."""
    import numpy as np

    from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
    from tofu_jax.graphs.prepared import PreparedGraph
    from tofu_jax.inference.pretrained import device_codebooks, initial_params
    from tofu_jax.model.tofu import ModelConfig, Tofu
    from tofu_jax.tokens.codebook import Codebook
    from tofu_jax.tokens.graph_tokens import GraphTokens
    from tofu_jax.training.mixture import BatchConfig, Mixture
    from tofu_jax.training.optimizer import OptimizerConfig, create_optimizer
    from tofu_jax.training.placement import Placement
    from tofu_jax.training.step import TrainState, create_train_step, replicate

    random = np.random.default_rng(0)
    num_facts, names = 8 * num_entities, tuple(f"r{i}" for i in range(20))
    ends = random.integers(0, num_entities, (2, num_facts))
    facts = np.stack([ends[0], random.integers(0, len(names), num_facts), ends[1]], axis=1).astype(np.int32)
    entities, none = tuple(f"e{i}" for i in range(num_entities)), np.zeros((0, 3), np.int32)
    blank = (("",) * num_entities, ((),) * num_entities)
    graph = KnowledgeGraph("random", entities, names, np.unique(facts, axis=0), none, none, entities, *blank)
    vectors = random.standard_normal((500, 64)).astype(np.float32)
    tokens = dataclasses.replace(
        GraphTokens.none(graph, width=64),
        text_ids=random.integers(0, 500, (num_entities, 8)).astype(np.int32),
        text_mask=np.ones((num_entities, 8), bool),
        text_vectors=random.standard_normal((num_entities, 64)).astype(np.float16),
    )
    codebooks = {name: Codebook(name, vectors) for name in ("text", "image")}
    prepared, model = PreparedGraph.create(graph, tokens, codebooks), Tofu(ModelConfig())
    batch = Mixture([prepared], BatchConfig(relations=relations), 0).batch(0)
    arguments = Placement(device_codebooks(codebooks), [prepared], blocks)(batch)
    optimizer, params = create_optimizer(OptimizerConfig(), 100), initial_params(model, codebooks, 0)
    state = replicate(TrainState.create(params, optimizer))
    return create_train_step(model.clone(partitions=blocks), optimizer), state, arguments


def time_steps(num_entities: int, steps: int) -> dict[str, float]:
    """Four query relations of four heads a step, split over all devices of this process."""
    from tofu_jax.training.step import unreplicate

    step, state, arguments = make_step(num_entities, 4, 1)
    seconds = []
    for _ in range(steps + 1):  # the first one compiles
        begin = time.perf_counter()
        state, metrics = step(state, *arguments)
        unreplicate(metrics)
        seconds.append(time.perf_counter() - begin)
    return {"seconds": sorted(seconds[1:])[steps // 2]}


def plan_memory(num_entities: int, blocks: int) -> dict[str, float]:
    """Four query relations of four heads for the devices that hold a graph together."""
    import jax

    step, state, arguments = make_step(num_entities, 4 * jax.device_count() // blocks, blocks)
    needed = step.lower(state, *arguments).compile().memory_analysis()
    return {"temporary": needed.temp_size_in_bytes, "arguments": needed.argument_size_in_bytes}


def in_new_process(num_devices: int, task: dict) -> dict[str, float]:
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}"}
    command = [sys.executable, __file__, f"--task={json.dumps(task)}"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv) -> None:
    del argv
    if TASK.value:
        task = json.loads(TASK.value)
        print(json.dumps({"time": time_steps, "memory": plan_memory}[task.pop("what")](**task)))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; graph of {ENTITIES.value:,} entities\n")
    print("| devices | ms a step | queries per second |\n|---|---|---|")
    for count in map(int, DEVICES.value):
        task = {"what": "time", "num_entities": ENTITIES.value, "steps": STEPS.value}
        seconds = in_new_process(count, task)["seconds"]
        print(f"| {count} | {1000 * seconds:.0f} | {16 / seconds:.1f} |", flush=True)
    print("\n| edge_partitions | temporary memory per device, MiB | of one device | arguments, MiB |\n|---|---|---|---|")
    whole, blocks = None, list(map(int, BLOCKS.value))
    for count in blocks:
        found = in_new_process(max(blocks), {"what": "memory", "num_entities": ENTITIES.value, "blocks": count})
        whole = whole or found["temporary"]
        mib = [value / 2**20 for value in (found["temporary"], found["arguments"])]
        print(f"| {count} | {mib[0]:.0f} | {found['temporary'] / whole:.2f} | {mib[1]:.0f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
