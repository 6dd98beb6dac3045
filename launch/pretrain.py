"""Pre-trains a model, then evaluates it zero-shot on the graphs that the configuration holds out.

    python launch/pretrain.py --config=configs/mix.py [--workdir=runs/mix] [--config.steps=1000 …]

The same command again resumes. Results: <workdir>/report/<graph>/, curves.png, metrics.jsonl, tensorboard/.
The same as `tofu-jax pretrain`.
"""

from tofu_jax import launching
from tofu_jax.commands import pretrain

if __name__ == "__main__":
    launching.run(pretrain)
