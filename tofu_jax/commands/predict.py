"""Predict facts that a graph lacks: tails, heads, relations, or the likeliest facts of all.

    tofu-jax predict --graph=countries --head=France --relation=borders
    tofu-jax predict --graph=<folder or file> --tail=French --relation=speaks --k=20 --output=top.csv
    tofu-jax predict --graph=countries --head=Brazil --tail=Portuguese
    tofu-jax predict --graph=elements --all --relation=in_block --output=new.parquet
    tofu-jax predict --graph=<folder> --queries=questions.tsv --messages=all --output=answers.json

Entities and relations are called by id or label. What is left out is asked for: the tail, the head, or the relation. A file of
questions has lines of head TAB relation TAB tail, with ? for what is asked. Scores are for ranking only; --calibration adds
probabilities, fitted to the validation facts of the graph. --all asks everything, which takes hours on large graphs.
"""

import pathlib

from absl import app, flags

from tofu_jax import launching

FORMATS = {".csv": "to_csv", ".json": "to_json", ".parquet": "to_parquet"}

CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Folder of a run or of an exported model, or owner/name[@revision] on the hub; default: the model of the package.",
)
STEP = flags.DEFINE_string("step", "latest", "Step of a run: a number, latest, or best (by held-out facts of its graphs).")
GRAPH = flags.DEFINE_string("graph", None, "A folder or file, or the name of a built-in graph.")
HEAD = flags.DEFINE_multi_string("head", None, "Id or label; repeat the flag to ask about several.")
RELATION = flags.DEFINE_multi_string("relation", None, "Id or label; with --all it may be repeated.")
TAIL = flags.DEFINE_multi_string("tail", None, "Id or label; repeat the flag to ask about several.")
QUERIES = flags.DEFINE_string("queries", None, "A file of questions instead of --head, --relation and --tail.")
ALL = flags.DEFINE_bool("all", False, "The likeliest new facts of the graph; --head and --relation narrow the search.")
K = flags.DEFINE_integer("k", 10, "Predictions for each question; with --all, in all.", lower_bound=1)
KNOWN = flags.DEFINE_enum("known", "mark", ["mark", "drop"], "What to do with answers that the graph holds already.")
MESSAGES = flags.DEFINE_enum(
    "messages", "train", ["train", "all"], "Facts that the model sees: those of the training split, or all of them."
)
OUTPUT = flags.DEFINE_string("output", None, f"A file to write, ending in {', '.join(FORMATS)}.")
CALIBRATION = flags.DEFINE_string("calibration", None, "Folder of a calibration, which is made if it is not there.")
IMAGE_TOKENS = flags.DEFINE_string("image_tokens", None, "Image token ids: see `tofu-jax tokenize --help`.")
MODALITIES = flags.DEFINE_list("modalities", ["structure", "text", "image"], "What the model may see.")
flags.mark_flag_as_required("graph")
flags.register_validator(
    "modalities",
    lambda names: "structure" in names and set(names) <= {"structure", "text", "image"},
    "must hold structure, and may add text and image",
)
flags.register_validator(
    "output", lambda path: path is None or pathlib.Path(path).suffix in FORMATS, f"must end in {', '.join(FORMATS)}"
)


def main(argv) -> None:
    launching.arguments(argv)
    _check_question()

    from tofu_jax.graphs.registry import load_graph
    from tofu_jax.inference.pretrained import load_pretrained
    from tofu_jax.ops.relational import describe_backend
    from tofu_jax.tokens.tokenizers import open_image_tokenizer
    from tofu_jax.training.checkpoint import parse_step

    console = launching.console()
    queries = _queries()
    graph = load_graph(GRAPH.value, keep_unseen_entities=True)
    console.print(graph.summary(), highlight=False, soft_wrap=True)
    console.print(describe_backend(), highlight=False)
    image_tokens = open_image_tokenizer(IMAGE_TOKENS.value, [graph.name]) if IMAGE_TOKENS.value else None
    pretrained = load_pretrained(CHECKPOINT.value, parse_step(STEP.value), image_tokens)
    modalities = tuple(name for name in MODALITIES.value if name != "structure")
    predictor = pretrained.predictor(graph, MESSAGES.value, modalities)
    if ALL.value:
        predictions = predictor.best_facts(K.value, RELATION.value, HEAD.value, console)
    else:
        predictions = predictor.answer(queries, K.value, KNOWN.value, _calibration(predictor, console), console)
    console.print(predictions)
    if OUTPUT.value:
        getattr(predictions, FORMATS[pathlib.Path(OUTPUT.value).suffix])(OUTPUT.value)
        console.print(f"{len(predictions):,} predictions are in {OUTPUT.value}.", highlight=False, soft_wrap=True)


def _check_question() -> None:
    """Refuses combinations of flags that ask nothing, or two things at once."""
    named = [flag.name for flag in (HEAD, RELATION, TAIL) if flag.value]
    if QUERIES.value and (named or ALL.value):
        raise app.UsageError("--queries asks alone; leave out --head, --relation, --tail and --all.")
    if ALL.value and (TAIL.value or CALIBRATION.value):
        raise app.UsageError("--all goes with --head and --relation only; probabilities are for single questions.")
    if not QUERIES.value and not ALL.value and (len(named) != 2 or len(RELATION.value or ()) > 1):
        raise app.UsageError("give two of --head, --relation and --tail (one relation), or --queries=<file>, or --all.")


def _queries() -> list:
    """The questions of the command line."""
    from tofu_jax.inference.queries import Query, read_queries

    if QUERIES.value:
        return read_queries(QUERIES.value)
    relation = RELATION.value[0] if RELATION.value else None
    return [Query(head, relation, tail) for head in HEAD.value or [None] for tail in TAIL.value or [None]]


def _calibration(predictor, console):
    """The calibration of the folder that was asked for, made where it is not there; None if none was asked for."""
    from tofu_jax.inference.calibration import FILE, Calibration, calibrate

    if not CALIBRATION.value:
        return None
    folder = pathlib.Path(CALIBRATION.value)
    if (folder / FILE).exists():
        return Calibration.load(folder)
    made = calibrate(predictor, console=console)
    made.save(folder)
    error = made.reliability.expected_calibration_error
    console.print(f"Probabilities: expected calibration error {error:.3f}; see {folder}/.", highlight=False, soft_wrap=True)
    return made
