"""Answers questions about a graph over HTTP, and shows a page to ask them on.

    python launch/serve.py --graph=countries --checkpoint=runs/mix

The same as `tofu-jax serve`.
"""

from tofu_jax import launching
from tofu_jax.commands import serve

if __name__ == "__main__":
    launching.run(serve)
