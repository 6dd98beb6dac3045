"""A checkpoint ready for use on any graph."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import rich.console

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
from tofu_jax.graphs.prepared import PreparedGraph
from tofu_jax.inference.calibration import Calibration
from tofu_jax.inference.explain import GraphExplainer
from tofu_jax.inference.explanation import Explanation
from tofu_jax.inference.model_folder import write_model
from tofu_jax.inference.predict import GraphPredictor, Known, Messages, message_graph
from tofu_jax.inference.predictions import Predictions
from tofu_jax.inference.queries import Query
from tofu_jax.inference.scorer import ModelScorer
from tofu_jax.inference.settings import read_settings
from tofu_jax.inference.smallest_graph import smallest_inputs
from tofu_jax.inference.sources import find_model
from tofu_jax.model.fusion import MODALITIES
from tofu_jax.model.tofu import Tofu
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.graph_tokens import GraphTokens
from tofu_jax.tokens.image import ImageTokenizer
from tofu_jax.tokens.text import TextTokenizer
from tofu_jax.tokens.tokenizers import Tokenizers, image_tokenizer_of
from tofu_jax.training.checkpoint import Restored, Step, check_tree

Names = str | Sequence[str] | None
_PREPARED_GRAPHS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """A model with its parameters and tokenizers; nothing in it depends on a graph.

    Attributes:
      model: the network.
      params: its parameters.
      tokenizers: that it was trained with.
      num_examples: M, prompt examples per relation.
      step: training steps behind the parameters.
      source: where it came from, for reports.
      meta: what the checkpoint says about itself.
    """

    model: Tofu
    params: Any
    tokenizers: Tokenizers
    num_examples: int
    step: int
    source: str
    meta: Mapping[str, Any]

    @property
    def restored(self) -> Restored:
        """What it was made from: all that an export or further training needs."""
        return Restored(self.step, self.params, self.tokenizers.codebooks["image"], self.meta)

    @functools.cached_property
    def codebooks(self) -> dict[str, jax.Array]:
        """{"text", "image"}: frozen vectors on the device."""
        return device_codebooks(self.tokenizers.codebooks)

    def with_examples(self, number: int) -> "Pretrained":
        """The same model that reads so many example facts of each relation: all where there are fewer, at most 16."""
        tokens = {**self.meta["tokens"], "examples": number}
        return dataclasses.replace(self, num_examples=number, meta={**self.meta, "tokens": tokens})

    def prepare(
        self,
        graph: KnowledgeGraph,
        modalities: tuple[str, ...] = MODALITIES,
        console: rich.console.Console | None = None,
    ) -> tuple[PreparedGraph, GraphTokens]:
        """Tokenises a graph and lays it out.

        Args:
          graph: to ask about.
          modalities: which of `fusion.MODALITIES` the model may see beside structure.
          console: for progress; None: standard error, where that is a terminal.

        Returns:
          The graph, and its tokens so that parts of them can be taken away or mixed up.
        """
        if console is None and (errors := rich.console.Console(stderr=True)).is_terminal:
            console = errors
        tokens = self.tokenizers.restricted_to(modalities)(graph, ChunkedWork(console))
        return PreparedGraph.create(graph, tokens, self.tokenizers.codebooks), tokens

    def scorer(self, graph: PreparedGraph) -> ModelScorer:
        """Scores queries on a prepared graph."""
        return ModelScorer(self.model, self.params, self.codebooks, graph, self.num_examples)

    def predictor(
        self, graph: KnowledgeGraph, messages: Messages = "train", modalities: tuple[str, ...] = MODALITIES
    ) -> GraphPredictor:
        """Answers questions about a graph.

        The first call for a graph prepares it (seconds for a graph of the size of FB15k-237); the last two stay prepared, as
        long as this model lives.

        Args:
          graph: to ask about.
          messages: which of its facts the model sees, "train" or "all"; see `predict.message_graph`.
          modalities: which of `fusion.MODALITIES` the model may see beside structure.
        """
        key = (graph, messages, modalities)
        if key not in self._predictors:
            while len(self._predictors) >= _PREPARED_GRAPHS:
                del self._predictors[next(iter(self._predictors))]
            prepared, _ = self.prepare(message_graph(graph, messages), modalities)
            self._predictors[key] = GraphPredictor(graph, self.scorer(prepared), self.source, messages)
        return self._predictors[key]

    @functools.cached_property
    def _predictors(self) -> dict[tuple, GraphPredictor]:
        return {}

    def predict(
        self,
        graph: KnowledgeGraph,
        *,
        relation: Names,
        head: Names = None,
        tail: Names = None,
        k: int = 10,
        known: Known = "mark",
        messages: Messages = "train",
        calibration: Calibration | None = None,
    ) -> Predictions:
        """The likeliest tails of (head, relation, ?), or heads of (?, relation, tail).

            model.predict(graph, head="France", relation="borders", k=10)
            model.predict(graph, tail=["French", "Spanish"], relation="speaks")

        Args:
          graph: to ask about; the model need not have seen it.
          relation, head, tail: ids or labels; give the head or the tail. Lists ask one question for each item, those of equal
            length side by side; a single name goes with every item.
          k: answers to a question.
          known: "mark" says of each answer in which split the graph holds it already; "drop" leaves such answers out.
          messages: "train" shows the model the training facts only, as in an evaluation, and leaves held-out facts to be
            predicted; "all" shows it every fact of the graph, which is best for finding new ones.
          calibration: of this model on this graph (`calibration.calibrate`): adds probabilities.

        Returns:
          A table. Scores are for ranking only.

        Raises:
          DataError: a name is unknown or ambiguous, or an option is none.
        """
        queries = _side_by_side(head=head, relation=relation, tail=tail)
        return self.predictor(graph, messages).answer(queries, k, known, calibration)

    def predict_relation(
        self,
        graph: KnowledgeGraph,
        *,
        head: Names,
        tail: Names,
        k: int = 10,
        known: Known = "mark",
        messages: Messages = "train",
    ) -> Predictions:
        """The likeliest relations from a head to a tail; arguments as in `predict`.

        The fact is scored with each relation of the graph, from both ends, so a pair costs as much as R questions of `predict`
        (twice the number of relations).
        """
        queries = _side_by_side(head=head, relation=None, tail=tail)
        return self.predictor(graph, messages).answer(queries, k, known)

    def predict_all(
        self,
        graph: KnowledgeGraph,
        *,
        k: int = 100,
        relations: Sequence[str] | None = None,
        heads: Sequence[str] | None = None,
        messages: Messages = "train",
        console: rich.console.Console | None = None,
    ) -> Predictions:
        """The k likeliest facts that stand in no split of the graph.

        Every head is asked about with every relation, and each likely tail is asked back, so that a fact is scored from both
        ends: N·R/2 to N·R questions, each a pass over the whole graph. That takes hours where N·R is in the hundreds of
        thousands: choose relations or heads then. Memory does not grow with the questions. A tail that is not among the 64
        likeliest of its head and relation is not considered.

        Args:
          graph: to ask about.
          k: facts to return.
          relations, heads: ids or labels to ask about; None for all.
          messages: as in `predict`.
          console: to show progress on, with the time left.
        """
        return self.predictor(graph, messages).best_facts(k, relations, heads, console)

    def explain(
        self, graph: KnowledgeGraph, *, head: str, relation: str, tail: str, k: int = 5, messages: Messages = "train"
    ) -> Explanation:
        """Why a tail stands where it does as the answer to (head, relation, ?).

            print(model.explain(graph, head="France", relation="borders", tail="Spain"))

        Args:
          graph: to ask about.
          head, relation, tail: ids or labels. A fact that stands among the messages is hidden for the explanation: the model
            would else say that it is true because it is there.
          k: most paths.
          messages: as in `predict`.

        Returns:
          The strongest paths from head to tail, how the tail does without each of them, and without texts and images.

        Raises:
          DataError: a name is unknown or ambiguous, or an option is none.
        """
        scorer = self.predictor(graph, messages).scorer
        return GraphExplainer(graph, scorer, self.source, messages).explain(head, relation, tail, k)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        licence: str | None = None,
        figures: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        """Exports the model to a folder that `load_pretrained` reads on any machine: weights, settings and a model card.

        Args:
          folder: made if it is not there; an older export in it is replaced.
          name: for the card; by default the name of the folder.
          licence: of the weights, as the Hugging Face hub spells it ("apache-2.0"); None: not stated.
          figures: results.json files of evaluations of this model, for the card.

        Raises:
          DataError: the folder holds something else or cannot be written; or an argument cannot be used.
          CheckpointError: the checkpoint does not tell what has to be told with a model.
        """
        write_model(pathlib.Path(folder), self.restored, name, licence, figures)

    def untrained(self, seed: int = 0) -> "Pretrained":
        """The same model with fresh parameters: the control that shows what training is worth."""
        codebooks = self.tokenizers.codebooks
        return dataclasses.replace(self, params=initial_params(self.model, codebooks, seed), step=0, source="untrained")


def _side_by_side(**parts: Names) -> list[Query]:
    """One question for each place of the lists; single names (and None) go with every place."""
    lengths = {name: len(part) for name, part in parts.items() if part is not None and not isinstance(part, str)}
    if len(set(lengths.values())) > 1:
        raise DataError(f"Lists of names must be of one length, got {lengths}.")
    count = next(iter(lengths.values()), 1)
    columns = ([part] * count if part is None or isinstance(part, str) else part for part in parts.values())
    return [Query(*names) for names in zip(*columns, strict=True)]


def device_codebooks(codebooks: Mapping[str, Codebook]) -> dict[str, jax.Array]:
    """Puts codebook vectors on the device, centred."""
    return {name: jnp.asarray(codebook.centred) for name, codebook in codebooks.items()}


def initial_params(model: Tofu, codebooks: Mapping[str, Codebook], seed: int) -> Any:
    """Fresh parameters. Their shapes depend on the model and the codebooks' widths, not on any graph.

    Args:
      model: the network.
      codebooks: {"text", "image"}.
      seed: the only source of randomness.
    """
    return _initializer(model)(*_init_arguments(codebooks, seed))


def parameter_shapes(model: Tofu, codebooks: Mapping[str, Codebook]) -> Any:
    """`jax.ShapeDtypeStruct`s in the place of `initial_params`, for nothing."""
    return jax.eval_shape(model.init, *_init_arguments(codebooks, 0))


def _init_arguments(codebooks: Mapping[str, Codebook], seed: int) -> tuple:
    # One row of each codebook is enough: only its width matters.
    rows = {name: jnp.zeros((1, codebook.vectors.shape[1])) for name, codebook in codebooks.items()}
    return jax.random.key(seed), *smallest_inputs(rows)


@functools.cache
def _initializer(model: Tofu) -> Callable[..., Any]:
    """Compiled once a process and hardly optimised: it takes milliseconds to run, but many seconds to optimise."""
    return jax.jit(model.init, compiler_options={"xla_backend_optimization_level": 0})


def load_pretrained(
    source: str | os.PathLike[str] | None = None, step: Step = None, image_tokens: ImageTokenizer | None = None
) -> Pretrained:
    """Loads a model for zero-shot use. No code of it is executed, whatever the source.

    Args:
      source: None for the model that is shipped with the package, the folder of a run (or its folder checkpoints/), the
        folder of an exported model, or "owner/name" or "owner/name@revision" for an exported model on the Hugging Face hub.
        What exists as a folder is never looked up on the hub.
      step: of a run: a number, "best", or None for the latest.
      image_tokens: the tokenizer to use for images where the checkpoint was trained on imported token ids; it must have the
        same codebook. A checkpoint with its own patch codebook needs none.

    Raises:
      CheckpointError: no checkpoint, damaged, of another codebook or of other settings than this version knows.
    """
    restored, described = find_model(source, step)
    meta, settings = restored.meta, read_settings(restored.meta, described)
    model = Tofu(settings.model)
    text = TextTokenizer.load()
    text.codebook.check(meta["codebooks"]["text"]["name"], meta["codebooks"]["text"]["sha256"])
    trained = restored.image_codebook
    if image_tokens is not None:
        image_tokens.codebook.check(trained.name, trained.sha256)
    tokenizers = Tokenizers(
        text, image_tokens or image_tokenizer_of(trained), settings.num_text_tokens, settings.num_image_tokens
    )
    check_tree(parameter_shapes(model, tokenizers.codebooks), restored.params)
    return Pretrained(model, restored.params, tokenizers, settings.num_examples, restored.step, described, meta)
