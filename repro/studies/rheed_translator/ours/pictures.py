"""What becomes of a film's pattern on its way into a user's picture of 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from repro.imaging.geometry import resized

MAGNIFICATION, EXPONENT, EXPOSURE, CUT = 1.05, 1.4, 0.3, 0.6


def magnified(images: np.ndarray, factor: float) -> np.ndarray:
    """Return images magnified about their centre, same shape; the edge fills what becomes free.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)``.
    factor : float
        Below 1 they become smaller.
    """
    height, width = images.shape[1:]
    larger = resized(images, round(factor * height), round(factor * width))
    rows, columns = (
        np.clip(np.arange(n) + (n_larger - n) // 2, 0, n_larger - 1)
        for n, n_larger in zip((height, width), larger.shape[1:], strict=True)
    )
    return larger[:, rows[:, None], columns]


def eight_bits(images: np.ndarray) -> np.ndarray:
    """Return images from 0 to 1 rounded to 256 levels."""
    return (np.rint(255 * np.clip(images, 0, 1)) / 255).astype(np.float32)


DISTURBED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "rounded": (lambda images: images, "rounded to 8 bits"),
    "dim": (lambda images: EXPOSURE * images, f"at {EXPOSURE:.0%} of the exposure, 8 bits"),
    "magnified": (
        lambda images: magnified(images, MAGNIFICATION),
        f"magnified {MAGNIFICATION} times, 8 bits",
    ),
    "reduced": (
        lambda images: magnified(images, 1 / MAGNIFICATION),
        f"reduced {MAGNIFICATION} times, 8 bits",
    ),
    "darkened": (lambda images: images**EXPONENT, f"to the power of {EXPONENT}, 8 bits"),
    "brightened": (
        lambda images: images ** (1 / EXPONENT),
        f"to the power of 1/{EXPONENT}, 8 bits",
    ),
    "saturated": (
        lambda images: np.minimum(images / CUT, 1),
        f"cut off at {CUT:.0%} of the brightest pixel, 8 bits",
    ),
}


def disturbed(name: str, images: np.ndarray) -> np.ndarray:
    """Return films, ``(n, height, width)`` from 0 to 1, as pictures disturbed in a known way.

    Parameters
    ----------
    name : str
        A key of `DISTURBED`.
    images : numpy.ndarray
        ``(n, height, width)``, intensity as fraction of the film's maximum.
    """
    return eight_bits(DISTURBED[name][0](images))
