"""Tokenised data sets: killed and resumed, with broken images and without any, and as the command line makes them."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rich.console
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.graphs.datasets.store import open_graph, read_provenance
from tofu_jax.graphs.registry import load_graph
from tofu_jax.tokens import data_set, image, picture_pool
from tofu_jax.tokens.data_set import PatchFit, tokenize_data_set
from tofu_jax.tokens.image import PatchTokenizer
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.token_file import read_tokens
from tofu_jax.tokens.tokenizers import Tokenizers, open_image_tokenizer

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get("TOFU_JAX_DATA", "absent"))
FIT = PatchFit(num_codes=16)
# Tokenises the folder argv[1] as argv[2] in chunks of two images, and hangs in the third chunk (the codebook reads all 12).
HANGING = """
import itertools, sys, time
import rich.console
from tofu_jax.graphs.registry import load_graph
from tofu_jax.tokens import data_set, image, picture_pool
image._IMAGES_PER_CHUNK = 2
read_picture, count = picture_pool.read_picture, itertools.count()
picture_pool.read_picture = lambda path: (time.sleep(600 if next(count) > 12 + 4 else 0), read_picture(path))[1]
data_set.tokenize_data_set(load_graph(sys.argv[1]), sys.argv[2], data_set.PatchFit(num_codes=16), rich.console.Console())
"""


def write_graph_folder(folder, num_images=12, broken=()):
    """A ring of 16 entities with texts; the first ones have two pictures each, neighbours share one."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(num_images):
        path = folder / "images" / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64)).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[:60])
    ring = [f"e{i}\tnext\te{(i + 1) % 16}" for i in range(16)]
    for name, lines in {"train": ring, "valid": ["e0\tnext\te5"], "test": ["e1\tnext\te7"]}.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "entity2text.tsv").write_text("".join(f"e{i}\tname {i}\tsome text on thing {i}\n" for i in range(14)))
    images = [f"e{i}\t{number}.png\n" for number in range(num_images) for i in (number, number + 1)]
    (folder / "entity2image.tsv").write_text("".join(images))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_graph_folder(tmp_path / "graph")


@pytest.fixture
def console(tmp_path):
    with (tmp_path / "console").open("w+") as file:
        yield rich.console.Console(file=file, width=200)


def printed(console):
    console.file.seek(0)
    return console.file.read()


def arrays_of(output):
    return {name: np.load(output / name) for name in ("tokens.npz", "image_codebook.npz")}


def assert_equal_data_sets(first, second):
    for name, arrays in arrays_of(first).items():
        other = arrays_of(second)[name]
        assert arrays.files == other.files
        for key in arrays.files:
            np.testing.assert_array_equal(arrays[key], other[key], err_msg=f"{name} {key}")
    assert open_graph(first).fingerprint == open_graph(second).fingerprint


def test_killed_work_goes_on_where_it_was(folder, tmp_path, console, monkeypatch):
    output, partial = tmp_path / "out", tmp_path / "out.partial"
    process = subprocess.Popen([sys.executable, "-c", HANGING, folder, output], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(partial.glob("images-*.npz"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()

    monkeypatch.setattr(image, "_IMAGES_PER_CHUNK", 2)
    read, read_picture = [], picture_pool.read_picture
    monkeypatch.setattr(picture_pool, "read_picture", lambda path: (read.append(path.name), read_picture(path))[1])
    tokenize_data_set(load_graph(str(folder)), output, FIT, console)
    assert read == [f"{number}.png" for number in range(4, 12)]
    assert not partial.exists()
    tokenize_data_set(load_graph(str(folder)), tmp_path / "uninterrupted", FIT, console)
    assert_equal_data_sets(output, tmp_path / "uninterrupted")


def test_a_data_set_is_opened_with_its_tokens(folder, tmp_path, console, monkeypatch):
    graph = load_graph(str(folder))
    tokenize_data_set(graph, tmp_path / "out", FIT, console, provenance={"graph": "here"})
    assert "text tokens for 14 and image tokens for 13 of 16 entities;" in printed(console)
    opened = open_graph(tmp_path / "out")
    assert opened.token_file == tmp_path / "out" / "tokens.npz"
    assert (opened.fingerprint, opened.texts, opened.images) == (graph.fingerprint, graph.texts, graph.images)
    assert read_provenance(tmp_path / "out")["graph"] == "here"

    tokenizer = open_image_tokenizer(str(tmp_path / "out" / "image_codebook.npz"), ["graph"])
    assert isinstance(tokenizer, PatchTokenizer)
    tokenizers = Tokenizers(TextTokenizer.load(), tokenizer)
    monkeypatch.setattr(Tokenizers, "tokenize", None)  # what comes now comes from the file
    tokens = tokenizers(opened)
    monkeypatch.undo()
    for field in dataclasses.fields(tokens):
        np.testing.assert_array_equal(getattr(tokens, field.name), getattr(tokenizers(graph), field.name))


def test_the_same_command_again_does_nothing_and_another_one_is_refused(folder, tmp_path, console):
    graph, output = load_graph(str(folder)), tmp_path / "out"
    tokenize_data_set(graph, output, FIT, console)
    (tmp_path / "out.partial").mkdir()  # as a kill right after the renaming leaves it
    tokenize_data_set(graph, output, FIT, console)
    assert "is there already" in printed(console)
    assert not (tmp_path / "out.partial").exists()
    for other in (PatchFit(num_codes=17), None):
        with pytest.raises(DataError, match="exists and is not this graph with these tokens"):
            tokenize_data_set(graph, output, other, console)
    with pytest.raises(DataError, match="exists and is not this graph"):
        tokenize_data_set(graph, folder, FIT, console)


def test_unfinished_work_of_another_graph_is_refused(folder, tmp_path, console, monkeypatch):
    graph, output = load_graph(str(folder)), tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(data_set, "write_graph", None)
        tokenize_data_set(graph, output, FIT, console)
    assert not output.exists()
    changed = dataclasses.replace(graph, texts=("new text", *graph.texts[1:]))
    with pytest.raises(DataError, match=r"out\.partial: holds unfinished work with other settings:\n  names, texts and"):
        tokenize_data_set(changed, output, FIT, console)
    tokenize_data_set(graph, output, FIT, console)
    assert output.exists()


def test_broken_images_are_masked_and_listed(tmp_path, console, caplog):
    graph = load_graph(str(write_graph_folder(tmp_path / "graph", broken=(3, 4))))
    tokenize_data_set(graph, tmp_path / "out", FIT, console)
    lines = (tmp_path / "out" / "broken_images.txt").read_text().splitlines()
    assert [line.split(": cannot be read as a picture")[0] for line in lines] == [
        str(tmp_path / "graph" / "images" / name) for name in ("3.png", "4.png")
    ]
    assert "2 images cannot be read (see broken_images.txt)" in printed(console)
    assert "2 images are missing or broken and are masked" in caplog.text
    # Entity 4 had just these two.
    images = read_tokens(tmp_path / "out" / "tokens.npz").tokens.image_mask.any(axis=1)
    assert images.tolist() == [i <= 12 and i != 4 for i in range(16)]


def test_no_image_can_be_read(tmp_path, console):
    graph = load_graph(str(write_graph_folder(tmp_path / "graph", broken=range(12))))
    tokenize_data_set(graph, tmp_path / "out", FIT, console)
    assert len((tmp_path / "out" / "broken_images.txt").read_text().splitlines()) == 12
    stored = read_tokens(tmp_path / "out" / "tokens.npz")
    assert stored.tokens.text_mask.any() and not stored.tokens.image_mask.any()
    assert stored.codebooks["image"][0] == "no-images"


def test_no_images(tmp_path, console):
    graph = load_graph(str(write_graph_folder(tmp_path / "graph", num_images=0)))
    tokenize_data_set(graph, tmp_path / "out", FIT, console)
    assert not (tmp_path / "out" / "broken_images.txt").exists()
    assert read_tokens(tmp_path / "out" / "tokens.npz").codebooks["image"][0] == "no-images"


def test_the_command_takes_mygo_tokens(folder, tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "graph-visual.json").write_text('{"e3": [7, 7, 6], "e15": [1]}')
    np.save(tmp_path / "tokens" / "visual.npy", np.eye(8, 2, dtype=np.float32))
    arguments = (f"--graph={folder}", f"--output={tmp_path / 'out'}", f"--image_tokens={tmp_path}", "--num_image_tokens=2")
    done = subprocess.run(
        [sys.executable, "launch/tokenize_graph.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "image tokens for 2 of 16 entities" in done.stdout
    stored = read_tokens(tmp_path / "out" / "tokens.npz")
    assert stored.tokens.image_ids[[3, 15]].tolist() == [[7, 6], [1, 0]]
    assert stored.codebooks["image"][0] == "imported-8x2"


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "WN-IMGNET").is_dir(), reason="development data is not at hand")
def test_real_photographs(tmp_path, console):
    graph = load_graph(str(DATA / "WN-IMGNET"))
    tokenize_data_set(graph, tmp_path / "out", PatchFit(workers=2), console)
    tokens = read_tokens(tmp_path / "out" / "tokens.npz").tokens
    assert tokens.image_mask.any(axis=1).tolist() == [bool(images) for images in graph.images]
    assert tokens.text_mask.any(axis=1).all()
    assert not (tmp_path / "out" / "broken_images.txt").exists()
