"""What the model does otherwise, for benchmarks/ablations.py alone: an edge gate, the loss of ULTRA, one part left out."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tofu_jax.ops import reference
from tofu_jax.tokens.directions import token_means


def gated_sum(states, present, scale, swap_scale, bias, edges):
    """`ops.relational.relational_sum` with messages that a gate weighs, each for itself (KG-ICL, Cui et al. 2024).

    The gate σ(w · ReLU(W_x x + W_ρ [A ‖ C ‖ bias])) reads the state of the sender and what the relation does to it. Every
    message has to be written down for it. Called within a compact module, which then has these parameters.
    """
    width = states.shape[-1]
    by_relation = nn.Dense(width, name="gate_relation")(jnp.concatenate([scale, swap_scale, bias], axis=-1))[:, :, None]
    by_state = nn.Dense(width, use_bias=False, name="gate_state")(states)
    gate = nn.sigmoid(nn.Dense(1, name="gate_weight")(nn.relu(by_state[edges.senders] + by_relation[edges.relations])))
    sent, visible = reference.messages(states, present, scale, swap_scale, bias, edges)

    def by_receiver(values):
        return jax.ops.segment_sum(values, edges.receivers, len(states), indices_are_sorted=True)

    return by_receiver(gate * sent), by_receiver(visible.astype(sent.dtype))


def no_prompts(width, *_):
    """`model.prompt_encoder.PromptEncoder` that says nothing: relations are known by the relation graph alone."""
    return lambda prompts, entities, kinds: jnp.zeros((len(kinds), len(prompts.relation), width))


def no_relation_graph(width, _):
    """`model.relation_graph.RelationGraphEncoder` that says nothing: relations are known by their prompts alone."""
    return lambda relation_graph, overlap, kinds, query: jnp.zeros((len(kinds), len(query), width))


def no_mentions(labels, texts):
    """`tokens.mentions.mentions` that finds none."""
    return np.zeros((0, 2), np.int32)


def no_overlap(senders, relations, receivers, padded_relations):
    """`graphs.relation_types.overlap` that says nothing."""
    return np.zeros((padded_relations, padded_relations), np.float16)


def no_content_match(partitions):
    """`model.content.ContentMatch` that says nothing."""
    return lambda directions, r_query, times_answer, query, heads, edges, num_relations: 0.0


def vectors_of_tokens(self, texts, work=None):
    """`tokens.text.TextTokenizer.vectors` without the encoder: means of the vectors of a text's eight tokens."""
    return token_means(self.codebook.centred, *self(texts, 8, work)).astype(np.float16)


def binary_loss(scores, reached, described, answers, candidates, partitions=1):
    """`training.loss.link_loss` with a binary cross-entropy, other entities weighted by a softmax of their scores.

    The loss of RotatE, NBFNet and ULTRA (self-adversarial, temperature 1), against all entities instead of some drawn ones.
    For graphs in one piece.
    """
    row = answers[..., None]
    answer = jnp.take_along_axis(scores, row, axis=-1)[..., 0]
    others = candidates & (jnp.arange(scores.shape[-1]) != row)
    weights = jax.lax.stop_gradient(nn.softmax(jnp.where(others, scores, -jnp.inf), axis=-1))
    loss = nn.softplus(-answer) + (weights * nn.softplus(jnp.where(others, scores, 0))).sum(axis=-1)
    counted = (jnp.take_along_axis(reached, row, axis=-1)[..., 0] > 0) | described[answers]
    return jnp.where(counted, loss, 0).sum(), counted.sum().astype(scores.dtype)
