"""An exported model: a folder of three files, to be copied, shipped or put on a hub.

    model.safetensors   parameters by path (params/…/kernel) and the image codebook, all float32
    config.json         settings, codebooks, training graphs, and the SHA-256 of model.safetensors
    README.md           the model card, for people: never read

Nothing of it is executed: safetensors holds numbers only, and every value of config.json is checked.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import numpy as np
import safetensors
import safetensors.numpy

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.files import write_whole
from tofu_jax.inference.model_card import check_licence, model_card, read_figures
from tofu_jax.shapes import Array
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.training.checkpoint import Restored

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FILES = (WEIGHTS, CARD, CONFIG)  # config.json is written last: without it, or with an old one, the folder is refused
FORMAT_VERSION = 1
LIBRARY = "tofu_jax"

_CODEBOOK = "image_codebook"
_MOST_BYTES = {CONFIG: 4 * 2**20, WEIGHTS: 2**30}
_MOST_HEADER_BYTES = 2**20  # of a safetensors file; ours have some 10 KB
_MOST_LEVELS = 16  # of a parameter's path
_MOST_CHARACTERS = 500  # of a text in config.json

# What config.json holds: a type, a dictionary with exactly these keys, or a list of such values. `None` for `dict`s that
# `settings.read_settings` checks.
_NAMED_HASH = {"name": str, "sha256": str}
_META = {
    "model": None,
    "tokens": None,
    "codebooks": {"text": _NAMED_HASH, "image": _NAMED_HASH},
    "sources": [{"name": str, "facts": int, "removed_evaluation_facts": int}],
    "graphs": [{"name": str, "facts": int, "sha256": str}],
}
_SCHEMA = {
    "library_name": str,
    "format_version": int,
    "name": str,
    "licence": str,
    "step": int,
    "weights_sha256": str,
    **_META,
}


def write_model(
    folder: pathlib.Path,
    restored: Restored,
    name: str | None = None,
    licence: str | None = None,
    figures: Sequence[str | os.PathLike[str]] = (),
) -> None:
    """Writes a model as three files, each whole or not at all; an older export in the folder is replaced.

    Args:
      folder: made if it is not there.
      restored: the model.
      name: for the card; by default the name of the folder.
      licence: of the weights, as the hub spells it ("apache-2.0"); None: not stated.
      figures: results.json files of evaluations of this model, for the card.

    Raises:
      DataError: the folder holds something else or cannot be written; or an argument cannot be used.
      CheckpointError: the model lacks what has to be told with it.
    """
    _refuse_other_files(folder)
    check_licence(licence)
    results = [read_figures(pathlib.Path(path), restored.step) for path in figures]
    flat = flax.traverse_util.flatten_dict(restored.params, sep="/")
    tensors = {path: np.array(leaf, "<f4", order="C") for path, leaf in flat.items()}
    weights = safetensors.numpy.save({**tensors, _CODEBOOK: np.array(restored.image_codebook.vectors, "<f4", order="C")})
    config = {
        "library_name": LIBRARY,
        "format_version": FORMAT_VERSION,
        "name": name or folder.absolute().name,
        "licence": licence or "",
        "step": restored.step,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **_chosen(restored.meta, _META, f"{folder}: the checkpoint"),
    }
    contents = {
        WEIGHTS: weights,
        CARD: model_card(config, sum(leaf.size for leaf in tensors.values()), results).encode(),
        CONFIG: (json.dumps(config, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    _parse(contents[CONFIG], contents[WEIGHTS], folder)  # nothing is written that cannot be read
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            write_whole(folder / file, contents[file])
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error}). Give another folder, or make room.") from error


def read_model(folder: pathlib.Path, root: pathlib.Path | None = None) -> Restored:
    """Reads what `write_model` wrote.

    Args:
      folder: of the three files.
      root: folder that links may lead into, for the cache of a hub; by default `folder` alone.

    Raises:
      CheckpointError: a file is missing, damaged, not the one that config.json was written for, or of another format.
    """
    contents = {name: _bytes_of(folder / name, most, root or folder) for name, most in _MOST_BYTES.items()}
    return _parse(contents[CONFIG], contents[WEIGHTS], folder)


def _refuse_other_files(folder: pathlib.Path) -> None:
    """A run's config.json must not be lost to an export into the run's folder."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: a file; give a folder.")
    others = sorted(path.name for path in folder.iterdir() if path.name not in FILES and not path.name.startswith("."))
    if others:
        raise DataError(f"{folder}: holds other files ({', '.join(others[:5])}); give a new folder, or an older export.")


def _bytes_of(path: pathlib.Path, most: int, root: pathlib.Path) -> bytes:
    """The content, read once: what is checked is what is used."""
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; an exported model has {', '.join(sorted(FILES))}.")
        if not path.resolve().is_relative_to(root.resolve()):
            raise CheckpointError(f"{path}: a link that leads out of the folder; put the file itself there.")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(content) > most:
        raise CheckpointError(f"{path}: more than {most:,} bytes; not written by this program.")
    return content


def _parse(config_json: bytes, weights: bytes, folder: pathlib.Path) -> Restored:
    config = _parse_config(config_json, folder / CONFIG)
    sha256 = hashlib.sha256(weights).hexdigest()
    if sha256 != config["weights_sha256"]:
        raise CheckpointError(
            f"{folder / WEIGHTS}: not the file that {CONFIG} was written for (sha256 {sha256[:12]}…, expected "
            f"{config['weights_sha256'][:12]}…): damaged, cut or changed. Copy or download the folder again."
        )
    tensors = _parse_weights(weights, folder / WEIGHTS)
    if _CODEBOOK not in tensors:
        raise CheckpointError(f"{folder / WEIGHTS}: no tensor {_CODEBOOK}; not written by this program.")
    expected = config["codebooks"]["image"]
    try:
        codebook = Codebook(expected["name"], tensors.pop(_CODEBOOK))
    except DataError as error:
        raise CheckpointError(f"{folder / WEIGHTS}: {error}") from error
    codebook.check(expected["name"], expected["sha256"])
    params = _nested(tensors, folder / WEIGHTS)
    return Restored(config["step"], params, codebook, {key: config[key] for key in _META})


def _parse_config(content: bytes, path: pathlib.Path) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}). Copy or download it again.") from error
    if not isinstance(config, dict) or config.get("library_name") != LIBRARY:
        raise CheckpointError(f"{path}: not a model of {LIBRARY}.")
    if config.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {config.get('format_version')!r:.100}, this version of {LIBRARY} reads "
            f"{FORMAT_VERSION}. Install the version that wrote it, or export the model again."
        )
    _check(config, _SCHEMA, f"{path}: ")
    return config


def _check(value: Any, schema: Any, where: str) -> None:
    """Raises a `CheckpointError` that names the first value which is not as the schema says."""
    if isinstance(schema, dict):
        keys = set(value) if isinstance(value, dict) else set()
        if keys != schema.keys():
            missing, unknown = sorted(schema.keys() - keys), sorted(keys - schema.keys())
            differ = [f"no {key}" for key in missing] + [f"unknown {key!r:.50}" for key in unknown]
            raise CheckpointError(f"{where}{', '.join(differ[:5])}; the keys must be {', '.join(schema)}.")
        for key, kind in schema.items():
            _check(value[key], kind, f"{where}{key}.")
    elif isinstance(schema, list):
        _check_type(value, list, where)
        for position, item in enumerate(value):
            _check(item, schema[0], f"{where}{position}.")
    elif schema is not None:
        _check_type(value, schema, where)
        if schema is int and not 0 <= value < 2**53:
            raise CheckpointError(f"{where.rstrip('.')} is {value!r:.50}; it must be in 0..2^53.")
        # Texts end on terminals and in the card.
        if schema is str and (len(value) > _MOST_CHARACTERS or not value.isprintable()):
            raise CheckpointError(f"{where.rstrip('.')}: a text of more than {_MOST_CHARACTERS} or of unprintable characters.")


def _check_type(value: Any, kind: type, where: str) -> None:
    if type(value) is not kind:
        raise CheckpointError(f"{where.rstrip('.')} is {value!r:.50}; it must be of type {kind.__name__}.")


def _chosen(values: Any, schema: Any, where: str) -> Any:
    """The part of a checkpoint's meta data that the format has room for."""
    try:
        if isinstance(schema, dict):
            return {key: _chosen(values[key], kind, f"{where}.{key}") for key, kind in schema.items()}
        return [_chosen(value, schema[0], where) for value in values] if isinstance(schema, list) else values
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{where} does not tell {error}; train again with this version to export.") from error


def _parse_weights(content: bytes, path: pathlib.Path) -> dict[str, Array]:
    """{path: float32 array}, finite."""
    # The library's own limit is a hundred times as high.
    if int.from_bytes(content[:8], "little") > _MOST_HEADER_BYTES:
        raise CheckpointError(f"{path}: its header is larger than {_MOST_HEADER_BYTES:,} bytes; not written by this program.")
    try:
        found = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}). Copy or download it again.") from error
    tensors = {}
    for name, tensor in found:
        if tensor["dtype"] != "F32":
            raise CheckpointError(f"{path}: {name!r:.100} is {tensor['dtype']}; all tensors must be F32.")
        tensors[name] = np.frombuffer(tensor["data"], "<f4").astype(np.float32).reshape(tensor["shape"])
        if not np.isfinite(tensors[name]).all():
            raise CheckpointError(f"{path}: {name!r:.100} holds NaN or infinity.")
    return tensors


def _nested(tensors: Mapping[str, Array], path: pathlib.Path) -> dict[str, Any]:
    """{"a/b": x} as {"a": {"b": x}}."""
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *parents, leaf = name.split("/")
        node: Any = tree
        for key in parents[:_MOST_LEVELS]:
            node = node.setdefault(key, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf in node or len(parents) > _MOST_LEVELS:
            raise CheckpointError(f"{path}: {name!r:.100} is no path of a parameter beside the others.")
        node[leaf] = tensor
    return tree
