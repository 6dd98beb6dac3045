"""Reads a folder of tab-separated files into a `KnowledgeGraph`.

    train.txt valid.txt test.txt                                      one graph: head TAB relation TAB tail
    inference_graph.txt inference_valid.txt inference_test.txt        a second graph with other entities (inductive folders);
                                                                      its training graph's test split is test_transductive.txt
    entity2text.tsv      id TAB name [TAB description [TAB types]]    optional; may list entities of other graphs
    relation2text.tsv    id TAB name [TAB description]                optional
    entity2image.tsv     id TAB image path [TAB …], a line per image  optional; paths are relative to a folder `images`
                                                                      in this folder or in one of the three above it

Everything is UTF-8. Nothing is guessed: what does not fit is a `DataError` with file and line.
"""

import pathlib
from collections.abc import Iterator
from typing import Literal

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.graphs.knowledge_graph import KnowledgeGraph, fact_keys
from tofu_jax.shapes import Array

Part = Literal["training", "inference"]

_SPLIT_FILES: dict[Part, tuple[str, ...]] = {
    "training": ("train.txt", "valid.txt", "test.txt"),
    "inference": ("inference_graph.txt", "inference_valid.txt", "inference_test.txt"),
}


def read_folder(folder: str | pathlib.Path, part: Part | None = None, keep_unseen_entities: bool = False) -> KnowledgeGraph:
    """Reads one graph of a folder (layout: module docstring).

    Args:
      folder: with the files above.
      part: "training" for the graph that a model may learn from, "inference" for the graph that it is evaluated on;
        None takes the inference graph where there is one.
      keep_unseen_entities: whether held-out facts may name entities that stand in no fact of the message graph and have
        neither text nor image. Such an entity can only be ranked by its absence, so the default refuses it.

    Returns:
      The graph; entities and relations are numbered by first appearance (message graph, valid, test). Repeated lines of
      the message graph count once.

    Raises:
      DataError: a file is missing, empty or not UTF-8, a line has the wrong columns, an entity is unknown.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    if part is None:
        part = "inference" if (folder / _SPLIT_FILES["inference"][0]).exists() else "training"
    paths = [folder / name for name in _SPLIT_FILES[part]]
    if part == "training" and (folder / "test_transductive.txt").exists():
        paths[2] = folder / "test_transductive.txt"
    for path in paths:
        if not path.is_file():
            names = ", ".join(p.name for p in paths)
            raise DataError(f"{path}: no such file. The {part} graph of a folder needs {names}.")

    entity_ids: dict[str, int] = {}
    relation_ids: dict[str, int] = {}
    splits = [_read_triples(path, entity_ids, relation_ids) for path in paths]
    train = splits[0][np.sort(np.unique(fact_keys(splits[0]), return_index=True)[1])]

    labels, texts = _read_entity_texts(folder / "entity2text.tsv", entity_ids)
    images, image_root = _read_images(folder, entity_ids)
    if not keep_unseen_entities:
        _refuse_unseen(paths, splits, train, [bool(t or i) for t, i in zip(texts, images, strict=True)], entity_ids)
    return KnowledgeGraph(
        name=folder.resolve().name,
        entities=tuple(entity_ids),
        relations=tuple(relation_ids),
        train=train,
        valid=splits[1],
        test=splits[2],
        labels=labels,
        texts=texts,
        images=images,
        image_root=image_root,
        relation_labels=_read_relation_labels(folder / "relation2text.tsv", relation_ids),
    )


def _lines(path: pathlib.Path, min_columns: int, max_columns: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, columns); a number of columns outside the bounds raises."""
    try:
        # A byte order mark is no part of the first name; only \n ends a line, other line breaks may stand inside a name.
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; convert the file to UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    if lines and not lines[-1].strip("\r"):
        lines.pop()
    for number, line in enumerate(lines, start=1):
        columns = line.rstrip("\r").split("\t")
        if len(columns) < min_columns or (max_columns is not None and len(columns) > max_columns):
            wanted = f"{min_columns}" if max_columns == min_columns else f"at least {min_columns}"
            raise DataError(
                f"{path}:{number}: {len(columns)} column(s), expected {wanted}, separated by tabs. The line: {line[:80]!r}"
            )
        yield number, columns


def _read_triples(path: pathlib.Path, entity_ids: dict[str, int], relation_ids: dict[str, int]) -> Array:
    """Reads int32 [n, 3], giving new names the next ids."""
    triples = []
    for number, (head, relation, tail) in _lines(path, 3, 3):
        if not (head and relation and tail):
            raise DataError(f"{path}:{number}: an empty head, relation or tail; every column needs a name.")
        triples.append(
            (
                entity_ids.setdefault(head, len(entity_ids)),
                relation_ids.setdefault(relation, len(relation_ids)),
                entity_ids.setdefault(tail, len(entity_ids)),
            )
        )
    if not triples:
        raise DataError(f"{path}: no triples; the split is empty.")
    return np.array(triples, dtype=np.int32)


def _refuse_unseen(
    paths: list[pathlib.Path], splits: list[Array], train: Array, described: list[bool], entity_ids: dict[str, int]
) -> None:
    """Raises for the first held-out entity that has no fact, no text and no image."""
    known = np.array(described)
    known[train[:, [0, 2]].ravel()] = True
    unknown = [(p, s, ~known[s[:, [0, 2]]]) for p, s in zip(paths[1:], splits[1:], strict=True)]
    count = len(np.unique(np.concatenate([s[:, [0, 2]][bad] for _, s, bad in unknown])))
    for path, split, bad in unknown:
        if bad.any():
            line, side = np.argwhere(bad)[0]
            name = list(entity_ids)[split[line, 2 * side]]
            raise DataError(
                f"{path}:{line + 1}: unknown entity {name!r}: it stands in no line of {paths[0].name} and has neither text "
                f"nor image ({count} such entities in all). Correct the name, describe it in entity2text.tsv, or accept "
                "such entities with --keep_unseen_entities."
            )


def _read_entity_texts(path: pathlib.Path, entity_ids: dict[str, int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns labels [N] (the id where no name is given) and texts [N] (name, description, types)."""
    labels, texts = list(entity_ids), [""] * len(entity_ids)
    if path.exists():
        for _, (entity, name, *rest) in _lines(path, 2):
            position = entity_ids.get(entity)
            if position is not None:
                labels[position] = name or entity
                texts[position] = " ".join(part for part in (name, *rest) if part)
    return tuple(labels), tuple(texts)


def _read_relation_labels(path: pathlib.Path, relation_ids: dict[str, int]) -> tuple[str, ...]:
    labels = list(relation_ids)
    if path.exists():
        for _, (relation, name, *_) in _lines(path, 2):
            if relation in relation_ids and name:
                labels[relation_ids[relation]] = name
    return tuple(labels)


def _read_images(folder: pathlib.Path, entity_ids: dict[str, int]) -> tuple[tuple[tuple[str, ...], ...], pathlib.Path | None]:
    """Returns image paths [N] relative to the nearest folder `images`, and that folder."""
    images: list[list[str]] = [[] for _ in entity_ids]
    path = folder / "entity2image.tsv"
    if path.exists():
        for number, (entity, image, *_) in _lines(path, 2):
            if pathlib.PurePosixPath(image).is_absolute() or ".." in pathlib.PurePosixPath(image).parts:
                raise DataError(f"{path}:{number}: image path {image!r} must stay below the folder images/.")
            if entity in entity_ids:
                images[entity_ids[entity]].append(image)
    if not any(images):
        return tuple(() for _ in entity_ids), None
    parents = [folder, *folder.resolve().parents[:3]]
    root = next((parent / "images" for parent in parents if (parent / "images").is_dir()), None)
    if root is None:
        raise DataError(f"{path}: lists images, but there is no folder images/ beside it or above; put the pictures there.")
    return tuple(map(tuple, images)), root
