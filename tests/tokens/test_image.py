import contextlib
import dataclasses
import gc
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tofu_jax.errors import DataError
from tofu_jax.tokens.chunks import ChunkedWork
from tofu_jax.tokens.codebook import Codebook
from tofu_jax.tokens.image import PatchTokenizer
from tofu_jax.tokens.patches import patch_descriptors
from tofu_jax.tokens.pictures import read_picture

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

    def test_a_huge_svg_is_refused_unread(self, tmp_path):
        with (tmp_path / "huge.svg").open("wb") as file:
            file.truncate(10_000_001)
        with pytest.raises(DataError, match=r"huge\.svg.*an SVG of more than 10,000,000 bytes"):
            read_picture(tmp_path / "huge.svg")

    @pytest.mark.parametrize(
        "inside",
        [
            '<image width="30" height="30" xlink:href="{secret}"/>',
            '<svg:image xmlns:svg="http://www.w3.org/2000/svg" width="30" height="30" href="{secret}"/>',
            '<image width="30" height="30" href="data:image/png;base64,iVBORw0KGgo="/>',
            '<filter id="f"><feImage href="{secret}"/></filter><rect width="30" height="30" filter="url(#f)"/>',
        ],
    )
    def test_svg_does_not_show_other_files(self, tmp_path, pictures, inside):
        root = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 30 30">'
        (tmp_path / "a.svg").write_text(root + inside.format(secret=pictures[1]) + "</svg>")
        with pytest.raises(DataError, match=r"a\.svg.*shows other pictures"):
            read_picture(tmp_path / "a.svg")
        hidden = "<!DOCTYPE svg [<!ENTITY x '&#60;image/>'>]>" + root + "&x;</svg>"
        (tmp_path / "a.svg").write_text(hidden)
        with pytest.raises(DataError, match=r"a\.svg.*shows other pictures"):
            read_picture(tmp_path / "a.svg")

    @pytest.mark.parametrize("how", ['filter="url(#f)"', 'style="filter: url(#f) !important"'])
    def test_svg_filters_are_left_out(self, tmp_path, how):
        # This one would run for hours.
        filters = '<filter id="f"><feTurbulence baseFrequency="0.05" numOctaves="1000000000"/></filter>'
        body = f'{filters}<rect width="30" height="30" fill="red" {how}/>'
        (tmp_path / "a.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 30">{body}</svg>')
        assert (np.asarray(read_picture(tmp_path / "a.svg")) == [255, 0, 0]).all()

    def test_no_other_program_is_started(self, tmp_path):
        # Pillow would hand this to Ghostscript, whatever the file is called.
        (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
        with pytest.raises(DataError, match=r"a\.png.*UnidentifiedImageError"):
            read_picture(tmp_path / "a.png")

    @settings(max_examples=60)
    @given(data=st.data())
    def test_damaged_files_are_read_or_refused(self, pictures, tmp_path_factory, data):
        content = bytearray(pictures[data.draw(st.integers(0, 5))].read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        suffix = data.draw(st.sampled_from([".png", ".jpg", ".gif", ".svg"]))
        path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        with contextlib.suppress(DataError):
            assert read_picture(path).size == (224, 224)

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

    def test_no_readable_image(self, tmp_path, caplog):
        assert PatchTokenizer.fit([]) is None
        assert not caplog.records
        work = ChunkedWork()
        assert PatchTokenizer.fit([tmp_path / "absent.png"], work=work) is None
        assert list(work.broken_images) == [str(tmp_path / "absent.png")]

    def test_another_codebook_is_refused(self):
        with pytest.raises(DataError, match="not for patch descriptors"):
            PatchTokenizer(Codebook("beit", np.zeros((4, 32), np.float32)))
        with pytest.raises(DataError, match="not for patch descriptors"):
            PatchTokenizer(Codebook("patches-v1-k4", np.zeros((4, 7), np.float32)))

    def test_pools_images_and_masks_broken_ones(self, tokenizer, pictures, tmp_path, caplog):
        root = pictures[0].parent
        images = [("0.jpg", "1.png"), (), ("absent.png",), ("1.png", "absent.png"), ("nothing.gif", "1.png")]
        work = ChunkedWork()
        ids, mask = tokenizer(images, root, list("abcde"), 4, work)
        assert (ids.shape, ids.dtype, mask.dtype) == ((5, 4), np.int32, bool)
        assert mask.any(axis=1).tolist() == [True, False, False, True, True]
        assert not ids[~mask].any()
        np.testing.assert_array_equal(ids[3], ids[4])
        pooled = np.concatenate([tokenizer.encode(root / name) for name in images[0]])
        assert ids[0, 0] == np.bincount(pooled).argmax()
        assert len(caplog.records) == 1
        assert f"2 images are missing or broken and are masked, the first is {root / 'absent.png'}" in caplog.text
        assert list(work.broken_images) == [str(root / "absent.png"), str(root / "nothing.gif")]
        assert all("cannot be read as a picture" in reason for reason in work.broken_images.values())

    def test_all_images_broken(self, tokenizer, tmp_path, monkeypatch):
        monkeypatch.setattr("tofu_jax.tokens.image._IMAGES_PER_CHUNK", 2)
        for name, content in {"a.png": b"", "b.jpg": b"\xff\xd8\xff", "c.svg": b"<html/>"}.items():
            (tmp_path / name).write_bytes(content)
        images = [("a.png", "b.jpg"), (), ("c.svg",)]
        work = ChunkedWork()
        ids, mask = tokenizer(images, tmp_path, list("abc"), 4, work)
        assert not ids.any() and not mask.any()
        assert len(work.broken_images) == 3

    def test_images_need_a_root(self, tokenizer):
        assert not tokenizer([(), ()], None, ["a", "b"], 4)[1].any()
        with pytest.raises(DataError, match="image_root"):
            tokenizer([("0.jpg",)], None, ["a"], 4)

    def test_worker_processes_change_nothing(self, tokenizer, pictures, tmp_path, monkeypatch):
        monkeypatch.setattr("tofu_jax.tokens.picture_pool._WORTH_PROCESSES", 40)
        names = [f"{i}.png" for i in range(40)]
        for i, name in enumerate(names):
            (tmp_path / name).symlink_to(pictures[1 + i % 2])
        (tmp_path / names[7]).unlink()
        images = [(name,) for name in names]
        several = dataclasses.replace(tokenizer, workers=2)
        for expected, found in zip(tokenizer(images, tmp_path, names, 4), several(images, tmp_path, names, 4), strict=True):
            np.testing.assert_array_equal(expected, found)
