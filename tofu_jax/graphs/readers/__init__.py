"""Reads graphs from files: every layout in which knowledge graphs are published, each format by one library.

A folder is recognised by the files that it holds; if it fits none of these layouts, or several, that is an error.

    split files          train, valid, test: one graph. test_transductive takes the place of test where it is there.
    training and         train, valid, test (or test_transductive) of the training graph;
    inference graph      inference_graph, inference_valid, inference_test of a graph with other entities
    InGram               train: the training graph, of which nothing is held out; msg: the inference graph, valid and test: its
                         held-out facts, all entities and relations of which stand in msg
    ILPC 2022            train: the training graph; inference, inference_validation, inference_test: the inference graph
    GraIL                sibling folders X and X_ind: X is the training graph and what is read by default, X_ind the inference
                         graph; train, valid, test each
    OpenKE, MyGO         numbers instead of names, see `integer_ids`
    CoDEx                train, valid, test beside JSON files of texts, see `codex`
    one RDF file         facts that are not split

A single file of facts may also be given instead of a folder. What is not split is all message graph: `valid` and `test` are
empty. Files of facts have one of these suffixes, each also with .gz:

    .txt .tsv            a line each: head TAB relation TAB tail; no quotes
    .csv                 the same with commas, and quotes where a name holds commas, quotes or line ends
    .parquet             three columns of text
    .nt .ttl             N-Triples, Turtle
    .rdf .owl .xml       RDF/XML

Tables may have a header, columns in another order and further columns (`TableOptions`); RDF also holds texts and links to
images (`rdf`). In every layout texts and images may be added by tables (.tsv, .csv or .parquet) beside the facts, without a
header:

    entity2text          id, name, further text such as a description; may list entities of other graphs
    relation2text        id, name
    entity2image         id, path of a picture, a line per picture; paths are relative to a folder `images` in this folder or in
                         one of the three above it

Everything is UTF-8. Nothing is guessed: what does not fit is a `DataError` with file and line.
"""

import pathlib

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.graphs.raw import RawGraph, RawSplit
from tofu_jax.graphs.readers.descriptions import Descriptions, add_tables
from tofu_jax.graphs.readers.layouts import SUFFIXES, Part, locate, read_files, recognise, suffix_of
from tofu_jax.graphs.readers.named import number_names
from tofu_jax.graphs.readers.tables import TableOptions

__all__ = ["Part", "TableOptions", "read_graph", "read_raw"]


def read_graph(
    path: str | pathlib.Path,
    part: Part | None = None,
    keep_unseen_entities: bool = False,
    options: TableOptions = TableOptions(),  # noqa: B008, it is frozen
) -> KnowledgeGraph:
    """Reads one graph, ready for use.

    Args:
      path: a folder or a file (layouts: module docstring).
      part: "training" for the graph that a model may learn from, "inference" for the graph that it is evaluated on; None
        takes the inference graph where the folder holds one.
      keep_unseen_entities: whether held-out facts may name entities that stand in no fact of the message graph and have
        neither text nor image. Such an entity can only be ranked by its absence, so the default refuses it.
      options: where head, relation and tail stand in tables.

    Returns:
      The graph; entities and relations are numbered by first appearance (message graph, valid, test). Repeated facts of
      the message graph count once.

    Raises:
      DataError: a file is missing, empty, damaged or not UTF-8, a line has the wrong columns, an entity is unknown.
    """
    raw = read_raw(path, part, options)
    first = np.unique(fact_keys(raw.train.triples), return_index=True)[1]
    train = raw.train.triples if len(first) == len(raw.train.triples) else raw.train.triples[np.sort(first)]
    if not keep_unseen_entities:
        _refuse_unseen(raw)
    return KnowledgeGraph(
        name=raw.name,
        entities=raw.entities,
        relations=raw.relations,
        train=train,
        valid=raw.valid.triples,
        test=raw.test.triples,
        labels=raw.labels,
        texts=raw.texts,
        images=raw.images,
        image_root=raw.image_root,
        relation_labels=raw.relation_labels,
    )


def read_raw(
    path: str | pathlib.Path,
    part: Part | None = None,
    options: TableOptions = TableOptions(),  # noqa: B008, it is frozen
) -> RawGraph:
    """Reads what stands in the files of one graph: repeated facts, unknown entities and all.

    Args:
      path, part, options: see `read_graph`.

    Returns:
      The facts of each split in the order of their lines.

    Raises:
      DataError: a file is missing, empty, damaged or not UTF-8, or a line has the wrong columns.
    """
    path = pathlib.Path(path)
    descriptions = Descriptions()
    if path.is_file():
        if part == "inference" or suffix_of(path) not in SUFFIXES:
            wrong = "one file holds no inference graph" if part == "inference" else "unknown suffix"
            raise DataError(f"{path}: {wrong}; give a folder, or a file that ends in {' '.join(SUFFIXES)} (and .gz).")
        folder, name = path.parent, path.name.removesuffix(".gz").removesuffix(suffix_of(path))
        named = read_files([path], options, descriptions)
    elif path.is_dir():
        layout = recognise(path)
        paths = locate(path, layout, part or layout.default)
        folder, name = paths[0].parent, paths[0].parent.resolve().name
        named = layout.read(paths, options, descriptions)
    else:
        raise DataError(f"{path}: no such folder or file.")
    entities, relations, splits = number_names(named)
    train, valid, test = splits if len(splits) == 3 else (splits[0], *[_nothing(splits[0].source)] * 2)
    add_tables(descriptions, folder, set(entities), set(relations))
    labels, texts = descriptions.labels, descriptions.texts
    images = tuple(tuple(descriptions.images.get(entity, ())) for entity in entities)
    return RawGraph(
        name=name,
        entities=entities,
        relations=relations,
        train=train,
        valid=valid,
        test=test,
        labels=tuple(labels.get(entity, entity) for entity in entities),
        texts=tuple(" ".join(filter(None, (labels.get(entity), texts.get(entity)))) for entity in entities),
        images=images,
        image_root=descriptions.image_root if any(images) else None,
        relation_labels=tuple(descriptions.relation_labels.get(relation, relation) for relation in relations),
    )


def _nothing(source: pathlib.Path) -> RawSplit:
    return RawSplit(source, np.zeros((0, 3), np.int32), np.zeros(0, np.int64))


def _refuse_unseen(raw: RawGraph) -> None:
    """Raises for the first held-out entity that has no fact, no text and no image."""
    known = np.array([bool(text or images) for text, images in zip(raw.texts, raw.images, strict=True)])
    known[raw.train.triples[:, [0, 2]].ravel()] = True
    for split in (raw.valid, raw.test):
        bad = ~known[split.triples[:, [0, 2]]]
        if bad.any():
            row, side = np.argwhere(bad)[0]
            name = raw.entities[split.triples[row, 2 * side]]
            raise DataError(
                f"{split.source}:{split.lines[row]}: unknown entity {name!r}: it stands in no line of {raw.train.source.name} "
                f"and has neither text nor image ({(~known).sum()} such entities in all). Correct the name, describe it in "
                "entity2text.tsv, or accept such entities with --keep_unseen_entities."
            )
