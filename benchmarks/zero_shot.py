"""Zero-shot figures of a checkpoint beside published ones, without training on any of the graphs.

    python benchmarks/zero_shot.py --checkpoint=runs/foundation --data=<folder> --output=<folder> [--graphs=…]

<folder> holds grail/fb237_v1–v4 and grail/WN18RR_v1–v4 (ranked on their inference graphs: valid + test together, as published
tables do, and test alone), DB15K and MKG-W (a fixed sample of 1,000 test facts). MRR with pessimistic ties, training facts or
the inference graph as messages, everything known filtered out. Several checkpoints (seeds) give mean and spread.
"""

import json
import pathlib
import statistics
import sys

import rich.box
import rich.table
from absl import flags

from tofu_jax import launching
from tofu_jax.evaluation.zero_shot import evaluate_zero_shot
from tofu_jax.graphs.registry import load_graph
from tofu_jax.inference.pretrained import load_pretrained

CHECKPOINTS = flags.DEFINE_list("checkpoint", None, "Folders of runs: one model each.")
DATA = flags.DEFINE_string("data", None, "Folder of the evaluation graphs.")
GRAPHS = flags.DEFINE_list("graphs", [], "Some of the graphs below; default: all.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for results.json and zero_shot.md.")
flags.mark_flags_as_required(["checkpoint", "data", "output"])

# Graph → (split, facts of a sample or None) of each figure.
FAMILIES = {"fb237": [f"fb237_v{i}" for i in (1, 2, 3, 4)], "WN18RR": [f"WN18RR_v{i}" for i in (1, 2, 3, 4)]}
TASKS = {name: [("valid+test", None), ("test", None)] for names in FAMILIES.values() for name in names}
TASKS |= {"DB15K": [("test", 1000)], "MKG-W": [("test", 1000)]}
# Published zero-shot MRR with the same protocol (structure only, except that SEMMA reads relation names); those of DB15K and
# MKG-W were measured with the released checkpoints on samples of 250 facts.
PUBLISHED = {
    "fb237_v1": {"ULTRA": 0.486, "MOTIF": 0.505, "SEMMA": 0.486, "TRIX": 0.515, "KG-ICL": 0.496},
    "fb237_v2": {"ULTRA": 0.501, "MOTIF": 0.511, "SEMMA": 0.503, "TRIX": 0.525, "KG-ICL": 0.552},
    "fb237_v3": {"ULTRA": 0.482, "MOTIF": 0.500, "SEMMA": 0.494, "TRIX": 0.501, "KG-ICL": 0.504},
    "fb237_v4": {"ULTRA": 0.477, "MOTIF": 0.487, "SEMMA": 0.492, "TRIX": 0.493, "KG-ICL": 0.486},
    "WN18RR_v1": {"ULTRA": 0.593, "MOTIF": 0.681, "SEMMA": 0.724, "TRIX": 0.699, "KG-ICL": 0.634},
    "WN18RR_v2": {"ULTRA": 0.621, "MOTIF": 0.663, "SEMMA": 0.705, "TRIX": 0.680, "KG-ICL": 0.634},
    "WN18RR_v3": {"ULTRA": 0.371, "MOTIF": 0.420, "SEMMA": 0.442, "TRIX": 0.424, "KG-ICL": 0.392},
    "WN18RR_v4": {"ULTRA": 0.484, "MOTIF": 0.640, "SEMMA": 0.664, "TRIX": 0.649, "KG-ICL": 0.585},
    "DB15K": {"ULTRA": 0.328, "TRIX": 0.385},
    "MKG-W": {"ULTRA": 0.352, "TRIX": 0.364},
}
STRUCTURE_ONLY = "structure only"


def graph_path(name: str) -> str:
    """Where a graph lies below --data."""
    folder = pathlib.Path(DATA.value)
    return str(folder / "grail" / name if any(name in names for names in FAMILIES.values()) else folder / name)


def measure(checkpoint: str, name: str, split: str, sample: int | None, console) -> dict:
    """Figures of one model on one graph."""
    graph = load_graph(graph_path(name), keep_unseen_entities=True)
    results = evaluate_zero_shot(load_pretrained(checkpoint), graph, console, split=split, max_triples=sample)
    controls = {key: policies["pessimistic"]["mrr"] for key, policies in results["controls"].items()}
    return {
        "graph": name,
        "split": split,
        "checkpoint": checkpoint,
        "queries": results["queries"],
        "seconds": results["seconds"],
        "mrr": results["metrics"]["pessimistic"]["mrr"],
        "hits@10": results["metrics"]["pessimistic"]["hits@10"],
        "controls": controls,
        "baselines": {key: policies["pessimistic"]["mrr"] for key, policies in results["baselines"].items()},
        "no_half_link": {
            "queries": results["strata"]["no_half_link"]["queries"],
            "model": results["strata"]["no_half_link"].get("mrr"),
            **results["strata"]["no_half_link"]["others"],
        },
    }


def mean_and_spread(values: list[float]) -> str:
    """ ".512", or ".512 ± .004" of several models."""
    mean = f"{statistics.mean(values):.3f}".lstrip("0")
    return mean + (f" ± {statistics.stdev(values):.3f}".replace("0.", ".") if len(values) > 1 else "")


def row(title: str, figures: list[dict], published: dict[str, float]) -> tuple[str, ...]:
    """One line of the table; `figures` of a graph, one of each model."""
    shuffled = next((key for key in figures[0]["controls"] if key.endswith("shuffled")), None)
    columns = [
        [f["mrr"] for f in figures],
        [f["controls"].get(STRUCTURE_ONLY, f["mrr"]) for f in figures],
        [f["controls"].get(shuffled, f["mrr"]) for f in figures],
    ]
    best = max(published, key=published.get, default=None)
    return (title, *map(mean_and_spread, columns), f"{published[best]:.3f} {best}".lstrip("0") if best else "")


def family_mean(figures: list[dict]) -> list[dict]:
    """One averaged figure a model over the graphs of a family."""
    averaged = []
    for checkpoint in CHECKPOINTS.value:
        own = [f for f in figures if f["checkpoint"] == checkpoint]
        keys = [STRUCTURE_ONLY, *(key for key in own[0]["controls"] if key.endswith("shuffled"))]
        # A control that a graph does not have (no text, no image) equals the model there.
        controls = {key: statistics.mean(f["controls"].get(key, f["mrr"]) for f in own) for key in keys}
        averaged.append({"mrr": statistics.mean(f["mrr"] for f in own), "controls": controls})
    return averaged


def summary(figures: list[dict]) -> rich.table.Table:
    """The table of the README."""
    table = rich.table.Table(box=rich.box.MARKDOWN)
    for heading in ("graph", "model", "structure only", "texts and images shuffled", "best published"):
        table.add_column(heading)
    for split in ("valid+test", "test"):
        for names in [*FAMILIES.values(), ["DB15K"], ["MKG-W"]]:
            chosen = [f for f in figures if f["split"] == split and f["graph"] in names]
            for name in names:
                if own := [f for f in chosen if f["graph"] == name]:
                    comparable = PUBLISHED[name] if split == TASKS[name][0][0] else {}
                    table.add_row(*row(f"{name}, {split}, {own[0]['queries']:,} queries", own, comparable))
            if len(names) > 1 and len({f["graph"] for f in chosen}) == len(names):
                methods = PUBLISHED[names[0]] if split == "valid+test" else {}
                published = {m: statistics.mean(PUBLISHED[name][m] for name in names) for m in methods}
                table.add_row(*row(f"mean of {names[0]}–v4, {split}", family_mean(chosen), published))
    return table


def main(_) -> None:
    console = launching.console()
    folder = pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for name, tasks in TASKS.items():
        if GRAPHS.value and name not in GRAPHS.value:
            continue
        for split, sample in tasks:
            for checkpoint in CHECKPOINTS.value:
                figures.append(measure(checkpoint, name, split, sample, console))
            (folder / "results.json").write_text(json.dumps(figures, indent=1) + "\n")
    wide = rich.console.Console(width=140, record=True)
    wide.print(summary(figures))
    (folder / "zero_shot.md").write_text(wide.export_text())


if __name__ == "__main__":
    launching.run(sys.modules[__name__])
