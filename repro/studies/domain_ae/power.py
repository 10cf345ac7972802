"""Power of a window's spectrum over its counting noise, which is 1 where there is no signal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from repro.studies.domain_ae.windows import (
    BACKGROUND,
    flattened,
    noise_of,
    rows_of_spectra,
    starts,
    taper,
)

BAND = (1.5, 10.0)  # of stripes, generously [cycles / window]
EDGE = 4  # pixels about the void that its blurred edge reaches


@dataclass(frozen=True)
class Band:
    """The frequencies in use, half of the plane; the other half is its mirror image.

    Parameters
    ----------
    low, high : float
        Between which they lie [cycles / window].
    """

    low: float = BAND[0]
    high: float = BAND[1]

    @property
    def reach(self) -> int:
        """The highest frequency along an axis."""
        return int(self.high)

    @cached_property
    def inside(self) -> np.ndarray:
        """Which of `rows_of_spectra` are in use, ``(1 + reach, 1 + 2 * reach)`` bool."""
        down, right = self._all
        radius = np.hypot(down, right)
        is_other_half = (down == 0) & (right < 0)
        return (radius >= self.low) & (radius <= self.high) & ~is_other_half

    @cached_property
    def frequencies(self) -> np.ndarray:
        """Frequencies down and to the right, ``(n_bins, 2)`` [cycles / window]."""
        return np.stack([part[self.inside] for part in self._all], axis=1).astype(float)

    @property
    def radii(self) -> np.ndarray:
        """How far they are from the middle, ``(n_bins,)`` [cycles / window]."""
        return np.hypot(*self.frequencies.T)

    @property
    def directions(self) -> np.ndarray:
        """Directions of the stripes they are of, ``(n_bins,)`` [degrees], as labels count them."""
        down, right = self.frequencies.T
        return np.rad2deg(np.arctan2(right, down)) % 180

    @property
    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        return np.mgrid[: self.reach + 1, -self.reach : self.reach + 1]


def power_over_noise(
    frame: np.ndarray, window: int, step: int, band: Band, dark: float = -np.inf
) -> np.ndarray:
    """Return the power of a frame's windows over that of their noise.

    Counting noise grows with the intensity; by how much is read from the frame, so that it need not
    be counts. Void counts as flat, so that its edge is no stripe.

    Parameters
    ----------
    frame : numpy.ndarray
        ``(height, width)``.
    window, step : int
        Of the windows [pixels].
    band : Band
        The frequencies in use.
    dark : float
        Intensity below which there is no specimen.

    Returns
    -------
    numpy.ndarray
        ``(n_rows, n_columns, n_bins)`` float32.
    """
    frame = np.asarray(frame, np.float32)
    shown = specimen_of(frame, dark)
    expected = noise_power(frame * shown, noise_of(frame) ** 2 / float(frame.mean()), window, step)
    spectra = rows_of_spectra(without_void(frame, shown, window), window, step, band.reach)
    rows = [
        np.abs(row[:, band.inside]) ** 2 / of_row[:, None]
        for row, of_row in zip(spectra, expected, strict=True)
    ]
    return np.stack(rows).astype(np.float32)


def specimen_of(frame: np.ndarray, dark: float) -> np.ndarray:
    """Return where a frame shows a specimen, its edge left out, ``(height, width)`` bool."""
    is_void = brightness(frame) < dark
    if not is_void.any():
        return ~is_void
    return ~binary_dilation(is_void, iterations=EDGE)


def without_void(frame: np.ndarray, shown: np.ndarray, window: int) -> np.ndarray:
    """Return a flattened frame that is 0 where it shows no specimen, float32."""
    if shown.all():
        return flattened(frame, window)
    width, weight = BACKGROUND * window, shown.astype(np.float32)
    background = gaussian_filter(frame * weight, width)
    background /= np.maximum(gaussian_filter(weight, width), 1e-3)
    return (frame - background) * weight


def noise_power(frame: np.ndarray, per_count: float, window: int, step: int) -> np.ndarray:
    """Return the power of the noise of a frame's windows at any frequency, ``(n_rows, n_columns)``.

    Where a window has next to no counts it is a thousandth of the mean window's.

    Parameters
    ----------
    frame : numpy.ndarray
        ``(height, width)``, 0 where there is no noise.
    per_count : float
        Variance of a pixel over its intensity.
    window, step : int
        Of the windows [pixels].
    """
    weights = taper(window) ** 2
    down, right = (starts(n, window, step) for n in frame.shape)
    along = np.stack([weights @ frame[first : first + window] for first in down])
    total = np.stack([along[:, first : first + window] @ weights for first in right], axis=1)
    return per_count * np.maximum(total, 1e-3 * total.mean() + 1e-12)


def brightness(frame: np.ndarray, width: float = 2.0) -> np.ndarray:
    """Return a frame without most of its noise, ``(height, width)`` float32."""
    return gaussian_filter(np.asarray(frame, np.float32), width)
