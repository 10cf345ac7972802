"""Where patterns and base are compared: rings and discs about their middle."""

from __future__ import annotations

import numpy as np

PUBLISHED_SIZE = 200  # pixels along each side that radii and centres below count
RING_2 = 65.6  # |g| of the second ring [pixels]
N_SPOTS = 6
RING_WIDTH = 6.0  # half the width in which it lies, strained or not, and the third does not


def ring(size: int, inner: float, outer: float) -> np.ndarray:
    """Return a ring about the middle, ``(size, size)`` float32 of 0 and 1.

    Parameters
    ----------
    size : int
        Pixels along each side of the mask.
    inner, outer : float
        Its radii [pixels of 200 along each side].
    """
    distance = np.hypot(*_from_middle(size))
    return ((distance >= inner) & (distance <= outer)).astype(np.float32)


def discs(size: int, centres: np.ndarray, radius: float) -> np.ndarray:
    """Return discs, a mask each, ``(n, size, size)`` float32 of 0 and 1.

    Parameters
    ----------
    size : int
        Pixels along each side of the masks.
    centres : numpy.ndarray
        ``(n, 2)``, row and column from the middle [pixels of 200 along each side].
    radius : float
        Their radius, in the same pixels.
    """
    rows, columns = _from_middle(size)
    apart = np.hypot(rows - centres[:, 0, None, None], columns - centres[:, 1, None, None])
    return (apart <= radius).astype(np.float32)


def ring_2_centres(angle: float) -> np.ndarray:
    """Return the spots of the second ring, ``(6, 2)``, row and column from the middle.

    Parameters
    ----------
    angle : float
        Of the first of them, from the columns' axis towards the rows' [rad].
    """
    angles = angle + np.arange(N_SPOTS) * (np.pi / 3)
    return RING_2 * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def orientation(base: np.ndarray) -> float:
    """Return the angle of a base's second ring, as `ring_2_centres` takes it, within 60° [rad].

    Parameters
    ----------
    base : numpy.ndarray
        ``(size, size)``.
    """
    rows, columns = _from_middle(len(base))
    on_ring = base * ring(len(base), RING_2 - RING_WIDTH, RING_2 + RING_WIDTH)
    wave = (on_ring * np.exp(1j * N_SPOTS * np.arctan2(rows, columns))).sum()
    return float(np.angle(wave) / N_SPOTS % (2 * np.pi / N_SPOTS))


def centres_of_mass(base: np.ndarray, masks: np.ndarray, threshold: float) -> np.ndarray:
    """Return where a base is brightest within each mask, ``(n, 2)`` as `discs` takes them.

    Parameters
    ----------
    base : numpy.ndarray
        ``(size, size)``.
    masks : numpy.ndarray
        ``(n, size, size)``.
    threshold : float
        What counts lies above this many times the mean within the mask.
    """
    within = masks > 0
    means = (base * within).sum(axis=(1, 2)) / within.sum(axis=(1, 2))
    weights = np.maximum(base - threshold * means[:, None, None], 0) * within
    empty = weights.sum(axis=(1, 2), keepdims=True) == 0
    weights = np.where(empty, within, weights)  # nothing stands out: the mask's own middle
    total = weights.sum(axis=(1, 2))
    rows, columns = np.broadcast_arrays(*_from_middle(len(base)))
    return np.stack([(weights * a).sum(axis=(1, 2)) / total for a in (rows, columns)], axis=1)


def _from_middle(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows ``(size, 1)`` and columns ``(1, size)`` from the middle, in published pixels."""
    places = (np.arange(size) - (size - 1) / 2) * (PUBLISHED_SIZE / size)
    return places[:, None], places[None, :]
