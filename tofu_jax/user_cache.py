"""Where results are kept that can be computed again."""

import os
import pathlib


def user_cache(name: str) -> pathlib.Path:
    """Folder in the user's cache folder, not created yet.

    Args:
      name: of what it holds.

    Raises:
      RuntimeError: the user has no home folder, and XDG_CACHE_HOME names no other.
    """
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tofu_jax" / name
