"""A cache folder of the test's own, no data but its own, and no network."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """The folder that prepared graphs go to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TOFU_JAX_DATA", raising=False)
    return tmp_path / "cache" / "tofu_jax" / "datasets"
