"""How long it takes to tokenise graphs, and to open them once they are tokenised.

    python benchmarks/tokens.py <folder> [<folder> …]

Texts and images are read with all cores that the process may use (`taskset` limits them); texts: their ids, vectors, without
the cache, and mentions. The image codebook of 1,024 codes is learned from the images of the graph. Opening is what a run does
with a token file: read it, check it against the graph.
"""

import dataclasses
import os
import pathlib
import tempfile
import time
from collections.abc import Callable

import rich.console
import rich.table
from absl import app

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.readers import read_graph
from tofu_jax.tokens.image import PatchTokenizer
from tofu_jax.tokens.picture_pool import available_cores
from tofu_jax.tokens.sentence_cache import VARIABLE
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.token_file import read_tokens, write_tokens
from tofu_jax.tokens.tokenizers import Tokenizers

COLUMNS = ("graph", "entities", "texts (s)", "codebook (s)", "images", "images (s)", "images/s", "file (MB)", "open (ms)")


def timed(function: Callable, *arguments, repeats: int = 1, **options):
    """The result and the shortest time in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*arguments, **options)
        times.append(time.perf_counter() - start)
    return result, min(times)


def measure(graph: KnowledgeGraph, text: TextTokenizer, file: pathlib.Path) -> list[str]:
    """One row of the table."""
    workers = available_cores()
    paths = {graph.image_root / image for images in graph.images for image in images}
    image, fit_s = timed(PatchTokenizer.fit, paths, workers=workers)
    tokenizers = Tokenizers(text, image)
    tokens, text_s = timed(tokenizers.restricted_to(("text",)).tokenize, graph)
    seen, image_s = timed(tokenizers.restricted_to(("image",)).tokenize, graph)
    tokens = dataclasses.replace(tokens, image_ids=seen.image_ids, image_mask=seen.image_mask)
    write_tokens(file, tokens, graph, tokenizers.codebooks)

    def open_file() -> None:
        tokens = read_tokens(file).tokens_of(graph, tokenizers.codebooks, {"text": 8, "image": 8})
        assert not isinstance(tokens, str), tokens

    _, open_s = timed(open_file, repeats=5)
    seconds = (
        [f"{fit_s:.1f}", f"{len(paths):,}", f"{image_s:.1f}", f"{len(paths) / image_s:,.0f}"] if paths else ["", "0", "", ""]
    )
    size = file.stat().st_size / 1e6
    return [graph.name, f"{graph.num_entities:,}", f"{text_s:.1f}", *seconds, f"{size:.2f}", f"{1000 * open_s:.0f}"]


def main(argv) -> None:
    table = rich.table.Table(*COLUMNS, title=f"{available_cores()} cores")
    text = TextTokenizer.load()
    os.environ[VARIABLE] = ""  # the cache of vectors
    text.vectors([" ".join(["warm up"] * i) for i in range(1, 40)])  # each length is a program of its own
    with tempfile.TemporaryDirectory() as folder:
        for name in argv[1:]:
            graph = read_graph(name, keep_unseen_entities=True)
            table.add_row(*measure(graph, text, pathlib.Path(folder) / "tokens.npz"))
    rich.console.Console(width=110).print(table)


if __name__ == "__main__":
    app.run(main)
