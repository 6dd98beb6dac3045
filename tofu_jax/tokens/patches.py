"""A compact descriptor of image patches: local colour and local edges, no download and no training."""

import numpy as np
from PIL import Image

from tofu_jax.shapes import Array
from tofu_jax.tokens.pictures import SIDE

PATCH = 16
PATCHES_PER_IMAGE = (SIDE // PATCH) ** 2
_CELL = PATCH // 2
_CELLS = SIDE // _CELL
_COLOUR_VALUES = 3
_EDGE_VALUES = 5
DESCRIPTOR_WIDTH = 4 * (_COLOUR_VALUES + _EDGE_VALUES)

# Centre and spread of the values below, rounded from photographs and emoji. Constants rather than statistics of the
# fitted images, so that descriptors (and with them codebooks) of different image collections share one space, and a
# codebook is all that encoding needs.
_COLOUR_CENTRE = np.array([150, 128, 128], np.float32)
_COLOUR_SPREAD = np.array([70, 20, 20], np.float32)
_EDGE_CENTRE = np.array([2, 0, 0, 0, 0], np.float32)
_EDGE_SPREAD = np.array([2, 1.5, 1.5, 1.5, 1.5], np.float32)


def patch_descriptors(image: Image.Image) -> Array:
    """Describes 14x14 patches of 16x16 pixels, row by row from the top left.

    A patch has four cells of 8x8 pixels. Each cell adds its mean colour (Y, Cb, Cr) and the orientations of its edges
    as a Fourier series: with s and t the strength and angle of the gradient of Y, the means of s, s cos 2t, s sin 2t,
    s cos 4t, s sin 4t, all divided by the square root of the first, which keeps strong edges from drowning the rest.
    This is the smooth form of a histogram of oriented gradients (Dalal and Triggs 2005) and needs no bins.

    Args:
      image: RGB, 224x224.

    Returns:
      float32 [196, 32]: 12 colour values (cell by cell), then 20 edge values (cell by cell); roughly centred, with
      a spread near one.
    """
    # Planes first: every step below then runs over contiguous memory, which is several times faster.
    planes = np.stack([np.asarray(plane, np.float32) for plane in image.convert("YCbCr").split()])
    colour = _cell_means(planes)
    edges = _cell_means(_edge_fourier(planes[0]))
    # Flat cells have zeros throughout; the floor keeps 0 / 0 out.
    edges /= np.sqrt(np.maximum(edges[:, :, :1], 1e-6))
    return np.concatenate(
        [
            _by_patch((colour - _COLOUR_CENTRE) / _COLOUR_SPREAD),
            _by_patch((edges - _EDGE_CENTRE) / _EDGE_SPREAD),
        ],
        axis=1,
    )


def nearest_codes(vectors: Array, image: Image.Image) -> Array:
    """The code of each patch.

    Args:
      vectors: float32 [K, 32], in the space of the descriptors.
      image: RGB, 224x224.

    Returns:
      int32 [196], rows of `vectors`.
    """
    # |c|^2 - 2 x c, in one product: the distance without |x|^2, which is the same for every code.
    descriptors = np.pad(-2 * patch_descriptors(image), [(0, 0), (0, 1)], constant_values=1)
    codes = np.concatenate([vectors, (vectors * vectors).sum(axis=1, keepdims=True)], axis=1)
    return (descriptors @ codes.T).argmin(axis=1).astype(np.int32)


def _edge_fourier(brightness: Array) -> Array:
    """Gradient strength times (1, cos 2t, sin 2t, cos 4t, sin 4t): [5, 224, 224], without computing the angle t."""
    padded = np.pad(brightness, 1, mode="edge")
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    right = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    values = np.empty((_EDGE_VALUES, *brightness.shape), np.float32)
    strength = np.sqrt(down * down + right * right, out=values[0])
    inverse = 1 / np.maximum(strength, 1e-6)
    # s cos 2t = (right^2 - down^2) / s and so on; everything is 0 where the picture is flat.
    np.multiply((right - down) * (right + down), inverse, out=values[1])
    np.multiply(2 * down * right, inverse, out=values[2])
    np.multiply((values[1] - values[2]) * (values[1] + values[2]), inverse, out=values[3])
    np.multiply(2 * values[1] * values[2], inverse, out=values[4])
    return values


def _cell_means(planes: Array) -> Array:
    """[x, 224, 224] per pixel to [28, 28, x] per cell; rows first, which is several times faster than both at once."""
    rows = planes.reshape(-1, _CELLS, _CELL, SIDE).sum(axis=2)
    return rows.reshape(-1, _CELLS, _CELLS, _CELL).sum(axis=3).transpose(1, 2, 0) / _CELL**2


def _by_patch(cells: Array) -> Array:
    """[28, 28, x] per cell to [196, 4 * x] per patch."""
    half = _CELLS // 2
    return cells.reshape(half, 2, half, 2, -1).transpose(0, 2, 1, 3, 4).reshape(PATCHES_PER_IMAGE, -1)
