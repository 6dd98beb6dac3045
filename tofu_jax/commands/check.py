"""Look for mistakes in a graph: leaks between splits, repeated facts, unknown or doubled names, missing images.

    tofu-jax check my/folder
    tofu-jax check my/folder --part=training --output=my/report
    tofu-jax check elements

Prints what was found, the gravest first, each with its place and what to do about it. An error makes figures wrong or keeps
other commands from using the graph; a warning is probably a mistake or makes figures look better than they are; a note is
good to know. The exit code is 1 if there are errors, or if the files cannot be read at all, and 0 otherwise.
"""

import pathlib

from absl import flags

from tofu_jax import launching

OUTPUT = flags.DEFINE_string("output", None, "Folder for check.json (all places), check.md, degrees.png and relations.png.")
PART = flags.DEFINE_enum(
    "part", None, ["training", "inference"], "Which graph of an inductive folder; default: the inference graph if there is one."
)


def main(argv) -> int:
    (name,) = launching.arguments(argv, "folder, file or name of a graph")

    from tofu_jax.graphs.check import check_graph
    from tofu_jax.graphs.check.report import print_check, write_check
    from tofu_jax.graphs.registry import load_raw

    check = check_graph(load_raw(name, PART.value))
    console = launching.console()
    print_check(check, console)
    if OUTPUT.value:
        write_check(check, pathlib.Path(OUTPUT.value))
        console.print(f"All places and pictures are in {OUTPUT.value}.", markup=False, highlight=False)
    return 1 if check.count("error") else 0
