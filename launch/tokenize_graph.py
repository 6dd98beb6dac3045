"""Reads the texts and images of a graph once, and writes it as a data set that every run opens with its tokens.

    python launch/tokenize_graph.py --graph=<folder or name> --output=<folder>
    python launch/tokenize_graph.py --graph=<folder> --output=<folder> --checkpoint=runs/mix

The same command again resumes. All flags: --help. The same as `tofu-jax tokenize`, but not called tokenize.py: Python puts the
folder of a script first in its search path, and its own module of that name would be hidden.
"""

from tofu_jax import launching
from tofu_jax.commands import tokenize

if __name__ == "__main__":
    launching.run(tokenize)
