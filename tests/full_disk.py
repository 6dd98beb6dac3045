"""A disk that is full, without being root: no file may grow beyond some bytes."""

import contextlib
import resource


@contextlib.contextmanager
def most_bytes_per_file(count):
    """Writing more raises an OSError, in this process as long as the context lasts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
