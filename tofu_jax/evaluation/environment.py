"""Where something was measured."""

import datetime
import importlib.metadata
import os
import platform

import jax

from tofu_jax.ops.relational import active_backend

_PACKAGES = ("jax", "jaxlib", "flax", "numpy")


def environment() -> dict[str, str]:
    """Date, versions and devices, as words."""
    devices = jax.devices()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "devices": f"{len(devices)} × {devices[0].device_kind}",
        "message passing": active_backend(),
    }
