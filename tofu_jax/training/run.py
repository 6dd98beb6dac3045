"""What a configuration makes: model, optimizer, tokenizers and training graphs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
import rich.console
from ml_collections import ConfigDict

from tofu_jax.errors import TrainingError
from tofu_jax.graphs.excluded_facts import ExcludedFacts
from tofu_jax.graphs.graphs_tuple import shared_sizes
from tofu_jax.graphs.held_out import hold_out, num_leaked
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.graphs.registry import load_graph
from tofu_jax.graphs.subgraphs import subgraphs
from tofu_jax.inference.pretrained import Pretrained, device_codebooks, initial_params
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.picture_pool import available_cores
from tofu_jax.tokens.tokenizers import Tokenizers, fit_tokenizers
from tofu_jax.training.batch_size import heads_within
from tofu_jax.training.checkpoint import Restored, check_tree
from tofu_jax.training.curriculum import create_curriculum
from tofu_jax.training.mixture import BatchConfig, Mixture
from tofu_jax.training.optimizer import OptimizerConfig, create_optimizer
from tofu_jax.training.placement import Placement, check_devices, part_of_process
from tofu_jax.training.step import TrainState
from tofu_jax.training.widening import widened


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What training works with; everything is determined by the configuration.

    Attributes:
      config: of the experiment (configs/mix.py lists the fields).
      model, optimizer: with their settings.
      tokenizers: of texts and images.
      mixture: of the training graphs.
      codebooks: frozen vectors on the device.
      placement: makes the arguments of a step from a batch.
      meta: what its checkpoints say about themselves: JSON values.
      initial: the model that it begins with; None: parameters from the seed.
    """

    config: ConfigDict
    model: Tofu
    optimizer: optax.GradientTransformation
    tokenizers: Tokenizers
    mixture: Mixture
    codebooks: Mapping[str, jax.Array]
    placement: Placement
    meta: Mapping[str, Any]
    initial: Pretrained | None

    def data_hashes(self) -> dict[str, Any]:
        """What is the same wherever the same graphs are read with the same tokenizers."""
        return {
            "graphs": [prepared.graph.fingerprint for prepared in self.mixture.graphs],
            "codebooks": [codebook.sha256 for _, codebook in sorted(self.tokenizers.codebooks.items())],
        }

    def fresh_state(self) -> TrainState:
        """An empty optimizer, and the parameters of the initial model, widened if need be, or from the seed."""
        params = initial_params(self.model, self.tokenizers.codebooks, self.config.seed)
        if self.initial is not None:
            given, sizes = self.initial.params, (self.initial.model.config, self.model.config)
            given = widened(given, params, *sizes, self.config.seed)
            check_tree(params, given)
            params = jax.tree.map(jnp.asarray, given)
        return TrainState.create(params, self.optimizer)


def create_run(config: ConfigDict, initial: Pretrained | None, latest: Restored | None, console: rich.console.Console) -> Run:
    """Loads, tokenises and lays out the graphs of a configuration.

    Args:
      config: of the experiment.
      initial: the model to begin with, whose image codebook is then used; None for a new one.
      latest: the checkpoint to continue with, if the run has one.
      console: for summaries.
    """
    earlier = latest or (initial.restored if initial else None)
    batch = BatchConfig(**config.batch)
    check_devices(batch, jax.device_count(), jax.local_device_count())
    graphs, sources, source_of = training_graphs(config, console)
    console.print("tokenising texts and images …", highlight=False)
    tokenizers = fit_tokenizers(
        graphs,
        config.tokens.images,
        config.tokens.text_tokens,
        config.tokens.image_tokens,
        config.tokens.image_codes,
        config.seed,
        trained=earlier.image_codebook if earlier else None,
        workers=available_cores(),
    )
    for name, codebook in tokenizers.codebooks.items() if earlier else ():
        codebook.check(earlier.meta["codebooks"][name]["name"], earlier.meta["codebooks"][name]["sha256"])
    tokens = [tokenizers(graph, ChunkedWork(console)) for graph in graphs]
    sizes = shared_sizes(graphs, tokens)
    prepared = [
        PreparedGraph.create(g, t, tokenizers.codebooks, **size) for g, t, size in zip(graphs, tokens, sizes, strict=True)
    ]
    model = Tofu(ModelConfig(**{**config.model, "operators": tuple(config.model.operators)}))
    return Run(
        config=config,
        model=model,
        optimizer=create_optimizer(OptimizerConfig(**config.optimizer), config.steps),
        tokenizers=tokenizers,
        mixture=Mixture(
            prepared,
            batch,
            config.seed,
            create_curriculum(config, [len(graph.train) for graph in graphs], source_of),
            [heads_within(batch, model.config, len(p.padded.entity_mask), jax.device_count()) for p in prepared],
            part_of_process(batch.edge_partitions),
        ),
        codebooks=(codebooks := device_codebooks(tokenizers.codebooks)),
        placement=Placement(codebooks, prepared, batch.edge_partitions),
        meta=latest.meta if latest else _meta(config, model, tokenizers, sources, graphs, earlier),
        initial=initial,
    )


def _meta(config, model, tokenizers, sources, graphs, earlier: Restored | None) -> dict[str, Any]:
    """What a checkpoint says about itself; the graphs that an earlier checkpoint has seen come first."""
    seen = [{"name": g.name, "facts": len(g.train), "sha256": g.fingerprint} for g in graphs]
    before = {"sources": (), "graphs": ()} if earlier is None else earlier.meta
    return {
        "model": dataclasses.asdict(model.config),
        "tokens": {
            "text": tokenizers.num_text_tokens,
            "image": tokenizers.num_image_tokens,
            "examples": config.batch.examples,
            "hops": NUM_HOPS,
        },
        "codebooks": {k: {"name": v.name, "sha256": v.sha256} for k, v in tokenizers.codebooks.items()},
        "sources": [*before["sources"], *(source for source in sources if source not in before["sources"])],
        "graphs": [*before["graphs"], *(graph for graph in seen if graph not in before["graphs"])],
    }


def training_graphs(
    config: ConfigDict, console: rich.console.Console
) -> tuple[list[KnowledgeGraph], list[dict[str, Any]], list[int]]:
    """Loads the mixture's graphs, without the facts that are excluded, the large ones cut into sub-graphs.

    Returns:
      graphs: of the mixture.
      sources: name, facts and number of removed facts of each graph of the configuration.
      source_of: for each of `graphs`, the position in `sources` that it comes from.
    """
    if config.held_out not in ("valid", "train"):
        raise TrainingError(f"config.held_out is {config.held_out!r}; give 'valid' or 'train'.")
    excluded = ExcludedFacts.read(config.exclude)
    graphs, sources, source_of = [], [], []
    for name in config.graphs:
        graph, removed = excluded.remove_from(load_graph(name, config.part, config.keep_unseen_entities))
        graph = hold_out(graph, config.seed) if config.held_out == "train" else graph
        parts = subgraphs(graph, config.subgraph_facts or len(graph.train), config.subgraphs, config.seed)
        note = f"; {removed:,} evaluation facts removed from train" if config.exclude else ""
        note += f"; cut into {len(parts)} sub-graphs" if len(parts) > 1 else ""
        note += f"; {leaked:,} of the validation facts stand in train" if (leaked := num_leaked(graph)) else ""
        console.print(graph.summary() + note, highlight=False, soft_wrap=True)
        graphs += parts
        source_of += [len(sources)] * len(parts)
        sources.append({"name": graph.name, "facts": len(graph.train), "removed_evaluation_facts": removed})
    return graphs, sources, source_of
