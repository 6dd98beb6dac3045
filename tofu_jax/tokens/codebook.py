"""Frozen codebooks: the vectors behind token ids, with the fingerprint that ties a checkpoint to them."""

import dataclasses
import functools
import hashlib
import os
import pathlib

import numpy as np

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.shapes import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Codebook:
    """One vector per token id; never trained.

    Attributes:
      name: which tokenizer the ids come from, such as "all-MiniLM-L6-v2".
      vectors: float32 [K, c], finite and read-only; row i belongs to token id i. K is the number of codes here.
    """

    name: str
    vectors: Array

    def __post_init__(self) -> None:
        if self.vectors.dtype != np.float32 or self.vectors.ndim != 2 or 0 in self.vectors.shape:
            raise DataError(
                f"Codebook {self.name}: vectors must be float32 [K, c], got {self.vectors.dtype} {self.vectors.shape}."
            )
        if not np.isfinite(self.vectors).all():
            raise DataError(f"Codebook {self.name}: vectors hold NaN or infinity.")
        self.vectors.setflags(write=False)

    @functools.cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 over the shape and the little-endian float32 bytes of `vectors`."""
        digest = hashlib.sha256(f"{self.vectors.shape[0]}x{self.vectors.shape[1]}:".encode())
        digest.update(np.ascontiguousarray(self.vectors, dtype="<f4"))
        return digest.hexdigest()

    @functools.cached_property
    def centred(self) -> Array:
        """`vectors` without their mean: what all tokens share says nothing about any of them."""
        return self.vectors - self.vectors.mean(axis=0)

    def check(self, expected_name: str, expected_sha256: str) -> None:
        """Compares with what a checkpoint recorded.

        Raises:
          CheckpointError: name or SHA-256 differ, so that token ids would mean something else to the checkpoint.
        """
        if (self.name, self.sha256) != (expected_name, expected_sha256):
            raise CheckpointError(
                f"The checkpoint was trained with codebook {expected_name} (sha256 {expected_sha256[:12]}…), "
                f"found {self.name} (sha256 {self.sha256[:12]}…). Load the codebook that was saved with the "
                "checkpoint, or train again with this one."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an .npz with `name` and `vectors`; the name of the file is taken as it is."""
        # A file handle, since np.savez appends ".npz" to a bare path; a rename, so that no half-written file remains.
        target = pathlib.Path(path)
        partial = target.with_name(target.name + ".partial")
        with partial.open("wb") as file:
            np.savez(file, name=np.array(self.name), vectors=self.vectors)
        partial.replace(target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Codebook":
        """Reads what `save` wrote.

        Raises:
          DataError: the file is missing, damaged, or no codebook; names the file.
        """
        arrays = read_arrays(path)
        for key in ("name", "vectors"):
            if key not in arrays:
                raise DataError(f"{path}: no codebook, key '{key}' is missing (found {sorted(arrays)}).")
        return cls(str(arrays["name"]), arrays["vectors"])


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Array]:
    """All arrays of an .npz file, or {"": array} of an .npy file; never unpickles.

    Raises:
      DataError: the file is missing or damaged, or holds Python objects; names the file and the key.
    """
    key = ""
    try:
        # NumPy leaves a damaged file open if it is given the path.
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            arrays = {}
            for key in loaded.files:
                arrays[key] = loaded[key]
            return arrays
    # On damaged bytes zipfile and NumPy raise OSError, ValueError, BadZipFile, zlib.error, NotImplementedError and more.
    except Exception as error:
        where = f"{path}, key '{key}'" if key else f"{path}"
        raise DataError(f"{where}: cannot be read as NumPy arrays ({error}). Make or copy the file again.") from error
