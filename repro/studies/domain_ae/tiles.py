"""What the networks see of a window: the middle of its spectrum, as a Keras layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

import keras
import numpy as np
from keras import layers, ops

from repro.studies.domain_ae.windows import central, enlargement, fourier

REAL_PART, MODULUS = "real_part", "modulus"
PUBLISHED_WINDOW = 128  # pixels; what amplitudes grow with
MEDIAN_AMPLITUDE = 4.2  # of the published tiles
LARGEST = 5.0  # where their logarithms are clipped


@dataclass(frozen=True)
class Reading:
    """How a window becomes a tile.

    Parameters
    ----------
    window, step : int
        Side of a window, and from one to the next [pixels].
    n_bins : int
        Frequencies along each axis, from the middle of the spectrum.
    part : str
        ``"real_part"`` or ``"modulus"``: what of it the magnitude is taken of.
    is_tapered : bool
        Whether the mean is taken off the window, and its edges fade.
    tapers_spectrum : bool
        Whether the edges of the spectrum fade instead, as in the second generation.
    interpolated : tuple of int
        Sides that the tile is interpolated to, one after the other, the first before the magnitude.
    band : tuple of float, optional
        Lowest and highest frequency that is kept, in any direction [cycles / window].
    counts_noise : bool
        Whether a frame is divided by its noise; else it is stretched from 0 to 1.
    """

    window: int
    step: int
    n_bins: int
    part: str
    is_tapered: bool
    tapers_spectrum: bool = False
    interpolated: tuple[int, ...] = ()
    band: tuple[float, float] | None = None
    counts_noise: bool = False

    @property
    def side(self) -> int:
        """Side of a tile."""
        return self.interpolated[-1] if self.interpolated else self.n_bins

    @property
    def gain(self) -> float:
        """What amplitudes are multiplied by to be of the size of the published ones."""
        if not self.counts_noise:
            return PUBLISHED_WINDOW / self.window
        matrix = fourier(self.window, np.zeros(1), self.is_tapered)
        return MEDIAN_AMPLITUDE / float(np.sum(np.abs(matrix) ** 2) * np.sqrt(np.log(2)))


@keras.saving.register_keras_serializable(package="repro.domain_ae")
class Tile(layers.Layer):
    """Windows as tiles: logarithms of the magnitudes of their spectra.

    Parameters
    ----------
    reading : Reading
        How; or its fields, as they are saved.
    """

    def __init__(self, reading: Reading | dict, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        if isinstance(reading, dict):
            lists = {n: v and tuple(v) for n, v in reading.items() if n in ("interpolated", "band")}
            reading = Reading(**{**reading, **lists})
        self.reading = reading

    def call(self, windows):
        """Return tiles, ``(n, side, side, 1)`` of windows ``(n, window, window)``."""
        reading = self.reading
        if reading.is_tapered:
            windows = windows - ops.mean(windows, axis=(1, 2), keepdims=True)
        matrix = fourier(reading.window, central(reading.n_bins), reading.is_tapered)
        cosine, sine = matrix.real, matrix.imag
        rows = ops.matmul(cosine, windows), ops.matmul(sine, windows)
        real = ops.matmul(rows[0], cosine.T) - ops.matmul(rows[1], sine.T)
        imaginary = None
        if reading.part == MODULUS:
            imaginary = ops.matmul(rows[0], sine.T) + ops.matmul(rows[1], cosine.T)
        tiles = ops.log1p(np.float32(reading.gain) * self._magnitude(real, imaginary))
        if reading.band is not None:
            tiles = tiles * in_band(reading.n_bins, *reading.band)
        return ops.minimum(tiles, LARGEST)[..., None]

    def _magnitude(self, real, imaginary):
        """Return magnitudes of the parts, interpolated, ``(n, side, side)``."""
        reading = self.reading
        sizes = (reading.n_bins, *reading.interpolated)
        matrices = [enlargement(n, m) for n, m in pairwise(sizes)]
        for matrix in matrices[:1]:
            real = _both_sides(matrix, real)
            imaginary = None if imaginary is None else _both_sides(matrix, imaginary)
        magnitude = ops.abs(real)
        if imaginary is not None:
            magnitude = ops.sqrt(real**2 + imaginary**2)
        if reading.tapers_spectrum:
            fade = np.sqrt(np.hamming(magnitude.shape[-1]))
            magnitude = magnitude * np.outer(fade, fade).astype(np.float32)
        for matrix in matrices[1:]:
            magnitude = _both_sides(matrix, magnitude)
        return magnitude

    def compute_output_shape(self, shape):
        """Return the shape of what comes out."""
        return (shape[0], self.reading.side, self.reading.side, 1)

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "reading": asdict(self.reading)}


def _both_sides(matrix: np.ndarray, images):
    """Return images interpolated along both axes."""
    return ops.matmul(ops.matmul(matrix, images), matrix.T)


def in_band(n_bins: int, low: float, high: float) -> np.ndarray:
    """Return which of the middle frequencies are in a band, ``(n_bins, n_bins)`` float32."""
    frequency = np.hypot(*np.meshgrid(central(n_bins), central(n_bins)))
    return ((frequency > low) & (frequency <= high)).astype(np.float32)
