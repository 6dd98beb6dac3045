"""Fine-tuning: training that begins with a model, on the one graph that is asked about."""

from ml_collections import ConfigDict

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.inference.pretrained import Pretrained
from tofu_jax.training.defaults import default_config


def finetuning_run(
    settings: ConfigDict,
    pretrained: Pretrained,
    graph: str,
    held_out: str,
    image_tokens: str | None = None,
    keep_unseen_entities: bool = False,
) -> ConfigDict:
    """The configuration with which `loop.pretrain` fine-tunes; `initial` there is the same model.

    Args:
      settings: fields of `defaults.finetuning_config`.
      pretrained: sizes, tokens and prompt examples are as there.
      graph: a name or a path; of an inductive folder the inference graph.
      held_out: "valid" or "train", see `defaults.default_config`.
      image_tokens: of the graph, where the model was trained on imported token ids; see `tokenizers.open_image_tokenizer`.
      keep_unseen_entities: see `readers.read_graph`.
    """
    config = default_config()
    config.update(settings)
    config.graphs, config.part, config.zero_shot = (graph,), None, ()
    config.held_out, config.keep_unseen_entities = held_out, keep_unseen_entities
    model, tokens = pretrained.meta["model"], pretrained.meta["tokens"]
    config.model.update({**model, "operators": tuple(model["operators"])})
    config.tokens.update({"text_tokens": tokens["text"], "image_tokens": tokens["image"]})
    config.tokens.images = image_tokens or "patches"
    config.batch.examples = pretrained.num_examples
    return config


def check_held_out(graph: KnowledgeGraph, held_out: str) -> None:
    """Raises a `DataError` where no fact would rate a step, so that there were no best one in the end.

    Args:
      graph: to fine-tune on.
      held_out: as in `finetuning_run`.
    """
    if held_out == "valid" and not len(graph.valid):
        raise DataError(f"{graph.name}: no validation facts to rate a step by; give --held_out=train, or add some.")
