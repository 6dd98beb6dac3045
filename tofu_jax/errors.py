"""Errors that a user can act on: each message says what is wrong, where, and what to do.

Commands print these without a traceback and exit with code 1; anything else is a bug and keeps its traceback.
"""


class TofuError(Exception):
    """Base of every error that this package raises on purpose."""


class DataError(TofuError):
    """Input data cannot be used: names the file and, where there is one, the line."""


class CheckpointError(TofuError):
    """A checkpoint is missing, damaged, or made for another model or codebook."""


class TrainingError(TofuError):
    """Training had to stop: names the step and the graph."""


class LostProcessError(TrainingError):
    """Another process of this run has ended, so that nothing which all of them do together will come to its end."""
