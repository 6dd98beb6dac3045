"""Pre-training on the built-in mixture, then zero-shot on the elements.

    python launch/pretrain.py --config=configs/mix.py

Two graphs made from installed packages (countries with flags, emoji with glyphs); the graph of chemical elements is never
trained on and serves as the zero-shot target. About three minutes on two cores, longer the first time, when texts are encoded;
zero-shot MRR .40 on the elements (structure only .41, degree prior .27).
"""

import ml_collections

from tofu_jax.training.defaults import default_config


def get_config() -> ml_collections.ConfigDict:
    """The experiment; all fields: tofu_jax/training/defaults.py."""
    config = default_config()
    config.graphs = ("countries", "emoji")
    config.zero_shot = ("elements",)
    config.steps = 300
    config.evaluate_every = 150
    config.checkpoint_every = 50
    return config
