"""`tofu-jax` itself: which verbs there are, what their help says, and how a mistyped command line is answered."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

from tofu_jax import __main__ as program
from tofu_jax import commands

ROOT = pathlib.Path(__file__).parents[2]
HEAVY = ("jax", "flax", "numpy", "scipy", "matplotlib", "transformers")
# Says on the last line of stderr which heavy packages were imported on the way.
TRACED = f"""
import sys
from tofu_jax.__main__ import main
try:
    main()
finally:
    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def tofu_jax(*arguments):
    """Runs the command in a process of its own; returns code, stdout, lines of stderr, heavy imports."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", TRACED, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    *errors, heavy = done.stderr.splitlines()
    return done.returncode, done.stdout, errors, heavy


def verbs():
    return [path.stem.replace("_", "-") for path in pathlib.Path(commands.__path__[0]).glob("*.py") if path.stem != "__init__"]


def test_the_overview_lists_every_verb_and_imports_nothing_heavy():
    code, out, errors, heavy = tofu_jax("--help")
    assert (code, errors, heavy) == (0, [], "[]")
    listed = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    assert sorted(verb for verb, _ in listed) == sorted(verbs())
    assert all(summary.endswith(".") and len(summary) < 120 for _, summary in listed)
    assert {"pretrain", "zero-shot"} <= set(verbs())


def test_a_verbs_help_shows_its_own_flags_and_does_not_load_the_model():
    code, out, errors, heavy = tofu_jax("zero-shot", "--help")
    assert (code, errors, heavy) == (0, [], "[]")
    flags = [line.split()[0] for line in out.splitlines() if line.startswith("  --")]
    assert flags[:3] == ["--checkpoint=<…>", "--step=<…>", "--graph=<…>"]
    assert "--[no]controls" in flags
    assert "verbosity" not in out
    assert [line.split()[0] for line in out.splitlines() if line.endswith("(required)")] == [flags[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zero_shot"], "has no verb 'zero_shot'; did you mean 'zero-shot'?"),
        (["qwxyz"], "has no verb 'qwxyz'; choose one of "),
        (["zero-shot", "--grap=x"], "Unknown command line flag 'grap'"),
        (["zero-shot", "--checkpoint=x"], "Flag --graph must have a value"),
        (["zero-shot", "x", "--graph=x", "--checkpoint=x"], "expected nothing but flags, got 'x'."),
        (["pretrain", "--config=configs/debug.py", "--config.stepz=3"], "has no field 'stepz' Did you mean \"steps\""),
    ],
)
def test_a_mistyped_command_line(arguments, message):
    code, out, errors, _ = tofu_jax(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(errors)
    assert errors[0].startswith("error: ")
    assert "--help` " in errors[-1]


def test_a_missing_configuration():
    code, _, errors, _ = tofu_jax("pretrain", "--config=configs/nowhere.py")
    assert (code, errors) == (1, ["error: configs/nowhere.py: no such configuration; the shipped ones are in configs/."])


def test_the_installed_command_is_this_one():
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.Call)]
    scripts = next(keyword.value for call in calls for keyword in call.keywords if keyword.arg == "entry_points")
    assert ast.literal_eval(scripts) == {"console_scripts": [f"{program.PROGRAM}={program.__name__}:{program.main.__name__}"]}
