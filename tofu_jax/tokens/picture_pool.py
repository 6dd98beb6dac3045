"""A function of many pictures, read in worker processes."""

import concurrent.futures
import functools
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence

import threadpoolctl
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.shapes import Array
from tofu_jax.tokens.pictures import read_picture

_WORTH_PROCESSES = 500  # images; starting processes takes as long as so many
_PATHS_PER_TASK = 32


def available_cores() -> int:
    """Cores that this process may use: fewer than the machine has under `taskset` or in a container that pins them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each_picture(
    function: Callable[[Image.Image], Array], paths: Sequence[pathlib.Path], workers: int
) -> Iterator[Array | str]:
    """Reads pictures and applies a function to each.

    Args:
      function: of a picture as `pictures.read_picture` returns it; can be pickled.
      paths: of the files.
      workers: processes. More than one is used from some hundred pictures on and needs a script whose start is guarded by
        `if __name__ == "__main__"`.

    Yields:
      In the order of `paths`, what the function returned, or the reason where a picture cannot be read.

    Raises:
      DataError: a worker process died.
    """
    task = functools.partial(_apply_to_picture, function)
    # One BLAS thread per process: the products are small, and more threads only fight for the cores.
    if workers <= 1 or len(paths) < _WORTH_PROCESSES:
        with threadpoolctl.threadpool_limits(1):
            yield from map(task, paths)
        return
    # Processes, since resvg holds the interpreter lock; spawned, since forking a process that runs JAX may hang.
    context = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
            yield from pool.map(task, paths, chunksize=_PATHS_PER_TASK)
    except concurrent.futures.process.BrokenProcessPool as error:
        raise DataError(
            f"A process that reads pictures died, among {paths[0]} … {paths[-1]}: out of memory, or a decoder crashed on a "
            "damaged file. Free memory and run the command again, or take the file out."
        ) from error


def _start_worker() -> None:
    threadpoolctl.threadpool_limits(1)
    # Ctrl-C is for the parent. A parent that is killed can end nobody, so the workers wait for that themselves.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _apply_to_picture(function: Callable[[Image.Image], Array], path: pathlib.Path) -> Array | str:
    try:
        picture = read_picture(path)
    except DataError as error:
        return str(error)
    return function(picture)
