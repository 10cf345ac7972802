"""Images of another size, moved or turned; interpolation is linear."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array


def resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return images of another size, smaller ones averaged over areas, larger ones interpolated.

    Parameters
    ----------
    images : numpy.ndarray
        ``(..., rows, columns)`` float.
    height, width : int
        Rows and columns wanted [pixels].

    Returns
    -------
    numpy.ndarray
        ``(..., height, width)`` float32.
    """
    rows, columns = images.shape[-2:]
    if (rows, columns) == (height, width):
        return np.asarray(images, dtype=np.float32)
    vertical = _resizing(rows, height)
    horizontal = _resizing(columns, width)
    return (vertical @ images @ horizontal.T).astype(np.float32)


def _resizing(n: int, n_wanted: int) -> np.ndarray:
    """Return the matrix that resizes a row of pixels, ``(n_wanted, n)``, rows summing to 1.

    Smaller: the share of each old pixel in the new one. Larger: linear between the centres.
    """
    step = n / n_wanted
    if n_wanted <= n:
        first, old = step * np.arange(n_wanted)[:, None], np.arange(n)
        overlap = np.minimum(first + step, old + 1) - np.maximum(first, old)
        return np.maximum(overlap, 0) / step
    centres = np.clip(step * (np.arange(n_wanted) + 0.5) - 0.5, 0, n - 1)
    return np.maximum(1 - np.abs(centres[:, None] - np.arange(n)), 0)


def shifted(images: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return images moved to the left; the outermost columns fill what becomes free.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)``.
    shift : numpy.ndarray
        ``(n,)`` [share of the width]; below 0 to the right.
    """
    width = images.shape[2]
    at = np.clip(np.arange(width) + shift[:, None] * width, 0, width - 1)
    left = np.minimum(at.astype(int), width - 2)
    part = (at - left)[:, None, :]
    one, next_one = (np.take_along_axis(images, (left + i)[:, None, :], axis=2) for i in (0, 1))
    return one * (1 - part) + next_one * part


def rotated(images: np.ndarray, degrees: np.ndarray | float) -> np.ndarray:
    """Return images turned about their centre, same shape; beyond the edge they are 0.

    Parameters
    ----------
    images : numpy.ndarray
        ``(..., height, width)``.
    degrees : numpy.ndarray or float
        Angle from the rows' axis towards the columns'; one, or ``(n,)`` for the first axis.
    """
    images = np.asarray(images)
    height, width = images.shape[-2:]
    turning = _turning(height, width, np.atleast_1d(degrees))
    together = images.reshape(np.size(degrees), -1, height * width).swapaxes(1, 2)
    turned = turning @ together.reshape(turning.shape[1], -1)
    return turned.reshape(together.shape).swapaxes(1, 2).reshape(images.shape)


def _turning(height: int, width: int, degrees: np.ndarray) -> csr_array:
    """Return the matrix that turns n images below each other, four weights a pixel.

    One product with it is many small steps less for Python, for which threads would queue.
    """
    angles = np.deg2rad(degrees)[:, None, None]
    rows, columns = _from_centre(height)[:, None], _from_centre(width)
    cosine, sine = np.cos(angles), np.sin(angles)
    x = (cosine * rows + sine * columns + (height - 1) / 2)[..., None]
    y = (cosine * columns - sine * rows + (width - 1) / 2)[..., None]
    i, j = np.add(np.floor(x), [0, 0, 1, 1]), np.add(np.floor(y), [0, 1, 0, 1])
    weights = (1 - np.abs(x - i)) * (1 - np.abs(y - j))
    inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
    first = height * width * np.arange(len(degrees))[:, None, None, None]
    places = first + np.where(inside, i * width + j, 0)
    n = len(degrees) * height * width
    taken = np.where(inside, weights, 0).astype(np.float32).ravel()
    return csr_array((taken, places.astype(int).ravel(), np.arange(0, 4 * n + 1, 4)), (n, n))


def _from_centre(n: int) -> np.ndarray:
    """Return how far each of n pixels in a row is from their middle, ``(n,)`` [pixels]."""
    return np.arange(n) - (n - 1) / 2


def pixel_axes(parameters: dict) -> dict[str, tuple[np.ndarray, str]]:
    """Return values and unit of the axes ``y`` (down) and ``x`` of images, counted in pixels.

    Parameters
    ----------
    parameters : dict
        A data spec's, with ``height`` and ``width`` [pixel].
    """
    return {name: (np.arange(parameters[n]), "px") for name, n in (("y", "height"), ("x", "width"))}
