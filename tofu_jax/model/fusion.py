"""Level 1: fuses the text and image tokens of an entity into one state, whatever the query (TOFU, entity fusion)."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

MODALITIES = ("text", "image")


class EntityStates(NamedTuple):
    """What fusion knows about each entity.

    Attributes:
      fused: z, [N, d]; the learned null vector where an entity has neither text nor image.
      modality: {"text", "image"}: z^text and z^image, [N, d], zero where the modality is missing.
      present: {"text", "image"}: [N], 1 where the entity has the modality, else 0.
    """

    fused: jax.Array
    modality: Mapping[str, jax.Array]
    present: Mapping[str, jax.Array]


class EntityFusion(nn.Module):
    """The summary rows of one pre-norm transformer layer over [summary rows, text tokens, image tokens] with a mask.

    Three learned summary rows read the tokens: one reads all (z), one the text, one the image. Since nothing else of the
    layer's output is used, only these rows are computed; and since tokens carry no position, a token's key and value depend
    on its id alone and are computed once per row of the vocabulary instead of once per entity.
    """

    width: int
    num_heads: int = 4

    @nn.compact
    def __call__(self, nodes: Mapping[str, jax.Array], vocabularies: Mapping[str, jax.Array]) -> EntityStates:
        """Fuses tokens.

        Args:
          nodes: {"text_ids", "text_mask"} [N, T] and {"image_ids", "image_mask"} [N, V]; ids are vocabulary positions.
          vocabularies: {"text", "image"}: the frozen codebook vectors that occur in the graph [vocabulary, c].

        Returns:
          The states.
        """
        rows = (*MODALITIES, "fused")
        summary = self.param("summary", nn.initializers.normal(1.0), (len(rows), self.width))
        norm = nn.LayerNorm(name="attention_norm")
        project = {
            name: nn.DenseGeneral((self.num_heads, self.width // self.num_heads), name=name)
            for name in ("query", "key", "value")
        }
        normed = norm(summary)
        query, own_key, own_value = (project[name](normed) for name in ("query", "key", "value"))
        own_logit = (query * own_key).sum(-1)  # [rows, heads]: every row also sees itself

        logits, values, masks = {}, {}, {}
        for name in MODALITIES:
            tokens = norm(self._tokens(name, vocabularies[name]))
            table = jnp.einsum("khc,rhc->krh", project["key"](tokens), query)
            logits[name] = table[nodes[f"{name}_ids"]]  # [N, T, rows, heads]
            values[name] = project["value"](tokens)[nodes[f"{name}_ids"]]  # [N, T, heads, c]
            masks[name] = nodes[f"{name}_mask"]

        output = nn.DenseGeneral(self.width, axis=(-2, -1), name="attention_output")
        feed_forward = nn.Sequential(
            [nn.LayerNorm(name="feed_forward_norm"), nn.Dense(4 * self.width), nn.gelu, nn.Dense(self.width)]
        )
        final_norm = nn.LayerNorm(name="final_norm")
        states = {}
        for index, row in enumerate(rows):
            names = MODALITIES if row == "fused" else (row,)
            logit = jnp.concatenate([logits[name][:, :, index] for name in names], axis=1)
            value = jnp.concatenate([values[name] for name in names], axis=1)
            mask = jnp.concatenate([masks[name] for name in names], axis=1)
            attended = _attend(logit, value, mask, own_logit[index], own_value[index])
            state = summary[index] + output(attended)
            states[row] = final_norm(state + feed_forward(state))

        present = {name: masks[name].any(axis=1).astype(summary.dtype) for name in MODALITIES}
        anything = (present["text"] + present["image"])[:, None] > 0
        null = self.param("null", nn.initializers.normal(1.0), (self.width,))
        return EntityStates(
            fused=jnp.where(anything, states["fused"], null),
            modality={name: states[name] * present[name][:, None] for name in MODALITIES},
            present=present,
        )

    def _tokens(self, name: str, codebook: jax.Array) -> jax.Array:
        """Codebook vectors in the model's width [vocabulary, d]; the LayerNorm evens out codebooks of different scale."""
        vector = self.param(f"{name}_vector", nn.initializers.normal(0.5), (self.width,))
        projected = nn.Dense(self.width, name=f"{name}_projection")(codebook)
        return nn.LayerNorm(name=f"{name}_norm")(projected) + vector


def _attend(logit: jax.Array, value: jax.Array, mask: jax.Array, own_logit: jax.Array, own_value: jax.Array) -> jax.Array:
    """One summary row's attention over tokens and itself.

    Args:
      logit: [N, tokens, heads]; value: [N, tokens, heads, c]; mask: [N, tokens]; own_logit: [heads]; own_value: [heads, c].

    Returns:
      [N, heads, c].
    """
    scale = value.shape[-1] ** -0.5
    # Masked before the softmax, so that whatever stands in a masked slot has neither weight nor gradient.
    logit = jnp.where(mask[..., None], logit * scale, -jnp.inf)
    value = jnp.where(mask[..., None, None], value, 0)
    own = jnp.broadcast_to(own_logit * scale, (logit.shape[0], 1, own_logit.shape[0]))
    weights = nn.softmax(jnp.concatenate([own, logit], axis=1), axis=1)
    return weights[:, :1, :, None][:, 0] * own_value + jnp.einsum("nth,nthc->nhc", weights[:, 1:], value)
