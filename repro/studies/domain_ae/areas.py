"""Areas of domains against temperature, and what is read from them."""

from __future__ import annotations

import numpy as np

from repro.studies.domain_ae.windows import starts

ENDED = 0.05  # area of all domains below which they count as gone


def pixels_of(size: int, window: int, step: int) -> np.ndarray:
    """Return how many pixels of a side each window stands for, ``(n,)``: those nearest to it."""
    middles = starts(size, window, step) + window / 2
    edges = np.concatenate([[0], (middles[1:] + middles[:-1]) / 2, [size]])
    return np.diff(edges)


def area(is_of_class: np.ndarray, shape: tuple[int, int], window: int, step: int) -> np.ndarray:
    """Return the share of each frame that windows of a class stand for, ``(n_frames,)``.

    Parameters
    ----------
    is_of_class : numpy.ndarray
        ``(n_frames, n_rows, n_columns)``.
    shape : tuple of int
        Height and width of a frame [pixels].
    window, step : int
        Of the windows [pixels].
    """
    down, right = (pixels_of(n, window, step) for n in shape)
    return np.einsum("nij,i,j->n", is_of_class.astype(float), down, right) / np.prod(shape)


def crossing(temperature: np.ndarray, ac: np.ndarray, aa: np.ndarray) -> float:
    """Return where a-a comes to fill more than a-c, on a line between frames [°C].

    Parameters
    ----------
    temperature : numpy.ndarray
        Of one branch, ``(n,)`` [°C].
    ac, aa : numpy.ndarray
        Areas, ``(n,)``.

    Returns
    -------
    float
        NaN if they do not cross.
    """
    order = np.argsort(temperature)
    temperature, apart = temperature[order], (aa - ac)[order]
    above = np.flatnonzero((apart[1:] > 0) & (apart[:-1] <= 0) & (ac[order][:-1] > 0))
    if not len(above):
        return float("nan")
    i = above[0]
    return float(np.interp(0, apart[i : i + 2], temperature[i : i + 2]))


def end(temperature: np.ndarray, domains: np.ndarray) -> float:
    """Return the highest temperature at which domains still fill `ENDED`, between frames [°C].

    Parameters
    ----------
    temperature, domains : numpy.ndarray
        Of one branch: temperatures [°C] and areas of all domains, ``(n,)`` each.

    Returns
    -------
    float
        NaN if they never do, or to the last.
    """
    order = np.argsort(temperature)
    temperature, domains = temperature[order], domains[order]
    there = np.flatnonzero(domains >= ENDED)
    if not len(there) or there[-1] == len(domains) - 1:
        return float("nan")
    i = there[-1]
    return float(np.interp(-ENDED, -domains[i : i + 2], temperature[i : i + 2]))
