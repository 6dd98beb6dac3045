"""Names, texts and images of entities and relations: the tables that may lie beside the facts of any layout."""

import dataclasses
import pathlib
from collections.abc import Container, Iterator

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers.contents import tab_rows, wrong_columns
from tofu_jax.graphs.readers.parquet import read_rows as read_parquet_rows
from tofu_jax.graphs.readers.tables import read_rows

_SUFFIXES = (".tsv", ".tsv.gz", ".csv", ".csv.gz", ".parquet")


@dataclasses.dataclass(eq=False)
class Descriptions:
    """What is known about entities and relations beside the facts, by their ids; may hold ids that no fact holds.

    Attributes:
      labels: names of entities.
      texts: of entities, without the name.
      images: files relative to `image_root`.
      image_root: the folder; None without images.
      relation_labels: names of relations.
    """

    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    images: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    image_root: pathlib.Path | None = None
    relation_labels: dict[str, str] = dataclasses.field(default_factory=dict)


def add_tables(descriptions: Descriptions, folder: pathlib.Path, entities: Container[str], relations: Container[str]) -> None:
    """Adds what entity2text, entity2image and relation2text of a folder say, which wins over what is there.

    Args:
      descriptions: to add to.
      folder: where the tables are looked for.
      entities, relations: ids of the graph; rows about others are skipped.

    Raises:
      DataError: a table cannot be read, or an image path leads out of its folder.
    """
    for _, _, (entity, name, *rest) in _rows(folder, "entity2text"):
        if entity in entities:
            descriptions.texts[entity] = " ".join(part for part in rest if part)
            if name:
                descriptions.labels[entity] = name
    for _, _, (relation, name, *_) in _rows(folder, "relation2text"):
        if relation in relations and name:
            descriptions.relation_labels[relation] = name
    images: dict[str, list[str]] = {}
    for path, line, (entity, image, *_) in _rows(folder, "entity2image"):
        pure = pathlib.PurePosixPath(image)
        if pure.is_absolute() or ".." in pure.parts or not pure.name or "\0" in image:
            raise DataError(f"{path}:{line}: image path {image!r} must stay below the folder images/.")
        if entity in entities:
            images.setdefault(entity, []).append(image)
    if images:
        descriptions.images |= images
        descriptions.image_root = image_folder(folder)
        if descriptions.image_root is None:
            raise DataError(f"{path}: lists images, but there is no folder images/ beside it or above; put the pictures there.")


def image_folder(folder: pathlib.Path) -> pathlib.Path | None:
    """The folder images/ in a folder or in the nearest of the three above it; None if there is none."""
    parents = [folder, *folder.resolve().parents[:3]]
    return next((parent / "images" for parent in parents if (parent / "images").is_dir()), None)


def _rows(folder: pathlib.Path, stem: str) -> Iterator[tuple[pathlib.Path, int, list[str]]]:
    """Yields (file, line, cells) of a table of at least two columns, if there is one."""
    paths = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES if (folder / f"{stem}{suffix}").exists()]
    if len(paths) > 1:
        raise DataError(f"{folder}: {' and '.join(path.name for path in paths)} say what one of them should; keep one.")
    for path in paths:
        if ".tsv" in path.suffixes:
            yield from ((path, line, cells) for line, cells in tab_rows(path, 2))
            continue
        lines, columns = read_rows(path) if ".csv" in path.suffixes else read_parquet_rows(path)
        if len(columns) < 2 and len(lines):
            raise wrong_columns(path, 1, len(columns), "at least 2", "", ",")
        yield from ((path, int(line), list(cells)) for line, cells in zip(lines, zip(*columns, strict=True), strict=True))
