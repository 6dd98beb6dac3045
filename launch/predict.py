"""Predicts facts that a graph lacks, with a model that need not have seen the graph.

    python launch/predict.py --graph=countries --head=France --relation=borders

The same as `tofu-jax predict`.
"""

from tofu_jax import launching
from tofu_jax.commands import predict

if __name__ == "__main__":
    launching.run(predict)
