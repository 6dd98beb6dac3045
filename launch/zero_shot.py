"""Evaluates a checkpoint on a graph it has never seen; no training.

    python launch/zero_shot.py --checkpoint=runs/mix --graph=elements
    python launch/zero_shot.py --checkpoint=runs/mix --graph=<folder> --split=valid+test --output=<folder>

A folder with inference_graph.txt is evaluated on its inference graph. Files: tofu_jax/graphs/readers/__init__.py.
The same as `tofu-jax zero-shot`.
"""

from tofu_jax import launching
from tofu_jax.commands import zero_shot

if __name__ == "__main__":
    launching.run(zero_shot)
