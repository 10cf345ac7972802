"""Frames, the windows they are cut into, and the spectra of these, never all of them at once.

Frequencies count cycles a window. Only those in use are computed, by two products with small
matrices, the first of which windows of the same rows share.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import convolve, gaussian_filter, zoom

from repro.errors import ReproError
from repro.studies.domain_ae.specimen import CLASSES

BACKGROUND = 20 / 128  # width of the Gaussian that is taken off [window]
NOISE_KERNEL = (
    np.outer([1, -2, 1], [1, -2, 1]) / 6.0
)  # blind to planes; keeps the variance of noise


# ---- frames


def flattened(frame: np.ndarray, window: int) -> np.ndarray:
    """Return a frame less its smooth background, ``(height, width)`` float32."""
    frame = np.asarray(frame, np.float32)
    return frame - gaussian_filter(frame, BACKGROUND * window)


def ranged(frame: np.ndarray, window: int) -> np.ndarray:
    """Return a flattened frame from 0 to 1, as published, ``(height, width)`` float32.

    Raises
    ------
    ReproError
        If the frame is constant.
    """
    flat = flattened(frame, window)
    low, high = flat.min(), flat.max()
    if not high > low:
        raise ReproError("A frame is constant: it has neither domains nor noise.")
    return (flat - low) / (high - low)


def over_noise(frame: np.ndarray, window: int) -> np.ndarray:
    """Return a flattened frame over the standard deviation of its noise, float32.

    Raises
    ------
    ReproError
        If the frame is constant.
    """
    noise = noise_of(frame)
    if not noise > 0:
        raise ReproError("A frame is constant: it has neither domains nor noise.")
    return flattened(frame, window) / np.float32(noise)


def noise_of(frame: np.ndarray) -> float:
    """Return the standard deviation of a frame's noise, from what changes from pixel to pixel.

    By the filter of Immerkær (1996), Computer Vision and Image Understanding 64, 300.
    """
    rough = convolve(np.asarray(frame, np.float32), NOISE_KERNEL.astype(np.float32))
    return float(np.sqrt(np.pi / 2) * np.abs(rough[1:-1, 1:-1]).mean())


# ---- windows


def starts(size: int, window: int, step: int) -> np.ndarray:
    """Return the first pixels of the windows along a side, the last window flush with the edge.

    Raises
    ------
    ReproError
        If the window is larger than the frame.
    """
    if window > size:
        raise ReproError(f"A frame of {size} pixels is smaller than a window, {window} pixels.")
    return np.append(np.arange(0, size - window, step), size - window)


def cut(frame: np.ndarray, rows: np.ndarray, columns: np.ndarray, window: int) -> np.ndarray:
    """Return the windows that begin at rows and columns ``(n,)``, ``(n, window, window)``."""
    every = np.lib.stride_tricks.sliding_window_view(frame, (window, window))
    return every[rows, columns]


def window_labels(labels: np.ndarray, window: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the commonest class in the central half of each window, and its share.

    Parameters
    ----------
    labels : numpy.ndarray
        Class of each pixel, ``(height, width)``.
    window, step : int
        Of the windows [pixels].

    Returns
    -------
    tuple of numpy.ndarray
        ``(n_rows, n_columns)`` uint8 and float64.
    """
    shares = np.stack(
        [central_means(labels == label, window, step) for label in range(len(CLASSES))]
    )
    return shares.argmax(axis=0).astype(np.uint8), shares.max(axis=0)


def central_means(values: np.ndarray, window: int, step: int) -> np.ndarray:
    """Return means over the central half of each window, ``(n_rows, n_columns)``."""
    total = np.pad(values.astype(float), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    quarter, half = window // 4, window // 2
    (top, bottom), (left, right) = (
        (first, first + half) for first in (starts(n, window, step) + quarter for n in values.shape)
    )
    inside = total[np.ix_(bottom, right)] - total[np.ix_(top, right)]
    return (inside - total[np.ix_(bottom, left)] + total[np.ix_(top, left)]) / half**2


# ---- spectra


def taper(window: int) -> np.ndarray:
    """Return the Hann taper along a side, ``(window,)``, 0 at the first pixel."""
    return np.hanning(window + 1)[:window]


def fourier(window: int, frequencies: np.ndarray, is_tapered: bool) -> np.ndarray:
    """Return what takes pixels to frequencies, ``(n_frequencies, window)`` complex64."""
    waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(window)) / window)
    return (waves * (taper(window) if is_tapered else 1)).astype(np.complex64)


def central(n_bins: int) -> np.ndarray:
    """Return the middle frequencies, ``(n_bins,)``, in the order of ``fftshift``."""
    return np.arange(n_bins) - n_bins // 2


def enlargement(n: int, size: int) -> np.ndarray:
    """Return what interpolates ``n`` values to another number, ``(size, n)`` float32.

    As scikit-image's ``resize`` of order 1, by which the authors interpolate.
    """
    matrix = zoom(np.eye(n), (size / n, 1), order=1, mode="mirror", grid_mode=True)
    return matrix.astype(np.float32)


def rows_of_spectra(
    frame: np.ndarray, window: int, step: int, reach: int, is_tapered: bool = True
) -> Iterator[np.ndarray]:
    """Yield the spectra of a frame's windows, a row of windows at a time.

    Parameters
    ----------
    frame : numpy.ndarray
        ``(height, width)``.
    window, step : int
        Of the windows [pixels].
    reach : int
        The highest frequency along each axis [cycles / window].
    is_tapered : bool
        Whether windows are tapered.

    Yields
    ------
    numpy.ndarray
        ``(n_columns, 1 + reach, 1 + 2 * reach)`` complex64: down 0 to ``reach``, to the right
        ``-reach`` to ``reach``. The other half is its mirror image.
    """
    down = fourier(window, np.arange(reach + 1), is_tapered)
    right = fourier(window, np.arange(-reach, reach + 1), is_tapered).T.copy()
    parts = np.concatenate([down.real, down.imag])
    columns = starts(frame.shape[1], window, step)
    frame = np.ascontiguousarray(frame, np.float32)
    for first in starts(frame.shape[0], window, step):
        shared = parts @ frame[first : first + window]
        shared = shared[: reach + 1] + 1j * shared[reach + 1 :]
        every = np.lib.stride_tricks.sliding_window_view(shared, window, axis=1)[:, columns]
        yield np.ascontiguousarray(every.transpose(1, 0, 2)) @ right
