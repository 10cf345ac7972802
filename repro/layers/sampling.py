"""Images sampled where an affine map leads, or on a finer or coarser grid, as PyTorch does it.

Keras's own interpolation is of another kind: its cubic is a = -0.5, PyTorch's a = -0.75, and it has
no cubic sampling at places that a network chooses.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

CUBIC = -0.75  # the parameter a of cubic convolution (Keys 1981, IEEE Trans. ASSP 29, 1153)
N_NEIGHBOURS = {"bilinear": 2, "bicubic": 4}  # along each axis


def compose(first, second):
    """Return the affine map that leads where ``first`` leads from where ``second`` leads.

    Parameters
    ----------
    first, second : tensor
        ``(n, 2, 3)``.

    Returns
    -------
    tensor
        ``(n, 2, 3)``.
    """
    a, b = _entries(first), _entries(second)
    rows = [
        [r[0] * b[0][i] + r[1] * b[1][i] + (r[2] if i == 2 else 0) for i in range(3)] for r in a
    ]
    return _matrix(rows)


def inverse(matrices):
    """Return the affine maps that lead back, ``(n, 2, 3)``.

    Parameters
    ----------
    matrices : tensor
        ``(n, 2, 3)``, none of which maps the plane onto a line.
    """
    (a, b, x), (c, d, y) = _entries(matrices)
    area = a * d - b * c
    return _matrix(
        [
            [d / area, -b / area, (b * y - d * x) / area],
            [-c / area, a / area, (c * x - a * y) / area],
        ]
    )


# Sums written out: as a product of matrices, a GPU may compute them in TensorFloat-32, with ten
# bits, and on an image of 800 pixels that is a shift by up to half a pixel.
def _entries(matrices):
    return [[matrices[:, row, column] for column in range(3)] for row in range(2)]


def _matrix(rows):
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


@keras.saving.register_keras_serializable(package="repro")
class AffineSampler(layers.Layer):
    """Images resampled by affine maps, a map an image; beyond the edge they are 0.

    As PyTorch's ``affine_grid`` and ``grid_sample`` with ``align_corners=False`` and
    ``padding_mode="zeros"``. Coordinates are -1 and 1 at the outer edges of the image, x along its
    width, y along its height, downwards. Computed in float32 at least, whatever the precision;
    differentiable by images and maps.

    Parameters
    ----------
    interpolation : str
        ``"bilinear"``, or ``"bicubic"`` by cubic convolution with a = -0.75.
    size : tuple of int, optional
        Height and width of what comes out [pixels]; by default those of the images.

    Raises
    ------
    ValueError
        If the interpolation is another one.
    """

    def __init__(
        self,
        interpolation: str = "bilinear",
        size: tuple[int, int] | None = None,
        **keywords,
    ):
        super().__init__(**keywords, autocast=False)  # maps keep their precision
        self.interpolation, self.size = _known(interpolation), size and tuple(size)

    def call(self, images, matrices):
        """Return ``(n, height, width, channels)``, dtype of the layer's computations.

        Parameters
        ----------
        images : tensor
            ``(n, any height, any width, channels)``.
        matrices : tensor
            ``(n, 2, 3)``: the output at (x, y) shows the image at ``matrix @ (x, y, 1)``.
        """
        precise = _precise(self.compute_dtype)
        size = self.size or tuple(images.shape[1:3])
        x, y = _sources(ops.cast(matrices, precise), size, tuple(images.shape[1:3]))
        sampled = sampled_at(images, x, y, self.interpolation, precise)
        return ops.cast(sampled, self.compute_dtype)

    def compute_output_shape(self, images_shape, matrices_shape):
        """Return the shape of what comes out."""
        n, height, width, channels = images_shape
        return (n, *(self.size or (height, width)), channels)

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "interpolation": self.interpolation, "size": self.size}


@keras.saving.register_keras_serializable(package="repro")
class Resize(layers.Layer):
    """Images of another size by interpolation, as PyTorch's ``interpolate``; edges are repeated.

    Smaller images are not averaged over areas: what lies between the samples is lost.

    Parameters
    ----------
    size : tuple of int
        Height and width wanted [pixels].
    interpolation : str
        ``"bilinear"``, or ``"bicubic"`` by cubic convolution with a = -0.75.
    align_corners : bool
        Put the centres of the corner pixels on one another, instead of the edges of the images.

    Raises
    ------
    ValueError
        If the interpolation is another one.
    """

    def __init__(
        self,
        size: tuple[int, int],
        interpolation: str = "bilinear",
        align_corners: bool = False,
        **keywords,
    ):
        super().__init__(**keywords)
        self.size, self.interpolation = tuple(size), _known(interpolation)
        self.align_corners = align_corners

    def call(self, images):
        """Return ``(n, height, width, channels)`` of ``(n, any height, any width, channels)``."""
        for axis, n_wanted in zip((1, 2), self.size, strict=True):
            images = self._along(images, axis, n_wanted)
        return images

    def _along(self, images, axis: int, n_wanted: int):
        n = images.shape[axis]
        places = np.arange(n_wanted)
        if self.align_corners:
            at = places * ((n - 1) / max(n_wanted - 1, 1))
        else:
            at = (places + 0.5) * (n / n_wanted) - 0.5
        first = np.floor(at)
        shape = [n_wanted if i == axis else 1 for i in range(4)]
        total = 0
        for step, weight in _neighbours(at - first, self.interpolation):
            row = np.clip(first + step, 0, n - 1).astype(np.int32)
            share = ops.convert_to_tensor(weight.reshape(shape), images.dtype)
            total = total + share * ops.take(images, row, axis=axis)
        return total

    def compute_output_shape(self, images_shape):
        """Return the shape of what comes out."""
        return (images_shape[0], *self.size, images_shape[3])

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        own = ("size", "interpolation", "align_corners")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _known(interpolation: str) -> str:
    if interpolation not in N_NEIGHBOURS:
        known = " or ".join(N_NEIGHBOURS)
        raise ValueError(f"Interpolation {interpolation!r} is not known: choose {known}.")
    return interpolation


def _precise(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def sources(matrices, rows, columns, size: int):
    """Return where pixels of a square image come from, x and y [pixels], 0 the first.

    Parameters
    ----------
    matrices : tensor
        ``(n, 2, 3)``, as `AffineSampler` takes them.
    rows, columns : tensor
        Places of pixels, ``(n or 1, ...)``.
    size : int
        Pixels along each side of the image and of that which it comes from.
    """
    middle = (size - 1) / 2
    y, x = rows - middle, columns - middle
    each = (..., *[None] * (len(y.shape) - 1))
    (a, b, right), (c, d, down) = ((e[each] for e in row) for row in _entries(matrices))
    half = size / 2
    return a * x + b * y + (right * half + middle), c * x + d * y + (down * half + middle)


def _sources(matrices, size: tuple[int, int], of_images: tuple[int, int]):
    """Return where each pixel comes from: x and y, ``(n, height, width)`` [pixels], 0 the first.

    Counted from the middle in pixels, so that the identity is exact.
    """
    (a, b, right), (c, d, down) = _entries(matrices[:, :, :, None, None])

    def along(n: int, of_x, of_y, shift):
        y, x = (
            ops.convert_to_tensor((np.arange(m) - (m - 1) / 2) * (n / m), matrices.dtype)
            for m in size
        )
        return of_x * x + of_y * y[:, None] + (shift * (n / 2) + (n - 1) / 2)

    height, width = of_images
    return along(width, a, b, right), along(height, c, d, down)


def sampled_at(images, x, y, interpolation: str, precise: str = "float32"):
    """Return images at places, ``(n, height, width, channels)``; 0 beyond the edge.

    Parameters
    ----------
    images : tensor
        ``(n, any height, any width, channels)``; of one image all places are.
    x, y : tensor
        ``(n, height, width)`` [pixels], 0 the middle of the first.
    interpolation : str
        ``"bilinear"`` or ``"bicubic"``.
    precise : str
        dtype that is computed in.
    """
    rows, columns, channels = images.shape[1:]
    framed = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    pixels = ops.reshape(framed, (-1, channels))
    n_framed = (rows + 2) * (columns + 2)
    image = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None] * n_framed
    left, top = ops.floor(x), ops.floor(y)
    across = _placed(left, x - left, columns, interpolation)
    downwards = _placed(top, y - top, rows, interpolation)
    total = 0
    for row, of_row in downwards:
        for column, of_column in across:
            place = image + row * (columns + 2) + column
            values = ops.cast(ops.take(pixels, place, axis=0), precise)
            total = total + (of_row * of_column)[..., None] * values
    return total


def _placed(first, part, n: int, interpolation: str):
    """Return the neighbours' places in a row of n pixels that has a dark one at either end."""
    first = ops.cast(ops.clip(first, -4, n + 3), "int32")  # far outside is outside
    return [
        (ops.clip(first + step, -1, n) + 1, weight)
        for step, weight in _neighbours(part, interpolation)
    ]


def _neighbours(part, interpolation: str):
    """Return the neighbours of a place and what each counts.

    Parameters
    ----------
    part : array or tensor
        How far the place is from the pixel before it, from 0 to 1.
    interpolation : str
        A key of `N_NEIGHBOURS`.

    Returns
    -------
    list of (int, array or tensor)
        Steps from the pixel before the place, and weights, which sum to 1.
    """
    if interpolation == "bilinear":
        return [(0, 1 - part), (1, part)]
    return [
        (-1, _outer_cubic(1 + part)),
        (0, _inner_cubic(part)),
        (1, _inner_cubic(1 - part)),
        (2, _outer_cubic(2 - part)),
    ]


def _inner_cubic(distance):
    """Return the weight of a pixel up to 1 away."""
    return ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1


def _outer_cubic(distance):
    """Return the weight of a pixel from 1 to 2 away."""
    return CUBIC * (((distance - 5) * distance + 8) * distance - 4)
