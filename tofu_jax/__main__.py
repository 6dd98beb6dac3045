"""The console command `tofu-jax <verb> [flags]`, also `python -m tofu_jax`. Verbs: the modules of `tofu_jax/commands`.

Only the module of the verb is imported; the list of verbs is read from the sources.
"""

import ast
import difflib
import importlib
import pkgutil
import sys

from tofu_jax import commands

PROGRAM = "tofu-jax"
_HELP = ("-h", "--help", "help")


def main() -> None:
    """Runs the verb that the command line names; exit code 2 where it names none that there is."""
    if len(sys.argv) == 1 or sys.argv[1] in _HELP:
        print(_overview())
        return
    verb, *arguments = sys.argv[1:]
    known = _summaries()
    if verb not in known:
        nearest = difflib.get_close_matches(verb, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"choose one of {', '.join(known)}."
        print(f"error: {PROGRAM} has no verb {verb!r}; {hint} `{PROGRAM} --help` says what each does.", file=sys.stderr)
        sys.exit(2)
    command = importlib.import_module(f"{commands.__name__}.{verb.replace('-', '_')}")

    from tofu_jax import launching

    sys.argv = [f"{PROGRAM} {verb}", *arguments]  # here and not as an argument: ml_collections looks for overrides in sys.argv
    launching.run(command)


def _summaries() -> dict[str, str]:
    """Verb → first line of its module's docstring, without importing the module."""
    summaries = {}
    for module in pkgutil.iter_modules(commands.__path__):
        name = f"{commands.__name__}.{module.name}"
        source = module.module_finder.find_spec(name).loader.get_source(name)
        summaries[module.name.replace("_", "-")] = (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]
    return summaries


def _overview() -> str:
    verbs = _summaries()
    width = max(map(len, verbs))
    return "\n".join(
        [
            "tofu_jax predicts missing links in a knowledge graph that no model has seen before.",
            "",
            f"usage: {PROGRAM} <verb> [flags]",
            "",
            *(f"  {verb:{width}}  {summary}" for verb, summary in verbs.items()),
            "",
            f"`{PROGRAM} <verb> --help` shows examples and flags of a verb.",
        ]
    )


if __name__ == "__main__":
    main()
