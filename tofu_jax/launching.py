"""What every launch script does around its one call: errors for people, a compilation cache, a console."""

import os
import sys
from collections.abc import Callable

import jax
import rich.console
from absl import app, logging

from tofu_jax.cache_folder import cache_folder
from tofu_jax.errors import TofuError


def run(main: Callable) -> None:
    """Runs `main` under absl; an error that the user can act on is printed without a traceback, exit code 1."""

    def guarded(argv) -> None:
        logging.set_verbosity(logging.ERROR)  # Orbax tells each of its steps otherwise
        cache_compilations()
        try:
            main(argv)
        except TofuError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    app.run(guarded)


def console() -> rich.console.Console:
    """The terminal, or plain text of 100 columns where there is none."""
    terminal = rich.console.Console()
    return terminal if terminal.is_terminal else rich.console.Console(width=100)


def cache_compilations() -> None:
    """Keeps compiled programs in the user's cache folder, so that a second run starts at once.

    JAX_COMPILATION_CACHE_DIR names another folder; an empty value turns the cache off.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
