"""Prompt graphs of large graphs, built once and kept on disk.

Small graphs build the few prompt graphs that are asked for in no time. For a graph of LEAST_FACTS facts or more all of them are
built when it is first prepared; later runs read them and need neither colours nor a search. One file per graph: a SHA-256 over
its key and the records, then the records as they lie in memory.
"""

import hashlib
import os
import pathlib
import tempfile

import numpy as np
import rich.console

from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.prompt_search import NUM_EDGES, NUM_HOPS, NUM_NODES, POOL_SIZE
from tofu_jax.graphs.prompts import RECORD, PromptIndex
from tofu_jax.graphs.structural_colors import ROUNDS, text_keys
from tofu_jax.progress import Progress
from tofu_jax.shapes import Array
from tofu_jax.user_cache import user_cache

LEAST_FACTS = 100_000
MOST_RECORDS = 50_000  # 0.2 GB, a minute of work; of more only those are built that are asked for
FORMAT = 1  # to be raised when the same graph gets other prompt graphs or records
VARIABLE = "TOFU_JAX_PROMPT_CACHE"
_BATCH = 64  # prompt graphs between two reports of progress


def prompt_index(graph: KnowledgeGraph) -> PromptIndex:
    """The prompt graphs of a graph: all of them from or to the cache where it is large, else built when asked for.

    TOFU_JAX_PROMPT_CACHE names another folder than the user's cache folder; an empty value turns the cache off. Whatever is
    wrong with the cache costs a note on standard error, and time.
    """
    index = PromptIndex(graph)
    folder = _folder()
    if folder is None or len(graph.train) < LEAST_FACTS or len(index.records) > MOST_RECORDS:
        return index
    console = rich.console.Console(stderr=True)
    key = cache_key(graph)
    path = folder / f"{key.hex()}.prompts"
    try:
        if path.exists():
            index.adopt(_read(path, key))
            return index
    except (OSError, ValueError) as error:
        console.print(f"{path}: {error}; the prompt graphs are built again.", highlight=False, soft_wrap=True)
    rows = np.arange(len(index.records))
    index.build(rows[:1])  # sorts the graph, which would spoil the estimate of the time left
    with Progress(f"prompt graphs of {graph.name}", len(rows), console, done=1) as progress:
        for start in range(0, len(rows), _BATCH):
            index.build(rows[start : start + _BATCH])
            progress.update(min(start + _BATCH, len(rows)))
    try:
        _write(path, key, index.records)
    except OSError as error:
        console.print(
            f"{folder}: the prompt graphs of {graph.name} cannot be kept ({error}); {VARIABLE} names another folder.",
            highlight=False,
            soft_wrap=True,
        )
    return index


def cache_key(graph: KnowledgeGraph) -> bytes:
    """SHA-256 over all that determines the prompt graphs: facts, texts, sizes and FORMAT; names and held-out facts do not."""
    sizes = (FORMAT, NUM_HOPS, NUM_NODES, NUM_EDGES, POOL_SIZE, ROUNDS, graph.num_entities, graph.num_relations)
    digest = hashlib.sha256(repr(sizes).encode())
    digest.update(text_keys(graph).astype("<u8").tobytes())
    digest.update(np.ascontiguousarray(graph.train).astype("<i4").tobytes())
    return digest.digest()


def _folder() -> pathlib.Path | None:
    named = os.environ.get(VARIABLE)
    if named is not None:
        return pathlib.Path(named) if named else None
    try:
        return user_cache("prompts")
    except RuntimeError:  # no home folder
        return None


def _digest(key: bytes, records: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(records)
    return digest.digest()


def _read(path: pathlib.Path, key: bytes) -> Array:
    """Records of a file; a `ValueError` where they are not those that were written for this key."""
    data = path.read_bytes()
    size = hashlib.sha256().digest_size
    if data[:size] != _digest(key, memoryview(data)[size:]):
        raise ValueError("damaged")
    return np.frombuffer(data, RECORD, offset=size)


def _write(path: pathlib.Path, key: bytes, records: Array) -> None:
    """Writes under a name of its own and renames, so that a reader, or another process that writes, sees whole files only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            data = records.tobytes()
            file.write(_digest(key, data))
            file.write(data)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
