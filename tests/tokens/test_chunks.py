import json

import numpy as np
import pytest
import rich.console

from tofu_jax.errors import DataError
from tofu_jax.tokens.chunks import ChunkedWork

ITEMS = [f"item {i}" for i in range(10)]
SETTINGS = {"codebook": "a", "tokens": "8"}


class Lengths:
    """Computes lengths of strings; remembers of which, and stops where it is told to."""

    def __init__(self, stop_at=None):
        self.seen, self.stop_at = [], stop_at

    def __call__(self, chunks):
        for chunk in chunks:
            if self.stop_at in chunk:
                raise KeyboardInterrupt
            self.seen += chunk
            yield {"length": np.array([len(text) for text in chunk])}


def lengths(work, compute, items=ITEMS):
    return [length for chunk in work.in_chunks("the items", items, 3, compute) for length in chunk["length"]]


def test_nothing_is_kept_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compute = Lengths()
    assert lengths(ChunkedWork(), compute) == list(map(len, ITEMS))
    assert compute.seen == ITEMS
    assert lengths(ChunkedWork(), compute, []) == []
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_missing_is_computed(tmp_path):
    folder, stopped, resumed = tmp_path / "work", Lengths(stop_at="item 7"), Lengths()
    with pytest.raises(KeyboardInterrupt):
        lengths(ChunkedWork(folder=folder, settings=SETTINGS), stopped)
    assert stopped.seen == ITEMS[:6]
    (folder / ".the_items-000002.npz.1.unfinished").write_bytes(b"half")
    (folder / "the_items-000000.npz").write_bytes(b"damaged")
    assert lengths(ChunkedWork(folder=folder, settings=SETTINGS), resumed) == list(map(len, ITEMS))
    assert resumed.seen == [*ITEMS[:3], *ITEMS[6:]]
    again = Lengths()
    assert lengths(ChunkedWork(folder=folder, settings=SETTINGS), again) == list(map(len, ITEMS))
    assert not again.seen


def test_progress_counts_what_was_done_before(tmp_path):
    console = rich.console.Console(file=(tmp_path / "log").open("w"), width=100)
    with pytest.raises(KeyboardInterrupt):
        lengths(ChunkedWork(None, tmp_path / "work"), Lengths(stop_at="item 3"))
    lengths(ChunkedWork(console), Lengths(), ITEMS[:3])
    lengths(ChunkedWork(console, tmp_path / "work"), Lengths())
    lengths(ChunkedWork(console, tmp_path / "work"), Lengths())
    console.file.close()
    assert (tmp_path / "log").read_text().split() == ["the", "items", "10/10", "0", "min", "00", "s", "left"]


def test_work_of_others_is_refused(tmp_path):
    folder = tmp_path / "work"
    ChunkedWork(folder=folder, settings=SETTINGS)
    with pytest.raises(DataError, match=r"other settings:\n  codebook: a there, b now\n  new: absent there, 1 now\nDelete it"):
        ChunkedWork(folder=folder, settings={**SETTINGS, "codebook": "b", "new": "1"})
    (folder / "settings.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        ChunkedWork(folder=folder, settings=SETTINGS)
    (folder / "settings.json").unlink()
    (folder / "thesis.txt").touch()
    with pytest.raises(DataError, match="in the way"):
        ChunkedWork(folder=folder, settings=SETTINGS)


def test_a_kill_before_the_settings_were_written_is_no_obstacle(tmp_path):
    (tmp_path / ".settings.json.1.unfinished").touch()
    ChunkedWork(folder=tmp_path, settings=SETTINGS)
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS
