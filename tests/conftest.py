"""Quick compilation, shared builders (`making.py`) for every test module, and property tests that are repeatable."""

import gc
import os
import pathlib
import sys

from hypothesis import settings

from tofu_jax.launching import compile_faster

# Half of the time goes into compiling, and what is promised is up to the formulas, not to the compiler's optimisations.
# JAX reads it when it is imported, in the processes that tests start, too.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
compile_faster()

# Tracing makes and drops many small objects: looking for cycles after every 700 of them is a twentieth of the time.
gc.set_threshold(100_000, 20, 20)

# With --import-mode=importlib pytest leaves sys.path alone.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

# The same examples on every run; no deadline, since the first example of a shape compiles.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """Training takes longest: first, so that no worker waits in the end for another that has just begun with it."""
    items.sort(key=lambda item: "training" not in item.path.parts)
