"""Lets every test module import the shared builders of `making.py`, and makes property tests repeatable."""

import pathlib
import sys

from hypothesis import settings

# With --import-mode=importlib pytest leaves sys.path alone.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

# The same examples on every run; no deadline, since the first example of a shape compiles.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
