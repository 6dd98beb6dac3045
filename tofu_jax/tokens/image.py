"""Pictures to token ids: a patch tokenizer that needs no download, and ids that another tokenizer has made."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import logging
import multiprocessing
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import threadpoolctl
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.shapes import Array
from tofu_jax.tokens.codebook import Codebook, read_arrays
from tofu_jax.tokens.patches import DESCRIPTOR_WIDTH, patch_descriptors
from tofu_jax.tokens.pictures import read_picture
from tofu_jax.tokens.selection import most_frequent

_log = logging.getLogger(__name__)

_WORTH_PROCESSES = 500  # images; starting processes takes as long as so many
_PATHS_PER_TASK = 32


class ImageTokenizer(Protocol):
    """What the entity tokens need of a tokenizer of pictures."""

    @property
    def codebook(self) -> Codebook:
        """Vectors behind the ids: float32 [K, c]."""
        ...

    def __call__(
        self,
        images: Sequence[Sequence[str]],
        image_root: pathlib.Path | None,
        entities: Sequence[str],
        num_tokens: int,
    ) -> tuple[Array, Array]:
        """The most frequent codes over all images of each entity (TOFU, MyGO).

        A missing or broken image is masked and counted, and one line of the log tells how many there were.

        Args:
          images: [N] image files of each entity, relative to `image_root`; empty where there is none.
          image_root: folder of the images; None where no entity has one.
          entities: [N] entity ids, for token files that are keyed by entity.
          num_tokens: V, ids to keep per entity.

        Returns:
          ids: int32 [N, V], most frequent first, ties by first appearance; 0 where masked.
          mask: bool [N, V], True where an id stands.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class PatchTokenizer:
    """Vector quantisation of local patch descriptors: 196 ids an image, see `patches.patch_descriptors`.

    Attributes:
      codebook: float32 [K, 32], k-means centres in the space of the descriptors; all that encoding needs.
      workers: processes that read images. More than one pays from some hundred images on and needs a script
        whose start is guarded by `if __name__ == "__main__"`.
    """

    codebook: Codebook
    workers: int = 1

    # Part of every codebook's name: a change of the descriptor must change it, since old codebooks stop to fit.
    _DESCRIPTOR = "patches-v1"

    def __post_init__(self) -> None:
        if not self.fits(self.codebook):
            raise DataError(
                f"Codebook {self.codebook.name} [., {self.codebook.vectors.shape[1]}] is not for patch descriptors "
                f"({self._DESCRIPTOR}*, [., {DESCRIPTOR_WIDTH}]); fit one with PatchTokenizer.fit, or import ids with "
                "PrecomputedTokens."
            )

    @classmethod
    def fits(cls, codebook: Codebook) -> bool:
        """Whether a codebook was made for these descriptors."""
        return codebook.name.startswith(cls._DESCRIPTOR) and codebook.vectors.shape[1] == DESCRIPTOR_WIDTH

    @classmethod
    def fit(
        cls,
        paths: Iterable[str | os.PathLike[str]],
        num_codes: int = 1024,
        seed: int = 0,
        max_images: int = 600,
        workers: int = 1,
    ) -> "PatchTokenizer":
        """Learns a codebook by k-means; the same images and seed give the same codebook on the same machine.

        Equal descriptors count once: an empty background would otherwise fill most of every batch.

        Args:
          paths: image files; their order does not matter.
          num_codes: K.
          seed: of the sample and of k-means.
          max_images: a random sample of so many is read if there are more.
          workers: see the class; the result does not depend on it.

        Raises:
          DataError: the readable images have fewer different patches than `num_codes`.
        """
        from sklearn.cluster import MiniBatchKMeans

        unique = sorted({pathlib.Path(path) for path in paths})
        sample = [unique[i] for i in sorted(np.random.default_rng(seed).permutation(len(unique))[:max_images])]
        described = _each_picture(patch_descriptors, sample, workers)
        _report_broken([path for path, descriptors in zip(sample, described, strict=True) if descriptors is None])
        found = [descriptors for descriptors in described if descriptors is not None]
        empty = np.zeros((0, DESCRIPTOR_WIDTH), np.float32)
        # Rounding makes one of what differs by float noise only.
        distinct = np.unique(np.concatenate([empty, *found]).round(3), axis=0)
        if len(distinct) < num_codes:
            raise DataError(
                f"{len(found)} readable images have only {len(distinct)} different patches, too few for {num_codes} "
                "codes: give more images or a smaller num_codes."
            )
        k_means = MiniBatchKMeans(
            num_codes, random_state=seed, batch_size=4096, max_iter=10, n_init=1, init_size=max(3 * num_codes, 8192)
        ).fit(distinct)
        centres = k_means.cluster_centers_.astype(np.float32)
        return cls(Codebook(f"{cls._DESCRIPTOR}-k{num_codes}", centres), workers)

    def encode(self, path: str | os.PathLike[str]) -> Array:
        """Codes of one image, row by row from the top left.

        Returns:
          int32 [196].

        Raises:
          DataError: the image cannot be read; names the file.
        """
        return _nearest_codes(self.codebook.vectors, read_picture(pathlib.Path(path)))

    def __call__(
        self,
        images: Sequence[Sequence[str]],
        image_root: pathlib.Path | None,
        entities: Sequence[str],
        num_tokens: int,
    ) -> tuple[Array, Array]:
        """See `ImageTokenizer`; each file is read once, however many entities share it."""
        unique = list(dict.fromkeys(image for entity_images in images for image in entity_images))
        if unique and image_root is None:
            raise DataError(f"Images such as {unique[0]} are given without image_root, the folder they are in.")
        root = pathlib.Path(image_root or "")
        encode = functools.partial(_nearest_codes, self.codebook.vectors)
        encoded = _each_picture(encode, [root / image for image in unique], self.workers)
        codes = {image: image_codes for image, image_codes in zip(unique, encoded, strict=True)}
        _report_broken([root / image for image in unique if codes[image] is None])
        return most_frequent((_pooled(codes, entity_images) for entity_images in images), num_tokens)


def _nearest_codes(vectors: Array, image: Image.Image) -> Array:
    # |c|^2 - 2 x c, in one product: the distance without |x|^2, which is the same for every code.
    descriptors = np.pad(-2 * patch_descriptors(image), [(0, 0), (0, 1)], constant_values=1)
    codes = np.concatenate([vectors, (vectors * vectors).sum(axis=1, keepdims=True)], axis=1)
    return (descriptors @ codes.T).argmin(axis=1).astype(np.int32)


def _pooled(codes: Mapping[str, Array | None], keys: Sequence[str]) -> Array:
    """Codes under the keys, one after the other; keys without codes count nothing."""
    known = [codes[key] for key in keys if codes.get(key) is not None]
    return np.concatenate(known) if known else np.zeros(0, np.int32)


def _each_picture(function: Callable[[Image.Image], Array], paths: Sequence[pathlib.Path], workers: int) -> list[Array | None]:
    """`function` of every picture; None for those that cannot be read."""
    task = functools.partial(_apply_to_picture, function)
    # One BLAS thread per process: the products are small, and more threads only fight for the cores.
    limit = functools.partial(threadpoolctl.threadpool_limits, 1)
    if workers <= 1 or len(paths) < _WORTH_PROCESSES:
        with limit():
            return list(map(task, paths))
    # Processes, since resvg holds the interpreter lock; spawned, since forking a process that runs JAX may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=limit) as pool:
        return list(pool.map(task, paths, chunksize=_PATHS_PER_TASK))


def _apply_to_picture(function: Callable[[Image.Image], Array], path: pathlib.Path) -> Array | None:
    with contextlib.suppress(DataError):
        return function(read_picture(path))
    return None


def _report_broken(broken: Sequence[object]) -> None:
    if broken:
        _log.warning("%d images are missing or broken and are masked, the first is %s", len(broken), broken[0])


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
          entity_names: key of the file -> entity id of the graph, needed where they differ (DB15K); other keys stay.
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
        names = entity_names or {}
        codes = {names.get(key, key): _json_ids(tokens, key, ids, vectors) for key, ids in entries.items()}
        return cls(vectors, codes, keyed_by_entity=True, source=str(tokens))

    def __call__(
        self,
        images: Sequence[Sequence[str]],
        image_root: pathlib.Path | None,
        entities: Sequence[str],
        num_tokens: int,
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
