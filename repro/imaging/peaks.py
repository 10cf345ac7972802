"""Where a peak is, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np


def parabola_offset(slope: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Return how far the top of a parabola through three neighbours is from the middle one.

    Parameters
    ----------
    slope : numpy.ndarray
        First value minus the third, of any shape.
    curvature : numpy.ndarray
        First value minus twice the second plus the third, same shape.

    Returns
    -------
    numpy.ndarray
        Same shape [pixels], within half a pixel; 0 where the values have no maximum.
    """
    offset = np.divide(slope, 2 * curvature, out=np.zeros_like(slope), where=curvature < 0)
    return np.clip(offset, -0.5, 0.5)


def centre_of_mass(images: np.ndarray) -> np.ndarray:
    """Return the centre of mass of images from their middle, ``(..., 2)`` [pixels].

    Parameters
    ----------
    images : numpy.ndarray
        ``(..., height, width)``, not below 0; of an empty image the centre is the middle.

    Returns
    -------
    numpy.ndarray
        Along the height first, then along the width.
    """
    total = np.maximum(images.sum(axis=(-2, -1)), np.finfo(np.float32).tiny)
    down, across = (np.arange(n) - (n - 1) / 2 for n in images.shape[-2:])
    moments = np.einsum("...xy,x->...", images, down), np.einsum("...xy,y->...", images, across)
    return np.stack([moment / total for moment in moments], axis=-1)
