import dataclasses
import gc
import json
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.image import PatchTokenizer, PrecomputedTokens
from tofu_jax.tokens.patches import patch_descriptors
from tofu_jax.tokens.pictures import read_picture

SHARED_DATA = pathlib.Path(__file__).parents[3] / "shared" / "data"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 {height}"><rect width="30" height="10" fill="red"/></svg>'


def draw(path, seed):
    """A noisy picture with some flat areas, not square."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((160, 120), Image.Resampling.NEAREST if seed % 2 else None)
    picture.save(path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return [draw(folder / f"{seed}.{'png' if seed % 3 else 'jpg'}", seed) for seed in range(10)]


@pytest.fixture(scope="module")
def tokenizer(pictures):
    return PatchTokenizer.fit(pictures, num_codes=16)


def fake_png(path, width, height):
    """A few bytes that claim to be a picture of any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


class TestReadPicture:
    def test_svg_is_drawn_on_white_and_stretched(self, tmp_path):
        (tmp_path / "half.svg").write_text(SVG.format(height=20))
        pixels = np.asarray(read_picture(tmp_path / "half.svg"))
        assert pixels.shape == (224, 224, 3)
        assert (pixels[:100] == [255, 0, 0]).all()
        assert (pixels[124:] == 255).all()

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
    def test_transparent_pixels_are_white(self, tmp_path, mode):
        Image.new("LA", (5, 5), (0, 0)).convert("RGBA").convert(mode if mode != "PA" else "RGBA").save(tmp_path / "a.png")
        assert (np.asarray(read_picture(tmp_path / "a.png")) == 255).all()

    @pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGB"])
    def test_every_mode_becomes_rgb(self, tmp_path, mode):
        Image.new("RGB", (5, 9), (255, 255, 255)).convert(mode).save(tmp_path / "a.tif")
        assert (np.asarray(read_picture(tmp_path / "a.tif")) == 255).all()

    def test_sixteen_bits_are_not_clipped(self, tmp_path):
        Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(tmp_path / "deep.png")
        assert (np.asarray(read_picture(tmp_path / "deep.png")) == 0x80).all()

    def test_orientation_in_the_metadata_counts(self, tmp_path):
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:32] = 255
        exif = Image.Exif()
        exif[0x0112] = 3  # upside down
        Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
        turned = np.asarray(read_picture(tmp_path / "turned.jpg"))
        assert turned[:80].max() < 10 and turned[144:].min() > 245

    def test_broken_files_are_named(self, tmp_path, pictures):
        broken = {
            "cut.png": pictures[1].read_bytes()[:200],
            "cut.jpg": pictures[0].read_bytes()[:400],
            "empty.png": b"",
            "text.jpg": b"hello",
            "bad.svg": b"<svg",
            "latin.svg": b"\xff\xfe\xff",
            "none.svg": b"",
        }
        for name, content in broken.items():
            (tmp_path / name).write_bytes(content)
        (tmp_path / "folder.png").mkdir()
        for name in [*broken, "folder.png", "absent.png"]:
            with pytest.raises(DataError, match=name):
                read_picture(tmp_path / name)
        # A file that Pillow forgot to close would surface here, as warnings are errors.
        gc.collect()

    @pytest.mark.parametrize("side", [10_000, 30_000])
    def test_decompression_bombs_are_refused(self, tmp_path, side):
        fake_png(tmp_path / "bomb.png", side, side)
        with pytest.raises(DataError, match=r"bomb\.png.*DecompressionBomb"):
            read_picture(tmp_path / "bomb.png")


class TestDescriptors:
    def test_flat_picture(self):
        descriptors = patch_descriptors(Image.new("RGB", (224, 224), "white"))
        assert (descriptors.shape, descriptors.dtype) == ((196, 32), np.float32)
        assert (descriptors == descriptors[0]).all()
        assert np.isfinite(descriptors).all()

    def test_patches_run_row_by_row_and_see_only_their_place(self):
        pixels = np.full((224, 224, 3), 255, np.uint8)
        pixels[16 * 3 + 4 : 16 * 3 + 12, 16 * 5 + 4 : 16 * 5 + 12] = [255, 0, 0]
        descriptors = patch_descriptors(Image.fromarray(pixels))
        changed = np.flatnonzero((descriptors != descriptors[0]).any(axis=1))
        assert changed.tolist() == [3 * 14 + 5]

    def test_orientation_is_seen_and_contrast_sign_is_not(self):
        stripes = np.zeros((224, 224, 3), np.uint8)
        stripes[:, ::8] = 255

        def middle(pixels):
            return patch_descriptors(Image.fromarray(pixels))[7 * 14 + 7, 12:].reshape(4, 5)

        upright, lying = middle(stripes), middle(np.ascontiguousarray(stripes.transpose(1, 0, 2)))
        assert (upright[:, 1] > 0.5).all() and (lying[:, 1] < -0.5).all()
        np.testing.assert_allclose(upright[:, 3], lying[:, 3], rtol=1e-3)
        np.testing.assert_allclose(upright, middle(255 - stripes), atol=1e-3)


class TestPatchTokenizer:
    def test_encode(self, tokenizer, pictures):
        codes = tokenizer.encode(pictures[0])
        assert (codes.shape, codes.dtype) == ((196,), np.int32)
        assert codes.min() >= 0 and codes.max() < 16
        descriptors = patch_descriptors(read_picture(pictures[0]))
        distances = ((descriptors[:, None] - tokenizer.codebook.vectors) ** 2).sum(axis=2)
        chosen = distances[np.arange(196), codes]
        np.testing.assert_allclose(chosen, distances.min(axis=1), rtol=1e-3, atol=1e-3)

    def test_codebook_alone_is_enough(self, tokenizer, pictures, tmp_path):
        tokenizer.codebook.save(tmp_path / "codebook.npz")
        again = PatchTokenizer(Codebook.load(tmp_path / "codebook.npz"))
        np.testing.assert_array_equal(again.encode(pictures[2]), tokenizer.encode(pictures[2]))

    def test_fit_is_deterministic(self, tokenizer, pictures):
        again = PatchTokenizer.fit([str(path) for path in reversed(pictures)], num_codes=16)
        assert again.codebook.sha256 == tokenizer.codebook.sha256
        other = PatchTokenizer.fit(pictures, num_codes=16, seed=1)
        assert other.codebook.sha256 != tokenizer.codebook.sha256
        sampled = PatchTokenizer.fit(pictures, num_codes=16, max_images=4)
        assert sampled.codebook.sha256 == PatchTokenizer.fit(pictures, num_codes=16, max_images=4).codebook.sha256
        assert sampled.codebook.sha256 != tokenizer.codebook.sha256

    def test_fit_skips_broken_images(self, tokenizer, pictures, tmp_path, caplog):
        again = PatchTokenizer.fit([*pictures, tmp_path / "absent.png"], num_codes=16)
        assert again.codebook.sha256 == tokenizer.codebook.sha256
        assert "1 images are missing or broken" in caplog.text

    def test_too_few_different_patches(self, tmp_path):
        Image.new("RGB", (9, 9), "blue").save(tmp_path / "blue.png")
        with pytest.raises(DataError, match="1 readable images have only 1 different patches, too few for 16"):
            PatchTokenizer.fit([tmp_path / "blue.png"], num_codes=16)
        with pytest.raises(DataError, match="0 readable images"):
            PatchTokenizer.fit([], num_codes=16)

    def test_another_codebook_is_refused(self):
        with pytest.raises(DataError, match="not for patch descriptors"):
            PatchTokenizer(Codebook("beit", np.zeros((4, 32), np.float32)))
        with pytest.raises(DataError, match="not for patch descriptors"):
            PatchTokenizer(Codebook("patches-v1-k4", np.zeros((4, 7), np.float32)))

    def test_pools_images_and_masks_broken_ones(self, tokenizer, pictures, tmp_path, caplog):
        root = pictures[0].parent
        images = [("0.jpg", "1.png"), (), ("absent.png",), ("1.png", "absent.png"), ("nothing.gif", "1.png")]
        ids, mask = tokenizer(images, root, list("abcde"), 4)
        assert (ids.shape, ids.dtype, mask.dtype) == ((5, 4), np.int32, bool)
        assert mask.any(axis=1).tolist() == [True, False, False, True, True]
        assert not ids[~mask].any()
        np.testing.assert_array_equal(ids[3], ids[4])
        pooled = np.concatenate([tokenizer.encode(root / name) for name in images[0]])
        assert ids[0, 0] == np.bincount(pooled).argmax()
        assert len(caplog.records) == 1
        assert f"2 images are missing or broken and are masked, the first is {root / 'absent.png'}" in caplog.text

    def test_images_need_a_root(self, tokenizer):
        assert not tokenizer([(), ()], None, ["a", "b"], 4)[1].any()
        with pytest.raises(DataError, match="image_root"):
            tokenizer([("0.jpg",)], None, ["a"], 4)

    def test_worker_processes_change_nothing(self, tokenizer, pictures, tmp_path, monkeypatch):
        monkeypatch.setattr("tofu_jax.tokens.image._WORTH_PROCESSES", 40)
        names = [f"{i}.png" for i in range(40)]
        for i, name in enumerate(names):
            (tmp_path / name).symlink_to(pictures[1 + i % 2])
        (tmp_path / names[7]).unlink()
        images = [(name,) for name in names]
        several = dataclasses.replace(tokenizer, workers=2)
        for expected, found in zip(tokenizer(images, tmp_path, names, 4), several(images, tmp_path, names, 4), strict=True):
            np.testing.assert_array_equal(expected, found)


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


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="development data is not at hand")
def test_real_token_file(caplog):
    tokens = PrecomputedTokens.from_npz(SHARED_DATA / "images" / "visual_tokens_effnet_k1024.npz")
    assert tokens.codebook.vectors.shape == (1024, 112)
    images = {}
    for line in (SHARED_DATA / "CoDEx-S" / "entity2image.tsv").read_text().splitlines():
        entity, image = line.split("\t")[:2]
        images.setdefault(entity, []).append(image)
    _, mask = tokens(list(images.values()), None, list(images), 8)
    assert mask.any(axis=1).all()
    assert not caplog.records
