"""Flags that several commands have, each group with the call that it is for; they count as flags of the command that asks."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:  # commands import nothing heavy before their flags are parsed
    from tofu_jax.graphs.knowledge_graph import KnowledgeGraph
    from tofu_jax.graphs.readers.tables import TableOptions
    from tofu_jax.inference.pretrained import Pretrained

flags.disclaim_key_flags()


class TableFlags:
    """--columns and --header: how tables of facts are laid out."""

    def __init__(self) -> None:
        """Defines them."""
        self._columns = flags.DEFINE_list(
            "columns", None, "What the columns of tables hold, left to right; default: head,relation,tail. Others are skipped."
        )
        self._header = flags.DEFINE_bool(
            "header", None, "Whether tables begin with names of columns; default: where those are head, relation and tail."
        )

    def options(self) -> "TableOptions | None":
        """What was asked for; None if nothing was."""
        if self._columns.value is None and self._header.value is None:
            return None
        from tofu_jax.graphs.readers.tables import TRIPLE, TableOptions

        return TableOptions(tuple(self._columns.value or TRIPLE), self._header.value)


class GraphFlags:
    """--graph, --columns, --header and --keep_unseen_entities: the graph that a command is about."""

    def __init__(self, keep_unseen_entities: bool = False) -> None:
        """Defines them; the argument is the default of the last."""
        self._name = flags.DEFINE_string("graph", None, "The name of a data set, or a folder or file.")
        self._tables = TableFlags()
        self._keep_unseen = flags.DEFINE_bool(
            "keep_unseen_entities", keep_unseen_entities, "Accept held-out entities about which nothing is known."
        )
        flags.mark_flag_as_required("graph")

    @property
    def name(self) -> str:
        """As given."""
        return self._name.value

    def load(self, part: str | None = None) -> "KnowledgeGraph":
        """The graph; `part` as of `registry.load_graph`."""
        from tofu_jax.graphs.registry import load_graph

        return load_graph(self.name, part, self._keep_unseen.value, self._tables.options())


class ModelFlags:
    """--checkpoint, --step and --image_tokens: the model that a command begins with; with --modalities, what it may see."""

    def __init__(self, step: str = "latest", modalities: bool = True) -> None:
        """Defines them; `step` is the default of that flag."""
        self._checkpoint = flags.DEFINE_string(
            "checkpoint",
            None,
            "Folder of a run or of an exported model, or owner/name[@revision] on the hub; default: the model of the package.",
        )
        self._step = flags.DEFINE_string("step", step, "Of a run: a number, latest, or best (by held-out facts of its graphs).")
        self._image_tokens = flags.DEFINE_string("image_tokens", None, "Image token ids: see `tofu-jax tokenize --help`.")
        if not modalities:
            return
        self._modalities = flags.DEFINE_list("modalities", ["structure", "text", "image"], "What the model may see.")
        flags.register_validator(
            "modalities",
            lambda names: "structure" in names and set(names) <= {"structure", "text", "image"},
            "must hold structure, and may add text and image",
        )

    @property
    def checkpoint(self) -> str | None:
        """As given."""
        return self._checkpoint.value

    @property
    def image_tokens(self) -> str | None:
        """As given."""
        return self._image_tokens.value

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those beside structure, as `Pretrained.prepare` takes them."""
        return tuple(name for name in self._modalities.value if name != "structure")

    def load(self, graph: "KnowledgeGraph") -> "Pretrained":
        """The model, with image tokens for one graph if there are any."""
        from tofu_jax.inference.pretrained import load_pretrained
        from tofu_jax.tokens.tokenizers import open_image_tokenizer
        from tofu_jax.training.checkpoint import parse_step

        image_tokens = open_image_tokenizer(self._image_tokens.value, [graph.name]) if self._image_tokens.value else None
        return load_pretrained(self._checkpoint.value, parse_step(self._step.value), image_tokens)
