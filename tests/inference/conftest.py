"""A small model with its tokenizers, and the files of its export."""

import hashlib
import json
import shutil

import jax
import numpy as np
import pytest

from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.inference import pretrained as pretrained_module
from tofu_jax.inference.model_folder import CONFIG, WEIGHTS
from tofu_jax.inference.pretrained import Pretrained, parameter_shapes
from tofu_jax.model.tofu import ModelConfig, Tofu
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.image import PatchTokenizer
from tofu_jax.tokens.precomputed import PrecomputedTokens
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.tokenizers import Tokenizers

STEP = 12


@pytest.fixture(scope="session")
def text_tokenizer():
    return TextTokenizer.load()


def _make_model(text, image, parameter_shapes):
    """A `Pretrained` with random numbers in the shapes of the parameters: compiling the real ones would take long."""
    random = np.random.default_rng(0)
    model = Tofu(ModelConfig(width=4, layers=1, prompt_layers=1, relation_layers=1, fusion_heads=2))
    tokenizers = Tokenizers(text, image, 3, 2)
    shapes = parameter_shapes(model, tokenizers.codebooks)
    params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32) / 2, shapes)
    # What is hard to keep: a subnormal and negative zero.
    jax.tree.leaves(params)[0].flat[:2] = [np.float32(1e-42), np.float32(-0.0)]
    meta = {
        "model": {**vars(model.config), "operators": list(model.config.operators)},
        "tokens": {"text": 3, "image": 2, "examples": 2, "hops": NUM_HOPS},
        "codebooks": {k: {"name": v.name, "sha256": v.sha256} for k, v in tokenizers.codebooks.items()},
        "sources": [{"name": "flüsse | {seen}", "facts": 120, "removed_evaluation_facts": 34}],
        "graphs": [{"name": "flüsse", "facts": 120, "sha256": "ab" * 32}],
        "note": "a checkpoint may say more than the format has room for",
    }
    return Pretrained(model, params, tokenizers, 2, STEP, f"runs/small step {STEP}", meta)


@pytest.fixture(scope="session")
def small_model(text_tokenizer, remembered_shapes):
    vectors = np.random.default_rng(1).standard_normal((20, 32)).astype(np.float32)
    return _make_model(text_tokenizer, PatchTokenizer(Codebook("patches-v1-k20", vectors)), remembered_shapes)


@pytest.fixture(scope="session")
def model_without_images(text_tokenizer, remembered_shapes):
    return _make_model(text_tokenizer, None, remembered_shapes)


@pytest.fixture(scope="session")
def imported_tokens():
    """A tokenizer that knows the ids of one image."""
    codebook = Codebook("imported-5x6", np.random.default_rng(2).standard_normal((5, 6)).astype(np.float32))
    return PrecomputedTokens(codebook, {"a.png": np.array([1, 3, 3], np.int32)}, False, "tokens.npz")


@pytest.fixture(scope="session")
def model_of_imported_tokens(text_tokenizer, imported_tokens, remembered_shapes):
    return _make_model(text_tokenizer, imported_tokens, remembered_shapes)


@pytest.fixture(scope="session")
def exported(small_model, tmp_path_factory):
    """The folder of the exported model. Copy it to damage it."""
    folder = tmp_path_factory.mktemp("exported") / "small"
    small_model.save_pretrained(folder, licence="cc-by-4.0")
    return folder


@pytest.fixture(scope="session")
def copy(exported):
    """copy(folder, weights, agreed, **config): a copy with other weights (bytes) and other values in config.json.

    agreed: the SHA-256 of those weights stands in config.json, as whoever means harm would have it.
    """

    def make(folder, weights=None, agreed=True, **config):
        shutil.copytree(exported, folder)
        told = json.loads((folder / CONFIG).read_text())
        if weights is not None:
            (folder / WEIGHTS).write_bytes(weights)
            told["weights_sha256"] = hashlib.sha256(weights).hexdigest() if agreed else told["weights_sha256"]
        (folder / CONFIG).write_text(json.dumps(told | config))
        return folder

    return make


@pytest.fixture(scope="session")
def bits():
    """bits(params): what has to be equal for parameters to be the same."""

    def of(params):
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return {jax.tree_util.keystr(path): (leaf.dtype, leaf.shape, leaf.tobytes()) for path, leaf in leaves}

    return of


@pytest.fixture(scope="session")
def remembered_shapes():
    """`parameter_shapes`, traced once for each model."""
    shapes = {}

    def of(model, codebooks):
        key = model, *(codebook.vectors.shape[1] for codebook in codebooks.values())
        if key not in shapes:
            shapes[key] = parameter_shapes(model, codebooks)
        return shapes[key]

    return of


@pytest.fixture
def quick_loading(monkeypatch, text_tokenizer, remembered_shapes):
    """Reads the text codebook and traces each model once, so that hundreds of models can be loaded."""
    monkeypatch.setattr(TextTokenizer, "load", classmethod(lambda cls: text_tokenizer))
    monkeypatch.setattr(pretrained_module, "parameter_shapes", remembered_shapes)
