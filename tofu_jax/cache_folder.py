"""Where this package keeps what it can make again."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """`tofu_jax` in the user's cache folder, which is ~/.cache unless XDG_CACHE_HOME names another."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tofu_jax"
