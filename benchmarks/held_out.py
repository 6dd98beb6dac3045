"""Compares checkpoints on held-out facts of their own training graphs: choose by this, not by benchmarks.

    python benchmarks/held_out.py --config=configs/foundation.py:<folder> --checkpoint=<run>,<run> [--examples=3,8]

Ranks config.valid_triples held-out facts of each graph of the mixture with every checkpoint, reading so many example facts of a
relation; filtered realistic MRR. All checkpoints have to be of the same image codebook. “Graphs that rose”: on
how many the MRR is higher than in the first line.
"""

import dataclasses
import statistics
import sys

import rich.box
import rich.table
from absl import flags
from ml_collections import config_flags

from tofu_jax import launching
from tofu_jax.errors import CheckpointError
from tofu_jax.inference.pretrained import load_pretrained
from tofu_jax.training.loop import held_out_mrr
from tofu_jax.training.run import create_run

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment whose graphs are meant.")
CHECKPOINTS = flags.DEFINE_list("checkpoint", None, "Folders of runs or models.")
EXAMPLES = flags.DEFINE_list("examples", [], "Numbers of example facts of a relation; default: as in the configuration.")
flags.mark_flags_as_required(["config", "checkpoint"])


def main(argv) -> None:
    launching.arguments(argv)
    console = launching.console()
    models = [load_pretrained(path) for path in CHECKPOINTS.value]
    for path, model in zip(CHECKPOINTS.value, models, strict=True):
        if model.meta["codebooks"] != models[0].meta["codebooks"]:
            raise CheckpointError(f"{path} has other codebooks than {CHECKPOINTS.value[0]}: compare them in runs of their own.")
    run = create_run(CONFIG.value, models[0], None, console)
    table = rich.table.Table("checkpoint", "examples", "mean MRR", "graphs that rose", box=rich.box.SIMPLE)
    first: dict[str, float] = {}
    for path, model in zip(CHECKPOINTS.value, models, strict=True):
        rated = dataclasses.replace(run, model=model.model)
        for number in map(int, EXAMPLES.value or [run.config.batch.examples]):
            run.config.batch.examples = number
            mrr = held_out_mrr(rated, model.params)
            first = first or mrr
            rose = sum(mrr[name] > first[name] for name in mrr)
            table.add_row(path, str(number), f"{statistics.fmean(mrr.values()):.4f}", f"{rose} of {len(mrr)}")
            details = ", ".join(f"{name} {value:.3f}" for name, value in mrr.items())
            console.print(f"{path}, {number} examples: {details}", highlight=False, soft_wrap=True)
    console.print(table)


if __name__ == "__main__":
    launching.run(sys.modules[__name__])
