"""Turns a training run into a folder to share: weights as safetensors, settings as JSON, and a model card.

    python launch/export.py --checkpoint=runs/mix --output=<folder>

The same as `tofu-jax export`.
"""

from tofu_jax import launching
from tofu_jax.commands import export

if __name__ == "__main__":
    launching.run(export)
