"""What a checkpoint says about the model in it, checked before anything is built from it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tofu_jax.errors import CheckpointError
from tofu_jax.graphs.prompts import NUM_HOPS
from tofu_jax.model.messages import OPERATORS
from tofu_jax.model.tofu import ModelConfig

# Bounds on what a file may ask for: far above any model so far, far below what keeps a machine busy for minutes.
_MOST = {"width": 4096, "layers": 64, "prompt_layers": 64, "relation_layers": 64, "fusion_heads": 4096}
_MOST_TOKENS = 4096


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of a model that this version can build.

    Attributes:
      model: sizes.
      num_text_tokens, num_image_tokens: T, V.
      num_examples: M, prompt examples per relation.
    """

    model: ModelConfig
    num_text_tokens: int
    num_image_tokens: int
    num_examples: int


def read_settings(meta: Mapping[str, Any], where: str) -> Settings:
    """Settings out of the JSON values of a checkpoint.

    Args:
      meta: of the checkpoint; "model" and "tokens" are read.
      where: what the values come from, for the message.

    Raises:
      CheckpointError: made by another version of the model, or a value that no model can have.
    """
    model, tokens = meta.get("model"), meta.get("tokens")
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    settings = set(model) if isinstance(model, dict) else set()
    hops = tokens.get("hops") if isinstance(tokens, dict) else None
    if settings != known or hops != NUM_HOPS:
        raise CheckpointError(
            f"{where}: made by another version of the model (settings {sorted(settings)}, {hops} hops; "
            f"this version has {sorted(known)}, {NUM_HOPS} hops). Train again, or install that version."
        )
    operators = model["operators"]
    if not isinstance(operators, list | tuple) or not operators or any(name not in OPERATORS for name in operators):
        raise CheckpointError(f"{where}: model.operators is {operators!r:.100}; some of {', '.join(OPERATORS)} are needed.")
    for name, most in _MOST.items():
        _check_count(model[name], most, f"{where}: model.{name}")
    if model["width"] % 2 or not model["fusion_heads"] or model["width"] % model["fusion_heads"] or not model["width"]:
        raise CheckpointError(
            f"{where}: width {model['width']} with {model['fusion_heads']} fusion heads; "
            "a width that is even and a multiple of the heads is needed."
        )
    counts = []
    for name in ("text", "image", "examples"):
        _check_count(tokens.get(name), _MOST_TOKENS, f"{where}: tokens.{name}")
        counts.append(tokens[name])
    return Settings(ModelConfig(**{**model, "operators": tuple(operators)}), *counts)


def _check_count(value: object, most: int, what: str) -> None:
    # Not isinstance: True would pass for 1.
    if type(value) is not int or not 0 <= value <= most:
        raise CheckpointError(f"{what} is {value!r:.100}; a whole number in 0..{most} is needed.")
