import hashlib

import numpy as np
import pytest

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.tokens.codebook import Codebook


@pytest.fixture
def codebook():
    return Codebook("demo", np.arange(12, dtype=np.float32).reshape(4, 3))


def test_round_trip(codebook, tmp_path):
    path = tmp_path / "demo.codebook"
    codebook.save(path)
    loaded = Codebook.load(path)
    assert [file.name for file in tmp_path.iterdir()] == ["demo.codebook"]
    assert (loaded.name, loaded.sha256) == ("demo", codebook.sha256)
    np.testing.assert_array_equal(loaded.vectors, codebook.vectors)


def test_sha256_covers_little_endian_bytes_and_shape(codebook):
    data = np.arange(12, dtype="<f4").tobytes()
    assert codebook.sha256 == hashlib.sha256(b"4x3:" + data).hexdigest()
    assert Codebook("demo", codebook.vectors.reshape(3, 4)).sha256 != codebook.sha256
    assert Codebook("demo", np.asfortranarray(codebook.vectors)).sha256 == codebook.sha256


def test_vectors_are_read_only(codebook):
    with pytest.raises(ValueError, match="read-only"):
        codebook.vectors[0, 0] = 1


@pytest.mark.parametrize(
    "vectors", [np.zeros((4, 3)), np.zeros(4, np.float32), np.zeros((0, 3), np.float32), np.full((1, 1), np.nan, "f4")]
)
def test_bad_vectors_are_refused(vectors):
    with pytest.raises(DataError, match="Codebook demo"):
        Codebook("demo", vectors)


def test_check_tells_the_difference(codebook):
    codebook.check("demo", codebook.sha256)
    with pytest.raises(CheckpointError, match=r"trained with codebook demo \(sha256 abababababab…\), found demo") as info:
        codebook.check("demo", "ab" * 32)
    assert codebook.sha256[:12] in str(info.value)
    with pytest.raises(CheckpointError, match="trained with codebook other"):
        codebook.check("other", codebook.sha256)


def test_damaged_files_are_named(codebook, tmp_path):
    whole = tmp_path / "whole.npz"
    codebook.save(whole)
    content = whole.read_bytes()
    flipped = bytearray(content)
    flipped[content.index(b"vectors.npy") + 150] ^= 0xFF
    damaged = {"cut.npz": content[: len(content) // 2], "empty.npz": b"", "text.npz": b"hello", "bits.npz": bytes(flipped)}
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=name):
            Codebook.load(tmp_path / name)
    with pytest.raises(DataError, match=r"absent\.npz"):
        Codebook.load(tmp_path / "absent.npz")


def test_other_arrays_are_no_codebook(tmp_path):
    np.savez(tmp_path / "other.npz", vectors=np.zeros((2, 2), np.float32))
    with pytest.raises(DataError, match=r"other\.npz.*'name' is missing"):
        Codebook.load(tmp_path / "other.npz")
    np.save(tmp_path / "plain.npy", np.zeros((2, 2), np.float32))
    with pytest.raises(DataError, match="no codebook"):
        Codebook.load(tmp_path / "plain.npy")


def test_pickles_are_never_loaded(tmp_path):
    np.savez(tmp_path / "objects.npz", name=np.array([{}], object), vectors=np.zeros((2, 2), np.float32))
    with pytest.raises(DataError, match=r"objects\.npz, key 'name'"):
        Codebook.load(tmp_path / "objects.npz")
