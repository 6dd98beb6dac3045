"""Picture files, raster or SVG, to 224x224 RGB.

Pictures come from anywhere, so each format is read by a decoder within this process and none that starts another program (as
Pillow does for EPS), and what would take gigabytes or minutes is refused.
"""

import io
import pathlib
import re
import warnings

import numpy as np
from PIL import Image, ImageOps

from tofu_jax.errors import DataError

SIDE = 224
# SVG is drawn at half the side and enlarged: resvg-py hands out PNG, and compressing that is four fifths of its time.
_DRAWN_SIDE = 112
# A glyph has some kilobytes; what is far larger is no glyph and could keep the renderer busy for minutes.
_MAX_SVG_BYTES = 10_000_000
# An SVG may show any file of this machine by its path, or an inner picture of any size; entities can hide that it does.
_REACHES_OUT = re.compile(r"<([\w.-]+:)?(image|feImage)\b|<!ENTITY[^>]*[<&]")
# Some filters take as long as a number in the file says; shadows and blurs are no loss at this size.
_WITHOUT_FILTERS = "* {filter: none !important}"
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM", "ICO", "TGA")
_WHITE = (255, 255, 255, 255)


def read_picture(path: pathlib.Path) -> Image.Image:
    """Reads a picture on a white background.

    The whole picture is stretched to a square: nothing is cropped, and no patch is spent on margins.

    Args:
      path: of a picture file: JPEG, PNG, WebP, GIF (the first frame), AVIF, BMP, TIFF, JPEG 2000, PPM, ICO or TGA,
        whatever its name; only .svg is told by its name. Text in SVG is not drawn, since it would depend on the fonts of the
        machine, and neither are filters.

    Returns:
      An RGB image of 224x224.

    Raises:
      DataError: missing, damaged, of another format, more pixels than Pillow's limit against decompression bombs, or an
        SVG that is huge or shows other pictures; names the file.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("no such file")
        with warnings.catch_warnings():
            # One report by the caller instead of Pillow's remarks on odd metadata, file by file; but the remark on
            # a possible bomb (over 89 million pixels) counts as an error, which Pillow keeps for twice that size.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _draw_svg(path) if path.suffix.lower() == ".svg" else _read_raster(path)
    # Decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError and more on damaged bytes.
    except Exception as error:
        raise DataError(f"{path}: cannot be read as a picture ({type(error).__name__}: {error}).") from error


def _read_raster(path: pathlib.Path) -> Image.Image:
    with Image.open(path, formats=_FORMATS) as image:
        # Lets the JPEG decoder skip detail that the next step would throw away.
        image.draft("RGB", (SIDE, SIDE))
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I;16"):
            # Pillow would clip 16 bits at 255.
            return _square(Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)))
        return _square(image)


def _draw_svg(path: pathlib.Path) -> Image.Image:
    import resvg_py

    if path.stat().st_size > _MAX_SVG_BYTES:
        raise ValueError(f"an SVG of more than {_MAX_SVG_BYTES:,} bytes")
    svg = path.read_text("utf-8")
    if _REACHES_OUT.search(svg):
        raise ValueError("an SVG that shows other pictures")
    drawn = resvg_py.svg_to_bytes(
        svg_string=svg,
        style_sheet=_WITHOUT_FILTERS,
        background="#ffffff",
        width=_DRAWN_SIDE,
        height=_DRAWN_SIDE,
        skip_system_fonts=True,
    )
    # The background leaves nothing transparent, so the alpha channel can go.
    return _square(Image.open(io.BytesIO(drawn)).convert("RGB"))


def _square(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
