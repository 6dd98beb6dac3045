"""Pre-training, from a configuration to a folder with checkpoints, metrics and curves."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import rich.console
from ml_collections import ConfigDict

from tofu_jax.errors import TrainingError
from tofu_jax.evaluation.ranking import rank_queries, sample_triples
from tofu_jax.graphs.known_answers import KnownAnswers
from tofu_jax.inference.pretrained import Pretrained
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.ops.relational import describe_backend
from tofu_jax.progress import Progress
from tofu_jax.tokens.tokenizers import Tokenizers
from tofu_jax.training.checkpoint import (
    CheckpointStore,
    read_checkpoint,
    saved_steps,
    set_aside_damaged_steps,
    tree_hash,
)
from tofu_jax.training.memory import check_memory, largest_graph
from tofu_jax.training.parallel import check_same_everywhere, from_every_process, is_first_process, noticing_lost_processes
from tofu_jax.training.preemption import Interrupted, StopRequest
from tofu_jax.training.prefetch import Prefetch
from tofu_jax.training.profiling import Profiler
from tofu_jax.training.run import Run, create_run
from tofu_jax.training.run_folder import MetricsWriter, RunFolder, refuse_other_run
from tofu_jax.training.step import StepMetrics, TrainState, create_train_step, replicate, unreplicate
from tofu_jax.training.stopwatch import Stopwatch


def pretrain(
    config: ConfigDict,
    workdir: pathlib.Path,
    console: rich.console.Console,
    *,
    initial: Pretrained | None = None,
    fall_back: bool = False,
    profile_steps: int = 0,
) -> Tokenizers | None:
    """Trains one model on a mixture of graphs; run again, it continues from the latest checkpoint.

    Args:
      config: of the experiment.
      workdir: the run's folder (`run_folder`).
      console: for progress and summaries.
      initial: a model to begin with; a run that began with another one is not continued. None: parameters from the seed.
      fall_back: sets checkpoints aside that cannot be read, and continues from the latest one that can.
      profile_steps: so many steps are recorded in workdir/profile (`profiling`).

    Returns:
      The model's tokenizers, for evaluating it in the same process; None if SIGTERM ended the training, which is saved.

    Raises:
      DataError, CheckpointError: a graph cannot be used, a checkpoint cannot be read or written, or the folder belongs to
        another run.
      TrainingError: a setting cannot be used, or a loss, gradient or parameter is not finite; the checkpoint before it stays.
    """
    watch = Stopwatch()
    _check_counts(config)
    described = config.to_dict() | _describe(initial)
    refuse_other_run(workdir, described)
    for message in set_aside_damaged_steps(workdir / "checkpoints") if fall_back else ():
        console.print(message, highlight=False, soft_wrap=True)
    # Parameters come 1. from the latest checkpoint of this folder, 2. from the initial model, 3. from the seed.
    latest = read_checkpoint(workdir) if saved_steps(workdir / "checkpoints") else None
    with watch.phase("preparing"):
        run = create_run(config, initial, latest, console)
        state = run.fresh_state()
    check_same_everywhere({"configuration": described, "step": latest and latest.step, **run.data_hashes()})
    sizes = [leaf.size for leaf in jax.tree.leaves(state.params)]
    console.print(f"{sum(sizes):,} parameters, {jax.device_count()} {jax.default_backend()} device(s)", highlight=False)
    console.print(describe_backend(), highlight=False)
    first = latest.step if latest else 0
    compiled = _compile(run, state, first, watch, console)
    # Only now that the graphs are known to be good, and a step to fit into memory, is anything written.
    folder = RunFolder(workdir, described)
    store = CheckpointStore(folder.checkpoints, config.keep_last)
    if latest:
        state = store.restore_state(first, state)
        console.print(f"resuming after step {first}", highlight=False)
    writer, profiler = MetricsWriter(folder, first), Profiler(workdir / "profile", profile_steps)
    # SIGTERM before this ends the process at once: there is nothing to save yet.
    with StopRequest() as stop, contextlib.closing(writer), store, profiler, noticing_lost_processes():
        finished = _train(run, state, first, compiled, store, writer, watch, profiler, stop, console)
    if is_first_process():
        folder.plot_curves()
    console.print(watch.summary(), highlight=False, soft_wrap=True)
    if not finished:
        console.print(f"SIGTERM: saved in {store.folder}; the same command again continues.", highlight=False, soft_wrap=True)
    return run.tokenizers if finished else None


def _check_counts(config: ConfigDict) -> None:
    for name in ("steps", "log_every", "evaluate_every", "checkpoint_every", "valid_triples", "keep_last", "batch.accumulate"):
        count = config
        for part in name.split("."):
            count = count[part]
        if count < 1:
            raise TrainingError(f"config.{name} is {count}; give at least 1.")


def _describe(initial: Pretrained | None) -> dict[str, Any]:
    """What config.json says of the model that training begins with: name and step, and a hash that notices any change."""
    if initial is None:
        return {}
    return {"initial": {"model": initial.source, "params_sha256": tree_hash(initial.params)}}


def _compile(run: Run, state: TrainState, first: int, watch: Stopwatch, console: rich.console.Console) -> set[tuple]:
    """Compiles a step on the largest graph, and refuses it if it will not fit into memory; returns its shapes."""
    if first >= run.config.steps:
        return set()
    with watch.phase("compiling"):
        arguments = run.placement(run.mixture.batch(first, largest := largest_graph(run.mixture)))
        line = check_memory(_create_step(run), (replicate(state), *arguments), run.mixture.graphs[largest])
    console.print(line, highlight=False, soft_wrap=True)
    return {_shapes(arguments)}


def _create_step(run: Run) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """The step of a run; of a graph in blocks it is another program with the same parameters."""
    model = run.model.clone(partitions=run.config.batch.edge_partitions)
    return create_train_step(model, run.optimizer, run.config.batch.accumulate)


def _train(run, state, first, compiled, store, writer, watch, profiler, stop, console) -> bool:
    """The loop: save and evaluate where it is due, then batch(seed, step) → step → metrics. Returns whether it came to its end.

    Arguments as made in `pretrain`; `first`: steps done before; `compiled`: shapes that the step is compiled for.
    """
    config, graphs = run.config, run.mixture.graphs
    train_step, state = _create_step(run), replicate(state)

    def prepare(step):
        batch = run.mixture.batch(step)
        return batch.graph, run.placement(batch)

    with Progress("training", config.steps, console, first) as progress, Prefetch(prepare, config.steps) as batches:
        for step in range(first, config.steps + 1):
            store.check_saves()
            last, stopping = step == config.steps, stop.at(step)
            evaluating = last or _due(step, config.evaluate_every) or (step == 0 and run.initial is not None)
            if last or stopping or evaluating or _due(step, config.checkpoint_every):
                with watch.phase("saving"):
                    store.save(step, unreplicate(state), run.tokenizers.codebooks["image"], run.meta)
            # A step that was saved but not evaluated before the process ended is evaluated now.
            if evaluating and not stopping and not store.is_rated(step):
                with watch.phase("evaluation"):
                    stopping = not _evaluate(run, unreplicate(state).params, step, store, writer, stop, console)
            if stopping or last or _no_longer_better(config, step, store, console):
                return not stopping

            profiler.before_step()
            with watch.phase("batch"):
                drawn, arguments = batches.take(step)
            with watch.phase("step" if _shapes(arguments) in compiled else "compiling"):
                state, metrics = train_step(state, *arguments)
                metrics, done = unreplicate(metrics), step + 1
            compiled.add(_shapes(arguments))
            watch.count_step(config.batch.relations * run.mixture.heads[drawn])
            finite = all(map(np.isfinite, metrics))
            if not finite or done == config.steps or _due(done, config.log_every):
                values = {name: float(value) for name, value in metrics._asdict().items()}
                writer.write(done, {**values, "graph": graphs[drawn].graph.name, **watch.lap()})
            if not finite:
                raise TrainingError(_not_finite(metrics, done, graphs[drawn].graph.name, store))
            progress.update(done, f"loss {metrics.loss:.3f}")


def _shapes(arguments: Any) -> tuple:
    """What decides whether a program has to be compiled."""
    return tuple(np.shape(leaf) for leaf in jax.tree.leaves(arguments))


def _due(step: int, every: int) -> bool:
    return step > 0 and step % every == 0


def _no_longer_better(config: ConfigDict, step: int, store: CheckpointStore, console: rich.console.Console) -> bool:
    """Whether early stopping ends the run: a function of what is saved, so that a resumed run decides alike."""
    best = store.best_step()
    if not config.patience or best is None or step - best < config.patience * config.evaluate_every:
        return False
    console.print(f"held-out MRR has not risen since step {best}: stopped at step {step}", highlight=False)
    return True


def _not_finite(metrics: StepMetrics, step: int, graph: str, store: CheckpointStore) -> str:
    listed = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in metrics._asdict().items() if name != "counted")
    latest = store.latest_step()
    good = f"The last good checkpoint is step {latest} in {store.folder}" if latest else "There is no good checkpoint yet"
    return (
        f"step {step} on {graph}: {listed}: not finite. {good}; lower config.optimizer.learning_rate or "
        "config.optimizer.clip_norm and use a new --workdir."
    )


def _evaluate(run, params, step, store, writer, stop, console) -> bool:
    """Rates a step by the held-out facts of the training graphs; False if it was given up because of SIGTERM."""
    try:
        mrr = held_out_mrr(run, params, stop.give_up)
    except Interrupted:
        return False
    if mrr:
        mean = float(np.mean(list(mrr.values())))
        writer.write(step, {"valid_mrr": mean, **{f"valid_mrr/{name}": value for name, value in mrr.items()}})
        store.rate(step, mean)
        listed = ", ".join(f"{name} {value:.3f}" for name, value in mrr.items())
        console.print(f"step {step}: held-out MRR {mean:.3f} ({listed})", highlight=False, soft_wrap=True)
    return True


def held_out_mrr(run: Run, params: Any, on_batch: Callable[[], None] = lambda: None) -> dict[str, float]:
    """Filtered MRR (realistic) on a fixed sample of each training graph's validation facts, by name of a graph that has any.

    Several processes share the graphs out among themselves, and all of them return everything.

    Args:
      run: with the graphs.
      params: to evaluate.
      on_batch: called after each batch of queries; may raise to give up.
    """
    rated = [prepared for prepared in run.mixture.graphs if len(prepared.graph.valid)]
    mrr = np.zeros(len(rated))
    for i in range(jax.process_index(), len(rated), jax.process_count()):
        graph = rated[i].graph
        sample = sample_triples(graph.valid, run.config.valid_triples, run.config.seed)
        scorer = ModelScorer(run.model, params, run.codebooks, rated[i], run.config.batch.examples)
        ranks = rank_queries(scorer, graph, sample, 64, KnownAnswers.of_graph(graph), lambda *_: on_batch())
        mrr[i] = ranks.metrics()["mrr"]
    found = from_every_process(mrr).sum(axis=0).tolist()  # zero where another process has ranked
    return {prepared.graph.name: value for prepared, value in zip(rated, found, strict=True)}
