"""A disc as the pixels of a detector see it, tabulated for every place of its centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

REACHED = 3e-3  # share of a disc's plateau that pixels of its patch must have


@dataclass(frozen=True)
class DiscTable:
    """A disc as pixels see it, for every place of its centre within a pixel.

    Parameters
    ----------
    values, by_row, by_column : numpy.ndarray
        ``(n_steps², side²)`` float32: share of each pixel of a patch, and its derivative by the
        place of the centre [1 / pixel].
    n_steps : int
        Places of the centre along a pixel.
    half : int
        Pixels of a patch to each side of its middle.
    """

    values: np.ndarray
    by_row: np.ndarray
    by_column: np.ndarray
    n_steps: int
    half: int

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and derivatives."""
        return self.values, self.by_row, self.by_column

    @cached_property
    def _inside(self) -> np.ndarray:
        """Which pixels of a patch a disc ever reaches, ``(side²,)`` bool."""
        return self.values.max(axis=0) > REACHED * self.values.max()

    @cached_property
    def patches(self) -> np.ndarray:
        """Values and derivatives of pixels that a disc reaches, ``(n_steps², 3, n_patch)``."""
        return np.stack([table[:, self._inside] for table in self.tables], axis=1)

    @cached_property
    def pixels(self) -> np.ndarray:
        """Rows and columns of these pixels, ``(2, n_patch)`` int, from the patch's middle."""
        return np.stack(np.divmod(np.flatnonzero(self._inside), 2 * self.half + 1)) - self.half

    @cached_property
    def powers(self) -> np.ndarray:
        """1, row, column, and their products row², row · column and column² of these pixels.

        ``(6, n_patch)`` float32.
        """
        row, column = self.pixels
        powers = np.ones_like(row), row, column, row**2, row * column, column**2
        return np.array(powers, dtype=np.float32)

    def nearest(self, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the table's rows for places within a pixel, and what is left of the way to them.

        Parameters
        ----------
        within : numpy.ndarray
            ``(..., 2)``, from -0.5 to 0.5 [pixels].
        """
        step = np.clip(((within + 0.5) * self.n_steps).astype(np.intp), 0, self.n_steps - 1)
        left = within - ((step + 0.5) / self.n_steps - 0.5)
        return step[..., 0] * self.n_steps + step[..., 1], left


def fine_steps(disc_radius: float, per_radius: int) -> int:
    """Return how many places of a centre within a pixel there are, for a disc radius [pixels]."""
    return int(np.clip(2 ** np.round(np.log2(per_radius / disc_radius)), 8, 128))


def profile_table(profile: np.ndarray, spacing: float, n_steps: int) -> DiscTable:
    """Return the table of a disc whose profile is a cubic B-spline; see `Templates`."""
    knots = np.linspace(0, len(profile), 100 * len(profile) + 1)
    values = spline(profile, knots)

    def at(radius):
        return np.interp(radius / spacing, knots, values, right=0.0)

    return disc_table(at, spacing * len(profile), n_steps)


def disc_table(profile, reach: float, n_steps: int) -> DiscTable:
    """Return the table of a disc, averaged over every pixel.

    Parameters
    ----------
    profile : callable
        The disc at radii [pixels].
    reach : float
        Radius beyond which it is 0 [pixels].
    n_steps : int
        Places of the centre along a pixel, and of the points over which a pixel is averaged.
    """
    half = int(np.ceil(reach))  # half a pixel for the centre, and half for the pixel's own width
    first = -(half + 1) * n_steps
    points = np.arange(first, (half + 2) * n_steps) / n_steps
    disc = profile(np.hypot(points[:, None], points))
    pixels = _running_mean(_running_mean(disc, n_steps).T, n_steps).T
    side = np.arange(-half, half + 1) * n_steps
    begin = side - np.arange(n_steps)[:, None] - first  # of the pixels, for each place
    row, column = begin[:, None, :, None], begin[None, :, None, :]

    def patches(down, right):
        return pixels[row + down, column + right].reshape(n_steps**2, -1)

    by_row = (patches(-1, 0) - patches(1, 0)) * (n_steps / 2)
    by_column = (patches(0, -1) - patches(0, 1)) * (n_steps / 2)
    tables = (table.astype(np.float32) for table in (patches(0, 0), by_row, by_column))
    return DiscTable(*tables, n_steps, half)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Return means of ``width`` rows, from each row on, along the first axis."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[:1]), values]), axis=0)
    return (sums[width:] - sums[:-width]) / width


def spline(coefficients: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return a cubic B-spline that is even about 0 and 0 beyond its last knot.

    Parameters
    ----------
    coefficients : numpy.ndarray
        ``(n_knots,)``.
    place : numpy.ndarray
        ``(...)`` at least 0 [knots].
    """
    n, knot = len(coefficients), place.astype(np.intp)
    known = np.concatenate([coefficients[1:2], coefficients, np.zeros(3)])
    knot = np.minimum(knot, n)
    t = place - knot
    pieces = ((1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3)
    value = sum(piece * known[knot + i] for i, piece in enumerate(pieces)) / 6
    return np.where(place < n, value, 0.0)
