"""What is promised of the package as a whole: no code is loaded from data (X1)."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve", "torch", "yaml"}
EXECUTORS = {"eval", "exec", "compile", "__import__"}


def loads_code(tree):
    """X1: line and name of all that could execute what a data file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from ((node.lineno, module) for module in modules if module.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            pickles = [word.value for word in node.keywords if word.arg == "allow_pickle"]
            if isinstance(node.func, ast.Name) and name in EXECUTORS:
                yield node.lineno, name
            elif any(not isinstance(value, ast.Constant) or value.value is not False for value in pickles):
                yield node.lineno, "allow_pickle"
            # NumPy's default is safe, but has to be said, so that nobody has to know.
            elif ast.unparse(node.func) in ("np.load", "numpy.load", "jnp.load") and not pickles:
                yield node.lineno, "np.load"


def test_nothing_executes_what_a_file_holds():
    files = [*ROOT.glob("tofu_jax/**/*.py"), *ROOT.glob("launch/*.py")]
    assert len(files) > 50
    found = [f"{path}:{line}: {name}" for path in files for line, name in loads_code(ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from torch import load",
        "import numpy.random, yaml",
        "eval('1')",
        "exec(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "numpy.lib.npyio.NpzFile(path, allow_pickle=option)",
    ],
)
def test_what_would_execute_it_is_found(code):
    assert list(loads_code(ast.parse(code)))


def test_what_would_not_is_let_pass():
    assert not list(loads_code(ast.parse("import re\nre.compile('x')\nnp.load(path, allow_pickle=False)\njson.load(file)")))
