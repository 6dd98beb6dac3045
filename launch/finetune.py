"""Trains a model further on one graph, with early stopping, then evaluates it there.

    python launch/finetune.py --graph=elements
    python launch/finetune.py --graph=<folder> --checkpoint=runs/mix --held_out=train --config.steps=1000

The same command again resumes. The same as `tofu-jax finetune`.
"""

from tofu_jax import launching
from tofu_jax.commands import finetune

if __name__ == "__main__":
    launching.run(finetune)
