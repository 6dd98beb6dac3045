"""Image token ids that another tokenizer has made: files with one row per image, and MyGO's layout."""

import collections
import dataclasses
import json
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.shapes import Array
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.codebook import Codebook, read_arrays
from tofu_jax.tokens.selection import most_frequent

_log = logging.getLogger(__name__)

_MYGO_TOKENS = "-visual.json"


@dataclasses.dataclass(frozen=True, eq=False)
class PrecomputedTokens:
    """Ids that another image tokenizer (BEiT v2, VQGAN, ...) has made, looked up instead of computed.

    Attributes:
      codebook: float32 [K, c] of that tokenizer.
      codes: int32 [.] in 0..K-1 under each key, 196 an image.
      keyed_by_entity: keys are entity ids; otherwise image files as they stand in the graph.
      source: the file, for reports.
    """

    codebook: Codebook
    codes: Mapping[str, Array]
    keyed_by_entity: bool
    source: str

    @classmethod
    def from_npz(cls, path: str | os.PathLike[str], name: str | None = None) -> "PrecomputedTokens":
        """Reads an .npz with one row per image.

        Keys of the file: `paths` [n] (relative to the image root) or `entities` [n] (rows of one entity are pooled),
        `codes` integer [n, codes per image], `codebook` float [K, c]. Others are ignored. Of a path that stands
        twice the first row counts.

        Args:
          path: of the file.
          name: of the codebook; by default its size, so that renaming the file changes nothing.

        Raises:
          DataError: the file is damaged, a key is missing or of the wrong kind, or an id is not in the codebook.
        """
        arrays = read_arrays(path)
        key_name = next((key for key in ("paths", "entities") if key in arrays), "paths")
        expected = {key_name: ("U", 1), "codes": ("iu", 2), "codebook": ("f", 2)}
        for key, (kinds, ndim) in expected.items():
            if key not in arrays:
                raise DataError(f"{path}: key '{key}' is missing; expected 'paths' or 'entities', 'codes', 'codebook'.")
            if arrays[key].dtype.kind not in kinds or arrays[key].ndim != ndim:
                kind = {"U": "text", "iu": "integer", "f": "float"}[kinds]
                raise DataError(
                    f"{path}: '{key}' must be {kind} with {ndim} axes, got {arrays[key].dtype} {arrays[key].shape}."
                )
        keys, rows = arrays[key_name].tolist(), arrays["codes"]
        if len(keys) != len(rows):
            raise DataError(f"{path}: '{key_name}' has {len(keys)} rows, 'codes' has {len(rows)}; make them agree.")
        codebook = _imported_codebook(arrays["codebook"], name)
        _check_range(rows, codebook, f"{path}: 'codes'")
        by_key = collections.defaultdict(list)
        for key, row in zip(keys, rows.astype(np.int32), strict=True):
            by_key[key].append(row)
        by_entity = key_name == "entities"
        codes = {key: np.concatenate(parts) if by_entity else parts[0] for key, parts in by_key.items()}
        return cls(codebook, codes, by_entity, str(path))

    @classmethod
    def from_mygo(
        cls,
        tokens: str | os.PathLike[str],
        codebook: str | os.PathLike[str],
        entity_names: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> "PrecomputedTokens":
        """Reads the layout of MyGO (AAAI 2025), files such as tokens/DB15K-visual.json.

        It is one object {key: [id, id, ...]}, the ids of all images of an entity one after the other, 196 an image.
        Keys are entity ids as MyGO has them: URIs for MKG-W, but "0", "1", ... for DB15K.

        Args:
          tokens: the JSON file.
          codebook: .npy with float [K, c], for BEiT v2 [8192, 32], or [8193, 32] with the row of MyGO's padding id.
          entity_names: key of the file -> another name of the entity, under which its ids can be found as well.
          name: of the codebook; by default its size.

        Raises:
          DataError: a file is damaged or of another layout, or an id is not in the codebook; names file and key.
        """
        arrays = read_arrays(codebook)
        if "" not in arrays or arrays[""].ndim != 2 or arrays[""].dtype.kind != "f":
            raise DataError(f"{codebook}: expected an .npy file with one float array [K, c].")
        vectors = _imported_codebook(arrays[""], name)
        try:
            entries = json.loads(pathlib.Path(tokens).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{tokens}: cannot be read as JSON ({error}).") from error
        if not isinstance(entries, dict):
            raise DataError(f'{tokens}: expected an object {{"entity": [token id, ...]}}, got {type(entries)}.')
        codes = {key: _json_ids(tokens, key, ids, vectors) for key, ids in entries.items()}
        names = entity_names or {}
        codes |= {names[key]: ids for key, ids in codes.items() if key in names}
        return cls(vectors, codes, keyed_by_entity=True, source=str(tokens))

    @classmethod
    def from_mygo_folder(cls, folder: str | os.PathLike[str], data_set: str) -> "PrecomputedTokens":
        """Reads the tokens of one data set from a copy of MyGO's repository, or from its folder tokens.

            tokens/<data set>-visual.json   see `from_mygo`
            tokens/visual.npy               the codebook: what MyGO has in tokens/visual.pth, as NumPy saves it
            data/<data set>/entity2id.txt   optional: name SPACE id, where tokens have the one and the graph has the other

        Args:
          folder: of the repository, or its folder tokens.
          data_set: whose tokens are read if there are several.

        Raises:
          DataError: a file is missing or cannot be used.
        """
        folder = pathlib.Path(folder)
        tokens = folder / "tokens" if (folder / "tokens").is_dir() else folder
        found = {path.name.removesuffix(_MYGO_TOKENS): path for path in sorted(tokens.glob(f"*{_MYGO_TOKENS}"))}
        if data_set not in found and len(found) != 1:
            raise DataError(
                f"{tokens}: no {data_set}{_MYGO_TOKENS}, the image tokens of the graph "
                f"(found {', '.join(path.name for path in found.values()) or 'no file of this kind'})."
            )
        chosen = data_set if data_set in found else next(iter(found))
        codebook = tokens / "visual.npy"
        if not codebook.exists():
            raise DataError(
                f"{codebook}: no such file. It is the codebook behind the ids, a float array [K, c]: load MyGO's visual.pth "
                "with PyTorch (weights_only=True) and write it with numpy.save."
            )
        names = _other_names(tokens.parent / "data" / chosen / "entity2id.txt")
        return cls.from_mygo(found[chosen], codebook, names)

    def __call__(
        self,
        images: Sequence[Sequence[str]],
        image_root: pathlib.Path | None,
        entities: Sequence[str],
        num_tokens: int,
        work: ChunkedWork | None = None,
    ) -> tuple[Array, Array]:
        """See `ImageTokenizer`; `image_root` is not read, and neither is `images` if keys are entities."""
        keys = [(entity,) for entity in entities] if self.keyed_by_entity else images
        wanted = list(dict.fromkeys(key for entity_keys in keys for key in entity_keys))
        missing = [key for key in wanted if key not in self.codes]
        # Entities without an image are normal; that no key at all fits is not.
        if missing and (len(missing) == len(wanted) or not self.keyed_by_entity):
            _log.warning(
                "%s has no tokens for %d of %d %s, they are masked; the first is %s, keys of the file are like %s",
                self.source,
                len(missing),
                len(wanted),
                "entities" if self.keyed_by_entity else "images",
                missing[0],
                next(iter(self.codes), "(none)"),
            )
        return most_frequent((_pooled(self.codes, entity_keys) for entity_keys in keys), num_tokens)


def _pooled(codes: Mapping[str, Array], keys: Sequence[str]) -> Array:
    """Codes under the keys, one after the other; keys without codes count nothing."""
    known = [codes[key] for key in keys if key in codes]
    return np.concatenate(known) if known else np.zeros(0, np.int32)


def _other_names(path: pathlib.Path) -> dict[str, str]:
    """{name: id} and {id: name} of MyGO's entity2id.txt; empty if there is none."""
    if not path.exists():
        return {}
    names = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    for number, line in enumerate(lines, start=1):
        columns = line.rsplit(maxsplit=1)
        if len(columns) == 2:
            names |= {columns[0]: columns[1], columns[1]: columns[0]}
        elif columns:
            raise DataError(f"{path}:{number}: expected a name, a space and an id, got {line[:80]!r}.")
    return names


def _imported_codebook(vectors: Array, name: str | None) -> Codebook:
    return Codebook(name or f"imported-{vectors.shape[0]}x{vectors.shape[1]}", vectors.astype(np.float32))


def _check_range(ids: Array, codebook: Codebook, where: str) -> None:
    limit = len(codebook.vectors)
    if ids.size and (ids.min() < 0 or ids.max() >= limit):
        raise DataError(
            f"{where}: ids must be in 0..{limit - 1}, the rows of the codebook, got {ids.min()}..{ids.max()}. "
            "Give the codebook of the tokenizer that made the ids."
        )


def _json_ids(path: str | os.PathLike[str], key: str, ids: object, codebook: Codebook) -> Array:
    # NumPy would take True for 1 and turn a mixed list into text, so the elements are looked at one by one.
    if not isinstance(ids, list) or not all(type(token_id) is int for token_id in ids):
        raise DataError(f"{path}, key '{key}': expected a flat list of integer token ids.")
    try:
        array = np.array(ids, np.int64)
    except OverflowError as error:
        raise DataError(f"{path}, key '{key}': a token id is too large ({error}).") from error
    _check_range(array, codebook, f"{path}, key '{key}'")
    return array.astype(np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class MissingImageTokens:
    """Stands in where ids of another tokenizer are needed and were not given: fine for graphs without images."""

    codebook: Codebook

    def __call__(self, images, image_root, entities, num_tokens, work=None):
        """Masks every entity; raises a `CheckpointError` if any has an image. Arguments as in `ImageTokenizer`."""
        if any(images):
            raise CheckpointError(
                f"The model reads images as ids of {self.codebook.name}: give those of this graph (--image_tokens=…), or a "
                "data set that was tokenised with them (tofu-jax tokenize), or leave images out (--modalities=structure,text)."
            )
        return np.zeros((len(images), num_tokens), np.int32), np.zeros((len(images), num_tokens), bool)
