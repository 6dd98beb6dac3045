"""How fast the hot operation (tofu_jax/ops/relational.py) is, against its definition, PyTorch and the machine's limit.

    python benchmarks/relational.py --output=<folder> [--graphs=<folder>,<folder>] [--batches=8,32] [--widths=32,64]

Without graphs: a generated one of FB15k-237's size and degree law. The messages of a graph are its training facts and their
inverses. Every backend runs in turn, several rounds; a figure is the median of its rounds, and only ratios within a run mean
anything. Memory is what the compiled program allocates beside its inputs and results. PyTorch (`index_add_`, forward and
autograd) is timed where it is installed: `pip install --editable ".[benchmark]"`. What would need more than 60 % of the
machine's memory is left out.

--model also times the whole training step and the evaluation of a graph with each backend, and --scaling the cost against size.
"""

import importlib.util
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.table
from absl import flags

from tofu_jax import launching
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.registry import load_graph
from tofu_jax.inference.pretrained import device_codebooks, initial_params
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.ops import cpu
from tofu_jax.ops.edges import Edges, order_by_receiver
from tofu_jax.ops.relational import BACKENDS, active_backend, relational_sum
from tofu_jax.tokens.tokenizers import NO_IMAGES, fit_tokenizers
from tofu_jax.training.mixture import BatchConfig, Mixture
from tofu_jax.training.optimizer import OptimizerConfig, create_optimizer
from tofu_jax.training.step import TrainState, create_train_step, query_arrays, replicate, split_over_devices

OUTPUT = flags.DEFINE_string("output", None, "Folder for results.json and relational.md.")
GRAPHS = flags.DEFINE_list("graphs", [], "Names of data sets, or folders; default: a generated graph.")
BATCHES = flags.DEFINE_list("batches", ["8", "32"], "Queries of a call, each with coefficients of its own.")
WIDTHS = flags.DEFINE_list("widths", ["32", "64"], "Width of a state.")
ROUNDS = flags.DEFINE_integer("rounds", 7, "Rounds of a measurement.", lower_bound=1)
MODEL = flags.DEFINE_bool("model", False, "Also time whole training steps and evaluations.")
SCALING = flags.DEFINE_bool("scaling", False, "Also time five generated graphs of growing size.")


def generated_graph(num_facts: int = 272_115, num_entities: int = 14_505, num_relations: int = 237) -> KnowledgeGraph:
    """Facts of distinct entities and relations drawn ∝ (10 + rank)^−0.9, about the degree law of FB15k-237."""
    random = np.random.default_rng(0)

    def draw(size: int) -> np.ndarray:
        weights = (10.0 + np.arange(size)) ** -0.9
        return random.choice(size, 2 * num_facts, p=weights / weights.sum())

    facts = np.stack([draw(num_entities), draw(num_relations), random.permutation(draw(num_entities))], axis=1)
    facts = facts[np.sort(np.unique(fact_keys(facts), return_index=True)[1])][:num_facts].astype(np.int32)
    names, none = tuple(f"e{i}" for i in range(num_entities)), np.zeros((0, 3), np.int32)
    relations = tuple(f"r{i}" for i in range(num_relations))
    return KnowledgeGraph("generated", names, relations, facts, none, none, names, ("",) * len(names), ((),) * len(names))


def edges_of(graph: KnowledgeGraph) -> Edges:
    """All edges, unpadded."""
    columns = graph.edges
    order = order_by_receiver(*columns)
    columns = [column[order] for column in columns]
    mask = np.ones(len(order), bool)
    return jax.tree.map(jnp.asarray, Edges.create(*columns, mask, graph.num_entities, graph.num_relations))


def interleaved(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each function; they take turns, so that a slow moment of the machine meets all of them."""
    seconds = {name: [] for name in functions}
    for function in functions.values():
        jax.block_until_ready(function())
    for _ in range(ROUNDS.value):
        for name, function in functions.items():
            started = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) * 1e3 for name, values in seconds.items()}


def fits(num_bytes: int) -> bool:
    """Whether something so large leaves this machine alone."""
    return num_bytes < 0.6 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def torch_functions(values: list[np.ndarray], gradient: np.ndarray, edges: Edges) -> dict[str, Callable[[], object]]:
    """The same sum with `index_add_`, as PyTorch users write it, and its autograd."""
    import torch

    states, scale, swap_scale, bias = (torch.from_numpy(np.array(v)).requires_grad_() for v in values)
    senders, relations, receivers = (torch.from_numpy(np.array(v)).long() for v in edges[:3])
    gradient = torch.from_numpy(np.array(gradient))

    def forward():
        sent = states[senders]
        messages = scale[relations] * sent + swap_scale[relations] * sent.roll(sent.shape[-1] // 2, -1) + bias[relations]
        return torch.zeros_like(states).index_add_(0, receivers, messages)

    def both():
        out = forward()
        return out, torch.autograd.grad(out, (states, scale, swap_scale, bias), gradient)

    def without_gradient():
        with torch.no_grad():
            return forward()

    return {"forward": without_gradient, "forward+backward": both}


def usable_backends() -> list[str]:
    """Backends that can be timed on this machine."""
    on_cpu = jax.default_backend() == "cpu"
    usable = {"cpu": on_cpu and cpu.available(), "pallas": not on_cpu}  # the others anywhere
    return [name for name in BACKENDS if usable.get(name, True)]


def time_operation(graph: KnowledgeGraph, batch: int, width: int, names: list[str], with_torch: bool) -> list[dict]:
    """One row for each backend of `names`, forward and forward + backward."""
    edges = edges_of(graph)
    random = np.random.default_rng(0)

    def draw(*shape):
        return random.standard_normal(shape, np.float32)

    num_entities, num_relations = graph.num_entities, graph.num_relations
    states, gradient = draw(2, num_entities, batch, 1, width)
    coefficients = draw(3, num_relations, batch, width)
    present = jnp.ones((num_entities, batch, 1))
    rows = []

    def forward(backend, edges, states, *coefficients):
        return relational_sum(states, present, *coefficients, edges, backend)[0]

    def both(backend, edges, *values):
        out, pull = jax.vjp(lambda *values: forward(backend, edges, *values), *values)
        return out, pull(jnp.asarray(gradient))

    arguments = (edges, *map(jnp.asarray, (states, *coefficients)))
    messages = len(edges.senders) * batch * width * 4
    for what, function in (("forward", forward), ("forward+backward", both)):
        compiled = {name: jax.jit(function, static_argnums=0).lower(name, *arguments).compile() for name in names}
        memory = {name: program.memory_analysis().temp_size_in_bytes for name, program in compiled.items()}
        functions = {
            name: lambda program=program: program(*arguments) for name, program in compiled.items() if fits(memory[name])
        }
        if with_torch and importlib.util.find_spec("torch") and fits(6 * messages):
            values = [states[:, :, 0], *coefficients]
            functions["torch index_add_"] = torch_functions(values, gradient[:, :, 0], edges)[what]
        times = interleaved(functions)
        # What has to be moved at least: each edge's source row once, each result once; twice that for the gradient.
        least = (len(edges.senders) + num_entities) * batch * width * 4 * (1 if what == "forward" else 2)
        for name, milliseconds in times.items():
            rows.append(
                {
                    "graph": graph.name,
                    "edges": len(edges.senders),
                    "B": batch,
                    "d": width,
                    "direction": what,
                    "implementation": name,
                    "ms": milliseconds,
                    "times_reference": times["reference"] / milliseconds if "reference" in times else None,
                    "times_torch": times["torch index_add_"] / milliseconds if "torch index_add_" in times else None,
                    "temporary_mib": memory[name] / 2**20 if name in memory else None,
                    "reference_memory": memory["reference"] / max(memory[name], 1)
                    if {name, "reference"} <= memory.keys()
                    else None,
                    "gb_per_s": least / milliseconds / 1e6,
                }
            )
    return rows


def stream_bandwidth() -> float:
    """GB/s of a[i] = b[i] + s·c[i] on arrays far larger than the caches."""
    b, c = (jnp.full(2**26, value, jnp.float32) for value in (1.0, 2.0))
    triad = jax.jit(lambda b, c: b + 3 * c)
    times = interleaved({"triad": lambda: triad(b, c)})
    return 3 * b.nbytes / times["triad"] / 1e6


def time_model(graph: KnowledgeGraph) -> list[dict]:
    """Whole training steps, and evaluated queries, with each backend; the share of what is not the device."""
    tokenizers = fit_tokenizers([graph], "patches", 8, 8, 64, 0, trained=NO_IMAGES, workers=1)
    prepared = PreparedGraph.create(graph, tokenizers(graph), tokenizers.codebooks)
    codebooks, model = device_codebooks(tokenizers.codebooks), Tofu(ModelConfig())
    params = initial_params(model, tokenizers.codebooks, 0)
    optimizer = create_optimizer(OptimizerConfig(), 100)
    mixture = Mixture([prepared], BatchConfig(relation_masking=0.0, modality_dropout=0.0), 0)
    batch = mixture.batch(0)
    queries = split_over_devices(query_arrays(batch), 1)
    asked = np.stack([graph.train[:128, 0], graph.train[:128, 1]], axis=1)
    steps, evaluations = {}, {}
    for name in [name for name in ("xla", "cpu") if name != "cpu" or cpu.available()]:
        os.environ["TOFU_JAX_BACKEND"] = name
        jax.clear_caches()  # the backend is chosen when a program is traced
        train_step = create_train_step(model, optimizer)
        state = [replicate(TrainState.create(params, optimizer))]

        def step(train_step=train_step, state=state):
            arguments = (codebooks, prepared.arrays, batch.edge_mask, batch.modalities, queries)
            state[0], metrics = train_step(state[0], *arguments)
            return metrics

        scorer = ModelScorer(model, params, codebooks, prepared, 3)
        step(), scorer(asked)
        steps[name] = interleaved({"step": step})["step"]
        evaluations[name] = interleaved({"queries": lambda scorer=scorer: scorer(asked)})["queries"]
    del os.environ["TOFU_JAX_BACKEND"]
    host = interleaved({"batch": lambda: mixture.batch(1)})["batch"]
    return [
        {
            "graph": graph.name,
            "backend": name,
            "step_ms": steps[name],
            "step_times_xla": steps["xla"] / steps[name],
            "host_share": host / (host + steps[name]),
            "queries_per_s": len(asked) / evaluations[name] * 1e3,
            "evaluation_times_xla": evaluations["xla"] / evaluations[name],
        }
        for name in steps
    ]


def time_sizes() -> tuple[list[dict], float]:
    """Forward times of five generated graphs, and the fitted exponent of the number of edges."""
    rows = []
    for divisor in (16, 8, 4, 2, 1):
        graph = generated_graph(272_115 // divisor, 14_505 // divisor)
        row = time_operation(graph, 8, 32, [active_backend()], with_torch=False)[0]
        rows.append({"edges": row["edges"], "ms_per_query": row["ms"] / 8})
    edges, times = (np.log([row[key] for row in rows]) for key in ("edges", "ms_per_query"))
    return rows, float(np.polyfit(edges, times, 1)[0])


def table(title: str, rows: list[dict]) -> rich.table.Table:
    """Rows of one kind as a table."""
    made = rich.table.Table(title=title, title_justify="left", box=rich.box.MARKDOWN)
    for key in rows[0]:
        made.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        made.add_row(*("" if v is None else f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    return made


def main(_) -> None:
    graphs = [load_graph(name, "training") for name in GRAPHS.value] or [generated_graph()]
    console = rich.console.Console(width=190, record=True)
    results = {"stream_gb_per_s": stream_bandwidth(), "operation": [], "model": [], "scaling": []}
    console.print(
        f"{platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}, stream bandwidth "
        f"{results['stream_gb_per_s']:.1f} GB/s",
        highlight=False,
    )

    def show(title: str, rows: list[dict]) -> None:
        console.print(table(title, rows))
        if OUTPUT.value:
            folder = pathlib.Path(OUTPUT.value)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "results.json").write_text(json.dumps(results, indent=1))
            (folder / "relational.md").write_text(console.export_text(clear=False))

    for graph in graphs:
        for batch in map(int, BATCHES.value):
            for width in map(int, WIDTHS.value):
                rows = time_operation(graph, batch, width, usable_backends(), with_torch=True)
                results["operation"] += rows
                show(f"{graph.summary()}: B = {batch}, d = {width}", rows)
        if MODEL.value:
            rows = time_model(graph)
            results["model"] += rows
            show(f"{graph.name}: the whole model", rows)
    if SCALING.value:
        results["scaling"], results["exponent"] = time_sizes()
        show(f"cost against size: exponent {results['exponent']:.2f}", results["scaling"])


if __name__ == "__main__":
    launching.run(sys.modules[__name__])
