"""Train a model on several graphs at once, then test it on graphs that it has not seen.

    tofu-jax pretrain --config=configs/mix.py [--workdir=runs/mix] [--config.steps=1000 …]

The configuration says which graphs are for what; each of its fields can be set with --config.<field>=…
The same command again resumes; on SIGTERM it saves and ends. Run by several processes at once, as on a TPU pod or under
SLURM, it is one run on all of their devices (docs/pods.md).
Results: <workdir>/report/<graph>/, curves.png, metrics.jsonl, tensorboard/.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from tofu_jax import launching
from tofu_jax.errors import DataError

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, such as configs/mix.py.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default: runs/<name of the configuration>.")
INITIAL_MODEL = flags.DEFINE_string("initial_model", None, "Begin with a run, an exported folder or owner/name, or widen it.")
FALL_BACK = flags.DEFINE_bool("fall_back", False, "Set damaged checkpoints aside and continue from the latest good one.")
PROFILE_STEPS = flags.DEFINE_integer("profile_steps", 0, "Record so many steps in <workdir>/profile.", lower_bound=0)
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "Several processes (docs/pods.md): host:port of the first.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this one is, from 0.", lower_bound=0)
HEARTBEAT_TIMEOUT_S = flags.DEFINE_integer("heartbeat_timeout_s", 100, "A lost process ends the others so late.", lower_bound=1)
INTERRUPTED_EXIT_CODE = flags.DEFINE_integer("interrupted_exit_code", 0, "Exit code after SIGTERM, when all is saved.")
flags.mark_flag_as_required("config")


def main(argv) -> int | None:
    launching.arguments(argv)
    path = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0])
    if not path.is_file():
        raise DataError(f"{path}: no such configuration; the shipped ones are in configs/.")

    from tofu_jax.evaluation.zero_shot import evaluate_and_report
    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.training.loop import pretrain
    from tofu_jax.training.parallel import is_first_process, join_processes

    join_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value, HEARTBEAT_TIMEOUT_S.value)
    console = launching.console(quiet=not is_first_process())
    workdir = pathlib.Path(WORKDIR.value or f"runs/{path.stem}")
    initial = load_pretrained(INITIAL_MODEL.value) if INITIAL_MODEL.value else None
    tokenizers = pretrain(
        CONFIG.value, workdir, console, initial=initial, fall_back=FALL_BACK.value, profile_steps=PROFILE_STEPS.value
    )
    if tokenizers is None:
        return INTERRUPTED_EXIT_CODE.value
    for target in CONFIG.value.zero_shot:
        graph = load_graph(target)
        pretrained = load_pretrained(workdir, image_tokens=tokenizers.image)
        report = workdir / "report" / graph.name if is_first_process() else None
        evaluate_and_report(pretrained, graph, console, report, workdir / "curves.png")
    console.print(f"Everything is in {workdir}/ (curves.png, report/, metrics.jsonl, tensorboard/).", highlight=False)
    return None
