"""Pictures to token ids: what every image tokenizer does, and a patch tokenizer that needs no download."""

import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from tofu_jax.errors import DataError
from tofu_jax.shapes import Array
from tofu_jax.tokens.chunks import Chunk, ChunkedWork
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.patches import DESCRIPTOR_WIDTH, PATCHES_PER_IMAGE, nearest_codes, patch_descriptors
from tofu_jax.tokens.picture_pool import each_picture
from tofu_jax.tokens.pictures import read_picture
from tofu_jax.tokens.selection import most_frequent

_log = logging.getLogger(__name__)

_IMAGES_PER_CHUNK = 512  # a second or two of work


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
        work: ChunkedWork | None = None,
    ) -> tuple[Array, Array]:
        """The most frequent codes over all images of each entity (TOFU, MyGO).

        A missing or broken image is masked, counted and listed in `work`, and one line of the log tells how many there were.

        Args:
          images: [N] image files of each entity, relative to `image_root`; empty where there is none.
          image_root: folder of the images; None where no entity has one.
          entities: [N] entity ids, for token files that are keyed by entity.
          num_tokens: V, ids to keep per entity.
          work: shows progress and keeps what is done; None does neither.

        Returns:
          ids: int32 [N, V], most frequent first, ties by first appearance; 0 where masked.
          mask: bool [N, V], True where an id stands.
        """
        ...


def tokenize_pictures(
    encode: Callable[[Sequence[pathlib.Path]], Iterator[Array | str]],
    chunk_size: int,
    images: Sequence[Sequence[str]],
    image_root: pathlib.Path | None,
    num_tokens: int,
    work: ChunkedWork | None,
) -> tuple[Array, Array]:
    """An `ImageTokenizer` of one that reads picture files; each file is read once, however many entities share it.

    Args:
      encode: yields the codes of each picture, int32 [PATCHES_PER_IMAGE], or the reason where it cannot be read.
      chunk_size: images that are read before anything is kept.
      images, image_root, num_tokens, work: see `ImageTokenizer`.

    Raises:
      DataError: there are images, but no `image_root`.
    """
    row_of = {image: row for row, image in enumerate(dict.fromkeys(image for files in images for image in files))}
    if row_of and image_root is None:
        raise DataError(f"Images such as {next(iter(row_of))} are given without image_root, the folder they are in.")
    paths = [pathlib.Path(image_root or "") / image for image in row_of]

    def encode_chunks(chunks: list[Sequence[pathlib.Path]]) -> Iterator[Chunk]:
        # One iterator over the pictures of all chunks, so that its processes start once.
        with contextlib.closing(encode([path for chunk in chunks for path in chunk])) as encoded:
            for chunk in chunks:
                yield _as_arrays([next(encoded) for _ in chunk])

    done = (work or ChunkedWork()).in_chunks("images", paths, chunk_size, encode_chunks)
    codes = np.concatenate([np.zeros((0, PATCHES_PER_IMAGE), np.uint8), *(chunk["codes"] for chunk in done)])
    why = [reason for chunk in done for reason in chunk["why_broken"].tolist()]
    _report_broken(zip(paths, why, strict=True), work)
    rows = ([row_of[image] for image in files if not why[row_of[image]]] for files in images)
    return most_frequent((codes[found].reshape(-1) for found in rows), num_tokens)


def _as_arrays(encoded: list[Array | str]) -> Chunk:
    """The codes of n images [n, PATCHES_PER_IMAGE], 0 where one is broken, and why it is [n], empty where it is not."""
    none = np.zeros(PATCHES_PER_IMAGE, np.int32)
    codes = np.stack([none if isinstance(codes, str) else codes for codes in encoded])
    return {
        # Two bytes each for all codebooks so far: a million images take 400 MB.
        "codes": codes.astype(np.min_scalar_type(codes.max())),
        "why_broken": np.array([codes if isinstance(codes, str) else "" for codes in encoded]),
    }


def _report_broken(why: Iterable[tuple[pathlib.Path, str]], work: ChunkedWork | None) -> None:
    """Logs and lists the images that have a reason why they cannot be read."""
    broken = {str(path): reason for path, reason in why if reason}
    if work is not None:
        work.broken_images.update(broken)
    if broken:
        _log.warning("%d images are missing or broken and are masked, the first is %s", len(broken), next(iter(broken)))


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
        work: ChunkedWork | None = None,
    ) -> "PatchTokenizer | None":
        """Learns a codebook by k-means; the same images and seed give the same codebook on the same machine.

        Equal descriptors count once: an empty background would otherwise fill most of every batch.

        Args:
          paths: image files; their order does not matter.
          num_codes: K.
          seed: of the sample and of k-means.
          max_images: a random sample of so many is read if there are more.
          workers: see the class; the result does not depend on it.
          work: gets to know which images of the sample cannot be read.

        Returns:
          The tokenizer; None if no image can be read.

        Raises:
          DataError: the readable images have fewer different patches than `num_codes`.
        """
        from sklearn.cluster import MiniBatchKMeans

        unique = sorted({pathlib.Path(path) for path in paths})
        sample = [unique[i] for i in sorted(np.random.default_rng(seed).permutation(len(unique))[:max_images])]
        described = list(each_picture(patch_descriptors, sample, workers))
        why = ((path, found if isinstance(found, str) else "") for path, found in zip(sample, described, strict=True))
        _report_broken(why, work)
        found = [descriptors for descriptors in described if not isinstance(descriptors, str)]
        if not found:
            return None
        # Rounding makes one of what differs by float noise only.
        distinct = np.unique(np.concatenate(found).round(3), axis=0)
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
        return nearest_codes(self.codebook.vectors, read_picture(pathlib.Path(path)))

    def __call__(
        self,
        images: Sequence[Sequence[str]],
        image_root: pathlib.Path | None,
        entities: Sequence[str],
        num_tokens: int,
        work: ChunkedWork | None = None,
    ) -> tuple[Array, Array]:
        """See `ImageTokenizer`."""
        task = functools.partial(nearest_codes, self.codebook.vectors)
        encode = functools.partial(each_picture, task, workers=self.workers)
        return tokenize_pictures(encode, _IMAGES_PER_CHUNK, images, image_root, num_tokens, work)
