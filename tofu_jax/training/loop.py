"""Pre-training, from a configuration to a folder with checkpoints, metrics and curves."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
import rich.console
from ml_collections import ConfigDict

from tofu_jax.errors import TrainingError
from tofu_jax.evaluation.ranking import rank_queries, sample_triples
from tofu_jax.graphs.excluded_facts import ExcludedFacts
from tofu_jax.graphs.graphs_tuple import shared_sizes
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.graphs.registry import load_graph
from tofu_jax.graphs.subgraphs import subgraphs
from tofu_jax.inference.pretrained import device_codebooks, initial_params
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.ops.relational import describe_backend
from tofu_jax.progress import Progress
from tofu_jax.tokens.tokenizers import Tokenizers, fit_tokenizers
from tofu_jax.training.checkpoint import CheckpointStore, read_checkpoint, saved_steps
from tofu_jax.training.mixture import BatchConfig, Mixture, check_devices
from tofu_jax.training.optimizer import OptimizerConfig, create_optimizer
from tofu_jax.training.run_folder import MetricsWriter, RunFolder, refuse_other_run
from tofu_jax.training.step import (
    StepMetrics,
    TrainState,
    create_train_step,
    query_arrays,
    replicate,
    split_over_devices,
    unreplicate,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What training works with; everything is determined by the configuration.

    Attributes:
      config: of the experiment (configs/mix.py lists the fields).
      model, optimizer: with their settings.
      tokenizers: of texts and images.
      mixture: of the training graphs.
      codebooks: frozen vectors on the device.
      sources: what the mixture's graphs come from, see `training_graphs`.
    """

    config: ConfigDict
    model: Tofu
    optimizer: optax.GradientTransformation
    tokenizers: Tokenizers
    mixture: Mixture
    codebooks: Mapping[str, jax.Array]
    sources: Sequence[Mapping[str, Any]]

    def fresh_state(self) -> TrainState:
        """Parameters from the seed and an empty optimizer."""
        params = initial_params(self.model, self.tokenizers.codebooks, self.config.seed)
        return TrainState(params, self.optimizer.init(params))

    def meta(self) -> dict[str, Any]:
        """What a checkpoint says about itself: JSON values."""
        return {
            "model": dataclasses.asdict(self.model.config),
            "tokens": {
                "text": self.tokenizers.num_text_tokens,
                "image": self.tokenizers.num_image_tokens,
                "examples": self.config.batch.examples,
                "hops": NUM_HOPS,
            },
            "codebooks": {k: {"name": v.name, "sha256": v.sha256} for k, v in self.tokenizers.codebooks.items()},
            "sources": list(self.sources),
            "graphs": [
                {"name": g.graph.name, "facts": len(g.graph.train), "sha256": g.graph.fingerprint} for g in self.mixture.graphs
            ],
        }


def pretrain(config: ConfigDict, workdir: pathlib.Path, console: rich.console.Console) -> Tokenizers:
    """Trains one model on a mixture of graphs; run again, it continues from the latest checkpoint.

    Args:
      config: of the experiment.
      workdir: the run's folder (`run_folder`).
      console: for progress and summaries.

    Returns:
      The model's tokenizers, for evaluating it in the same process.

    Raises:
      DataError, CheckpointError: a graph cannot be used, or the folder belongs to another run.
      TrainingError: a setting cannot be used, or a loss or gradient is not finite; the checkpoint before it stays.
    """
    _check_counts(config)
    refuse_other_run(workdir, config.to_dict())
    # Parameters come 1. from the latest checkpoint of this folder, 2. from scratch.
    first = max(saved_steps(workdir / "checkpoints"), default=0)
    run = create_run(config, workdir if first else None, console)
    # Only now that the graphs are known to be good is anything written.
    folder = RunFolder(workdir, config.to_dict())
    store = CheckpointStore(folder.checkpoints)
    state = run.fresh_state()
    sizes = [leaf.size for leaf in jax.tree.leaves(state.params)]
    console.print(f"{sum(sizes):,} parameters, {jax.device_count()} {jax.default_backend()} device(s)", highlight=False)
    console.print(describe_backend(), highlight=False)
    if first:
        state = store.restore_state(first, state)
        console.print(f"resuming after step {first}", highlight=False)
    writer = MetricsWriter(folder, first)
    try:
        _train(run, state, first, store, writer, console)
    finally:
        store.close()
        writer.close()
    folder.plot_curves()
    return run.tokenizers


def _check_counts(config: ConfigDict) -> None:
    for name in ("steps", "log_every", "evaluate_every", "checkpoint_every", "valid_triples"):
        if config[name] < 1:
            raise TrainingError(f"config.{name} is {config[name]}; give at least 1.")


def create_run(config: ConfigDict, resumed: pathlib.Path | None, console: rich.console.Console) -> Run:
    """Loads, tokenises and lays out the graphs of a configuration.

    Args:
      config: of the experiment.
      resumed: folder of the run to continue, whose image codebook is then used; None for a new run.
      console: for summaries.
    """
    batch = BatchConfig(**config.batch)
    check_devices(batch, jax.device_count())
    graphs, sources = training_graphs(config, console)
    console.print("tokenising texts and images …", highlight=False)
    tokenizers = fit_tokenizers(
        graphs,
        config.tokens.images,
        config.tokens.text_tokens,
        config.tokens.image_tokens,
        config.tokens.image_codes,
        config.seed,
        trained=read_checkpoint(resumed).image_codebook if resumed else None,
        workers=os.cpu_count() or 1,
    )
    tokens = [tokenizers(graph) for graph in graphs]
    sizes = shared_sizes(graphs, tokens)
    prepared = [PreparedGraph.create(g, t, **size) for g, t, size in zip(graphs, tokens, sizes, strict=True)]
    return Run(
        config=config,
        model=Tofu(ModelConfig(**{**config.model, "operators": tuple(config.model.operators)})),
        optimizer=create_optimizer(OptimizerConfig(**config.optimizer), config.steps),
        tokenizers=tokenizers,
        mixture=Mixture(prepared, batch, config.seed, config.graph_exponent),
        codebooks=device_codebooks(tokenizers.codebooks),
        sources=sources,
    )


def training_graphs(config: ConfigDict, console: rich.console.Console) -> tuple[list[KnowledgeGraph], list[dict[str, Any]]]:
    """Loads the mixture's graphs, without the facts that are excluded, the large ones cut into sub-graphs.

    Returns:
      graphs: of the mixture.
      sources: name, facts and number of removed facts of each graph of the configuration.
    """
    excluded = ExcludedFacts.read(config.exclude)
    graphs, sources = [], []
    for name in config.graphs:
        graph, removed = excluded.remove_from(load_graph(name, "training", config.keep_unseen_entities))
        parts = subgraphs(graph, config.subgraph_facts or len(graph.train), config.subgraphs, config.seed)
        note = f"; {removed:,} evaluation facts removed from train" if config.exclude else ""
        note += f"; cut into {len(parts)} sub-graphs" if len(parts) > 1 else ""
        console.print(graph.summary() + note, highlight=False, soft_wrap=True)
        graphs += parts
        sources.append({"name": graph.name, "facts": len(graph.train), "removed_evaluation_facts": removed})
    return graphs, sources


def _train(run: Run, state: TrainState, first: int, store: CheckpointStore, writer: MetricsWriter, console) -> None:
    """The loop: batch(seed, step) → step → metrics, with evaluation and checkpoints at their intervals."""
    config, graphs = run.config, run.mixture.graphs
    train_step = create_train_step(run.model, run.optimizer)
    devices = (jax.device_count(), jax.process_index() * jax.local_device_count(), jax.local_device_count())
    state, meta = replicate(state), run.meta()
    with Progress("training", config.steps, console, first) as progress:
        for step in range(first, config.steps):
            batch = run.mixture.batch(step)
            graph = graphs[batch.graph]
            queries = split_over_devices(query_arrays(batch), *devices)
            state, metrics = train_step(state, run.codebooks, graph.arrays, batch.edge_mask, batch.modalities, queries)
            metrics, done = unreplicate(metrics), step + 1
            log, evaluate, save = (
                done == config.steps or done % every == 0
                for every in (config.log_every, config.evaluate_every, config.checkpoint_every)
            )
            if log or not _finite(metrics):
                values = {name: float(value) for name, value in metrics._asdict().items()}
                writer.write(done, {**values, "graph": graph.graph.name})
            if not _finite(metrics):
                raise TrainingError(
                    f"step {done} on {graph.graph.name}: loss {metrics.loss}, gradient norm {metrics.gradient_norm}: not "
                    f"finite. The last good checkpoint is step {store.latest_step() or 'none'} in {store.folder}; lower "
                    "config.optimizer.learning_rate or config.optimizer.clip_norm and use a new --workdir."
                )
            progress.update(done, f"loss {metrics.loss:.3f}")
            if evaluate:
                mrr = held_out_mrr(run, unreplicate(state).params)
                mean = float(np.mean(list(mrr.values()))) if mrr else 0.0
                writer.write(done, {"valid_mrr": mean, **{f"valid_mrr/{name}": value for name, value in mrr.items()}})
                listed = ", ".join(f"{name} {value:.3f}" for name, value in mrr.items())
                console.print(f"step {done}: held-out MRR {mean:.3f} ({listed})", highlight=False, soft_wrap=True)
            if save:
                store.save(done, unreplicate(state), run.tokenizers.codebooks["image"], meta)


def held_out_mrr(run: Run, params: Any) -> dict[str, float]:
    """Filtered MRR (realistic) on a fixed sample of each training graph's validation facts, by name of a graph that has any."""
    mrr = {}
    for prepared in run.mixture.graphs:
        graph = prepared.graph
        if not len(graph.valid):
            continue
        sample = sample_triples(graph.valid, run.config.valid_triples, run.config.seed)
        scorer = ModelScorer(run.model, params, run.codebooks, prepared, run.config.batch.examples)
        ranks = rank_queries(scorer, graph, sample, 64, KnownAnswers.of_graph(graph))
        mrr[graph.name] = ranks.metrics()["mrr"]
    return mrr


def _finite(metrics: StepMetrics) -> bool:
    return bool(np.isfinite(metrics.loss) and np.isfinite(metrics.gradient_norm))
