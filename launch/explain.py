"""Explains a prediction: paths from head to tail, and what texts, images and structure are worth.

    python launch/explain.py --graph=countries --head=France --relation=borders --tail=Spain

The same as `tofu-jax explain`.
"""

from tofu_jax import launching
from tofu_jax.commands import explain

if __name__ == "__main__":
    launching.run(explain)
