import json
import os
import pathlib

import numpy as np
import pytest

from tofu_jax.errors import CheckpointError, DataError
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.precomputed import MissingImageTokens, PrecomputedTokens

DATA = pathlib.Path(os.environ.get("TOFU_JAX_DATA", "absent"))


@pytest.fixture
def arrays():
    return {
        "paths": np.array(["img/a.jpg", "img/b.jpg", "img/c.jpg"]),
        "codes": np.array([[1, 1, 2, 3], [3, 3, 2, 2], [0, 0, 0, 0]], np.uint16),
        "codebook": np.eye(4, 3, dtype=np.float16),
        "mean": np.zeros(3, np.float32),
    }


class TestNpz:
    def test_by_path(self, arrays, tmp_path, caplog):
        np.savez(tmp_path / "tokens.npz", **arrays)
        tokens = PrecomputedTokens.from_npz(tmp_path / "tokens.npz")
        assert (tokens.codebook.name, tokens.codebook.vectors.shape) == ("imported-4x3", (4, 3))
        images = [("img/a.jpg", "img/b.jpg"), (), ("img/x.jpg",), ("img/c.jpg",)]
        ids, mask = tokens(images, None, list("abcd"), 2)
        assert ids.tolist() == [[2, 3], [0, 0], [0, 0], [0, 0]]
        assert mask.tolist() == [[True, True], [False, False], [False, False], [True, False]]
        assert len(caplog.records) == 1
        assert "1 of 4 images, they are masked; the first is img/x.jpg" in caplog.text

    def test_by_entity_pools_rows(self, arrays, tmp_path, caplog):
        del arrays["paths"]
        np.savez(tmp_path / "tokens.npz", entities=np.array(["a", "a", "b"]), **arrays)
        tokens = PrecomputedTokens.from_npz(tmp_path / "tokens.npz", name="vq")
        ids, mask = tokens([(), (), ()], None, ["b", "a", "z"], 2)
        assert tokens.codebook.name == "vq"
        assert ids.tolist() == [[0, 0], [2, 3], [0, 0]]
        assert mask.any(axis=1).tolist() == [True, True, False]
        assert not caplog.records
        tokens([()], None, ["unknown"], 2)
        assert "keys of the file are like a" in caplog.text

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("paths", None, "key 'paths' is missing"),
            ("codes", None, "key 'codes' is missing"),
            ("codebook", None, "key 'codebook' is missing"),
            ("codes", np.zeros((3, 4)), "'codes' must be integer"),
            ("codes", np.zeros(3, int), "'codes' must be integer with 2 axes"),
            ("codes", np.zeros((2, 4), int), "'paths' has 3 rows, 'codes' has 2"),
            ("codes", np.full((3, 4), 4), r"'codes': ids must be in 0\.\.3"),
            ("codes", np.full((3, 4), -1), r"'codes': ids must be in 0\.\.3"),
            ("codebook", np.zeros((4, 3), int), "'codebook' must be float"),
            ("codebook", np.full((4, 3), np.nan), "NaN"),
            ("paths", np.arange(3), "'paths' must be text"),
            ("paths", np.array(["a", None, 1], object), "key 'paths'"),
        ],
    )
    def test_bad_files(self, arrays, tmp_path, key, value, message):
        arrays[key] = value
        np.savez(tmp_path / "bad.npz", **{key: value for key, value in arrays.items() if value is not None})
        with pytest.raises(DataError, match=message):
            PrecomputedTokens.from_npz(tmp_path / "bad.npz")

    def test_missing_file(self, tmp_path):
        with pytest.raises(DataError, match=r"absent\.npz"):
            PrecomputedTokens.from_npz(tmp_path / "absent.npz")


class TestMyGO:
    @pytest.fixture
    def files(self, tmp_path):
        np.save(tmp_path / "codebook.npy", np.eye(8, 2, dtype=np.float32))
        (tmp_path / "tokens.json").write_text(json.dumps({"0": [5, 5, 6, 7, 7, 7], "1": [], "2": [1]}))
        return tmp_path / "tokens.json", tmp_path / "codebook.npy"

    def test_keys_as_they_are(self, files):
        tokens = PrecomputedTokens.from_mygo(*files)
        ids, mask = tokens([()] * 3, None, ["2", "1", "0"], 2)
        assert ids.tolist() == [[1, 0], [0, 0], [7, 5]]
        assert mask.tolist() == [[True, False], [False, False], [True, True]]

    def test_keys_translated(self, files, caplog):
        tokens = PrecomputedTokens.from_mygo(*files, entity_names={"0": "Anarchism"}, name="beit")
        assert tokens([()], None, ["Anarchism"], 1)[0].tolist() == [[7]]
        assert tokens.codebook.name == "beit"
        PrecomputedTokens.from_mygo(*files)([()], None, ["Anarchism"], 1)
        assert "no tokens for 1 of 1 entities" in caplog.text
        assert "keys of the file are like 0" in caplog.text

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "cannot be read as JSON"),
            ("[1, 2]", "expected an object"),
            ('{"e": 3}', "key 'e': expected a flat list"),
            ('{"e": [[1, 2]]}', "key 'e': expected a flat list"),
            ('{"e": [1, true]}', "key 'e': expected a flat list"),
            ('{"e": [1.0]}', "key 'e': expected a flat list"),
            ('{"e": [8]}', r"key 'e': ids must be in 0\.\.7"),
            ('{"e": [-1]}', r"key 'e': ids must be in 0\.\.7"),
            ('{"e": [99999999999999999999]}', "key 'e': a token id is too large"),
        ],
    )
    def test_bad_tokens(self, files, content, message):
        files[0].write_text(content)
        with pytest.raises(DataError, match=rf"tokens\.json.*{message}"):
            PrecomputedTokens.from_mygo(*files)

    def test_bad_codebook(self, files, tmp_path):
        np.save(tmp_path / "codebook.npy", np.zeros(8))
        with pytest.raises(DataError, match=r"codebook\.npy: expected an \.npy file"):
            PrecomputedTokens.from_mygo(*files)
        np.savez(tmp_path / "codebook.npz", codebook=np.zeros((8, 2)))
        with pytest.raises(DataError, match=r"codebook\.npz: expected an \.npy file"):
            PrecomputedTokens.from_mygo(files[0], tmp_path / "codebook.npz")


class TestMyGOFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        """A copy of the repository: DB15K's tokens are keyed by number, MKG-W's by URI."""
        (tmp_path / "tokens").mkdir()
        np.save(tmp_path / "tokens" / "visual.npy", np.eye(8, 2, dtype=np.float32))
        (tmp_path / "tokens" / "DB15K-visual.json").write_text(json.dumps({"0": [5, 5, 6], "1": [1]}))
        (tmp_path / "tokens" / "MKG-W-visual.json").write_text(json.dumps({"http://w/Q1": [2]}))
        for data_set, lines in {"DB15K": "Anarchism 0\nThe Longest Yard 1\n", "MKG-W": "http://w/Q1 0\n\n"}.items():
            (tmp_path / "data" / data_set).mkdir(parents=True)
            (tmp_path / "data" / data_set / "entity2id.txt").write_text(lines)
        return tmp_path

    def test_either_name_of_an_entity_finds_its_tokens(self, folder):
        db15k = PrecomputedTokens.from_mygo_folder(folder, "DB15K")
        assert db15k([()] * 4, None, ["0", "Anarchism", "The Longest Yard", "1"], 1)[0].tolist() == [[5], [5], [1], [1]]
        mkg_w = PrecomputedTokens.from_mygo_folder(folder / "tokens", "MKG-W")
        assert mkg_w([()] * 2, None, ["http://w/Q1", "0"], 1)[0].tolist() == [[2], [2]]

    def test_the_only_data_set_needs_no_name(self, folder):
        (folder / "tokens" / "MKG-W-visual.json").unlink()
        (folder / "data" / "DB15K" / "entity2id.txt").unlink()
        tokens = PrecomputedTokens.from_mygo_folder(folder, "my copy")
        assert tokens.source.endswith("DB15K-visual.json")
        assert set(tokens.codes) == {"0", "1"}

    def test_what_is_missing_is_named(self, folder):
        with pytest.raises(DataError, match=r"no FB15K-visual\.json.*found DB15K-visual\.json, MKG-W-visual\.json"):
            PrecomputedTokens.from_mygo_folder(folder, "FB15K")
        (folder / "data" / "DB15K" / "entity2id.txt").write_text("Anarchism 0\nAnarchism\n")
        with pytest.raises(DataError, match=r"entity2id\.txt:2: expected a name"):
            PrecomputedTokens.from_mygo_folder(folder, "DB15K")
        (folder / "tokens" / "visual.npy").unlink()
        with pytest.raises(DataError, match=r"visual\.npy: no such file.*numpy\.save"):
            PrecomputedTokens.from_mygo_folder(folder, "DB15K")
        with pytest.raises(DataError, match="found no file of this kind"):
            PrecomputedTokens.from_mygo_folder(folder / "data", "DB15K")


def test_a_codebook_without_its_tokenizer_does_for_graphs_without_images():
    stand_in = MissingImageTokens(Codebook("beit", np.zeros((4, 2), np.float32)))
    ids, mask = stand_in([(), ()], None, ["a", "b"], 3)
    assert ids.shape == mask.shape == (2, 3)
    assert not mask.any()
    with pytest.raises(CheckpointError, match="reads images as ids of beit"):
        stand_in([("a.png",)], None, ["a"], 3)


@pytest.mark.skipif(not (DATA / "codebooks").is_dir(), reason="development data is not at hand")
def test_real_beit_codebook(tmp_path):
    (tmp_path / "DB15K-visual.json").write_text(json.dumps({"0": [8191, 8192, 0] * 196}))
    (tmp_path / "visual.npy").symlink_to(DATA / "codebooks" / "beit_v2_vqkd_8193x32.npy")
    tokens = PrecomputedTokens.from_mygo_folder(tmp_path, "DB15K")
    assert tokens.codebook.name == "imported-8193x32"
    assert tokens([()], None, ["0"], 2)[0].tolist() == [[8191, 8192]]


@pytest.mark.skipif(not DATA.is_dir(), reason="development data is not at hand")
def test_real_token_file(caplog):
    tokens = PrecomputedTokens.from_npz(DATA / "images" / "visual_tokens_effnet_k1024.npz")
    assert tokens.codebook.vectors.shape == (1024, 112)
    images = {}
    for line in (DATA / "CoDEx-S" / "entity2image.tsv").read_text().splitlines():
        entity, image = line.split("\t")[:2]
        images.setdefault(entity, []).append(image)
    _, mask = tokens(list(images.values()), None, list(images), 8)
    assert mask.any(axis=1).all()
    assert not caplog.records
