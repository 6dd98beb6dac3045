"""The folder of a run that never was: what commands need that use a model, for nothing."""

import jax
import numpy as np

from tofu_jax.inference.pretrained import parameter_shapes
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.tokenizers import Tokenizers
from tofu_jax.training.checkpoint import CheckpointStore
from tofu_jax.training.step import TrainState


def write_random_run(folder):
    """Writes a checkpoint of a very small model with random parameters, and returns the folder."""
    model = Tofu(ModelConfig(width=4, layers=1, prompt_layers=1, relation_layers=1, fusion_heads=2, operators=("translation",)))
    codebooks = Tokenizers(TextTokenizer.load(), None).codebooks
    random = np.random.default_rng(0)
    shapes = parameter_shapes(model, codebooks)
    params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32) / 2, shapes)
    meta = {
        "model": {**vars(model.config)},
        "tokens": {"text": 2, "image": 1, "examples": 2, "hops": 3},
        "codebooks": {name: {"name": book.name, "sha256": book.sha256} for name, book in codebooks.items()},
        "sources": [],
        "graphs": [],
    }
    store = CheckpointStore(folder / "checkpoints")
    store.save(3, TrainState(params, {"count": np.zeros(1)}), codebooks["image"], meta)
    store.close()
    return folder
