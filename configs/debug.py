"""The whole path in a minute or two: 30 steps of a small model on a few countries, then zero-shot on the elements.

    python launch/pretrain.py --config=configs/debug.py --workdir=runs/debug

For trying out a change and for the tests; its scores mean nothing. Most of its time is compilation and encoding of texts, whose
results are kept for the next run.
"""

import ml_collections

from tofu_jax.training.defaults import default_config


def get_config() -> ml_collections.ConfigDict:
    """The experiment; all fields: tofu_jax/training/defaults.py."""
    config = default_config()
    config.graphs = ("countries",)
    config.subgraph_facts = 1_500
    config.subgraphs = 1
    config.zero_shot = ("elements",)
    config.steps = 30
    config.evaluate_every = 30
    config.checkpoint_every = 10
    config.valid_triples = 20
    config.tokens.image_codes = 64
    config.model.width = 8
    config.model.layers = 2
    config.model.prompt_layers = 1
    config.model.relation_layers = 1
    config.model.fusion_heads = 2
    config.batch.relations = 2
    config.batch.heads = 2
    config.batch.examples = 2
    config.optimizer.warmup_steps = 5
    return config
