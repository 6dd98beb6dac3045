"""Train a model on several graphs at once, then test it on graphs that it has not seen.

    tofu-jax pretrain --config=configs/mix.py [--workdir=runs/mix] [--config.steps=1000 …]

The configuration says which graphs are for what; each of its fields can be set with --config.<field>=…
The same command again resumes. Results: <workdir>/report/<graph>/, curves.png, metrics.jsonl, tensorboard/.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from tofu_jax import launching
from tofu_jax.errors import DataError

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, such as configs/mix.py.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default: runs/<name of the configuration>.")
flags.mark_flag_as_required("config")


def main(argv) -> None:
    launching.arguments(argv)
    path = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0])
    if not path.is_file():
        raise DataError(f"{path}: no such configuration; the shipped ones are in configs/.")

    from tofu_jax.evaluation.zero_shot import evaluate_and_report
    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.training.loop import pretrain

    console = launching.console()
    workdir = pathlib.Path(WORKDIR.value or f"runs/{path.stem}")
    tokenizers = pretrain(CONFIG.value, workdir, console)
    for target in CONFIG.value.zero_shot:
        graph = load_graph(target)
        pretrained = load_pretrained(workdir, image_tokens=tokenizers.image)
        evaluate_and_report(pretrained, graph, console, workdir / "report" / graph.name, workdir / "curves.png")
    console.print(f"Everything is in {workdir}/ (curves.png, report/, metrics.jsonl, tensorboard/).", highlight=False)
