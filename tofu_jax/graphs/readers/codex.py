"""CoDEx: texts in JSON files beside the folders of triples.

    triples/codex-s/{train,valid,test}.txt     head TAB relation TAB tail, ids of Wikidata
    entities/en/entities.json                  {id: {"label": …, "description": …, "wiki": …}}
    entities/en/extracts/<id>.txt              optional: the beginning of the Wikipedia article
    relations/en/relations.json                {id: {"label": …, "description": …}}
    types/entity2types.json                    optional: {id: [type id, …]}
    types/en/types.json                        optional: as entities.json

An entity's text is its label, its article (or else its description) and the labels of its types.
"""

import json
import pathlib
from collections.abc import Iterable

from tofu_jax.errors import DataError
from tofu_jax.graphs.readers.contents import read_utf8, require_unicode
from tofu_jax.graphs.readers.descriptions import Descriptions


def add_codex(descriptions: Descriptions, folder: pathlib.Path, entities: Iterable[str]) -> None:
    """Adds what the JSON files say of the given entities and of all relations.

    Args:
      descriptions: to add to.
      folder: of the triples, such as triples/codex-s.
      entities: ids of the graph.

    Raises:
      DataError: a file cannot be read or is laid out in another way; names the file, and the line or the id.
    """
    data = folder.resolve().parent.parent
    entities_file, relations_file = data / "entities" / "en" / "entities.json", data / "relations" / "en" / "relations.json"
    kinds_file, types_file = data / "types" / "entity2types.json", data / "types" / "en" / "types.json"
    described, relations = _read(entities_file), _read(relations_file)
    kinds, types = _read(kinds_file, optional=True), _read(types_file, optional=True)
    extracts = data / "entities" / "en" / "extracts"
    # Looked up among the files that there are: an id never becomes a path of its own.
    articles = {path.name: path for path in extracts.iterdir()} if extracts.is_dir() else {}
    for entity in entities:
        label = _text(entities_file, described, entity, "label")
        text = _text(entities_file, described, entity, "description")
        if f"{entity}.txt" in articles:
            text = read_utf8(articles[f"{entity}.txt"]).decode()
        if not isinstance(kinds.get(entity, []), list):
            raise DataError(f"{kinds_file}, {entity!r}: expected a list of types.")
        names = [_text(types_file, types, str(kind), "label") for kind in kinds.get(entity, [])]
        if label:
            descriptions.labels[entity] = label
        descriptions.texts[entity] = " ".join(part for part in (text, *names) if part)
    for relation in relations:
        label = _text(relations_file, relations, relation, "label")
        if label:
            descriptions.relation_labels[relation] = label


def _read(path: pathlib.Path, optional: bool = False) -> dict:
    if optional and not path.exists():
        return {}
    text = read_utf8(path).decode()
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}).") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({str(error)[:200]}).") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object with an entry for every id, got {type(content).__name__}.")
    return content


def _text(path: pathlib.Path, content: dict, key: str, field: str) -> str:
    """A field of the entry of an id; empty where there is no such id, no such field or null."""
    entry = content.get(key, {})
    text = (entry.get(field) or "") if isinstance(entry, dict) else None
    if not isinstance(text, str):
        raise DataError(f'{path}, {key!r}: expected {{"{field}": text}}.')
    return require_unicode(path, 1, text)
