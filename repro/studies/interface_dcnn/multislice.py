"""Electron waves through a crystal, slice by slice, to diffraction patterns.

A slice multiplies the wave with its transmission function; between slices the wave propagates
freely (Cowley and Moodie 1957). Thermal motion is that of the quantum excitation of phonons as
muSTEM does it (Forbes et al., Phys. Rev. B 82 (2010) 104103): a few transmission functions per kind
of slice are kept, and in every pass one of them is drawn for each slice and shifted by whole cells
along y; the patterns of the passes are averaged.

The waves of the processor (`NumpyWaves`) and of an accelerator (`JaxWaves`) do the same.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice

import numpy as np

from repro.errors import ReproError
from repro.studies.interface_dcnn.fourier import aligned_zeros, invert_rows, transform_rows
from repro.studies.interface_dcnn.potential import Grid, wavelength

WAVES_AT_ONCE, ROWS_AT_ONCE = 7, 32  # of real space: they stay in the nearest caches


@dataclass(frozen=True)
class Microscope:
    """The electron probe.

    Parameters
    ----------
    energy : float
        Beam energy [keV].
    semiangle : float
        Convergence semi-angle [mrad].
    defocus : float
        How far above its focus the probe enters the crystal [Å].
    """

    energy: float
    semiangle: float
    defocus: float = 0.0

    def __post_init__(self):
        if not (self.energy > 0 and self.semiangle > 0 and np.isfinite(self.defocus)):
            raise ReproError(
                f"A probe of {self.energy} keV and {self.semiangle} mrad does not exist: both are "
                "numbers above 0."
            )

    @property
    def aperture(self) -> float:
        """Radius of the aperture as a spatial frequency [Å⁻¹]."""
        return self.semiangle * 1e-3 / wavelength(self.energy)


@dataclass(frozen=True)
class Detector:
    """A square detector with square bins, centred on the unscattered beam.

    Parameters
    ----------
    n_bins : int
        Bins along each side.
    k_max : float
        Spatial frequency of its edges [Å⁻¹].

    Raises
    ------
    ReproError
        If it has no bin, or no size.
    """

    n_bins: int
    k_max: float

    def __post_init__(self):
        if self.n_bins < 1 or not self.k_max > 0:
            raise ReproError(
                f"A detector of {self.n_bins} bins out to {self.k_max:g} Å⁻¹ sees nothing: both "
                "are numbers above 0."
            )

    @property
    def centres(self) -> np.ndarray:
        """Spatial frequencies of the bins' centres along either side, ``(n_bins,)`` [Å⁻¹]."""
        return (np.arange(self.n_bins) + 0.5) * 2 * self.k_max / self.n_bins - self.k_max

    def shares(self, k: np.ndarray, width: float) -> np.ndarray:
        """Return the share of each pixel that lies within each bin, ``(n_bins, n_pixels)``.

        Parameters
        ----------
        k : numpy.ndarray
            Centres of the pixels along one side, ``(n_pixels,)`` [Å⁻¹].
        width : float
            Their width [Å⁻¹].
        """
        half_bin = self.k_max / self.n_bins
        low = np.maximum(self.centres[:, None] - half_bin, k - width / 2)
        high = np.minimum(self.centres[:, None] + half_bin, k + width / 2)
        return np.clip(high - low, 0, None) / width


def probe_spectra(grid: Grid, microscope: Microscope, positions: np.ndarray) -> np.ndarray:
    """Return the Fourier transforms of probes, ``(n_probes, n_x, n_y)`` complex64.

    The squares of each sum to 1. The aperture's edge is a pixel wide.

    Parameters
    ----------
    grid : Grid
        The grid of the crystal.
    microscope : Microscope
        What makes the probe.
    positions : numpy.ndarray
        Where the probes enter, ``(n_probes, 2)``: x and y [Å].

    Raises
    ------
    ReproError
        If a probe stands outside the cell, or the grid is too coarse for the aperture.
    """
    _check_aperture(grid, microscope)
    _check_positions(grid, positions)
    k_x, k_y = grid.frequencies
    radius = grid.k / np.hypot(k_x / grid.size[0], k_y / grid.size[1]).clip(1e-12)
    edge = np.where(grid.k > 0, (microscope.aperture - grid.k) * radius, 1.0)
    amplitude = np.clip(edge + 0.5, 0, 1)
    amplitude /= np.sqrt(np.sum(amplitude**2))
    aberration = np.pi * wavelength(microscope.energy) * microscope.defocus * grid.k**2
    waves_x = np.exp(-2j * np.pi * positions[:, 0, None, None] * k_x)
    waves_y = np.exp(-2j * np.pi * positions[:, 1, None, None] * k_y)
    return (amplitude * np.exp(1j * aberration) * waves_x * waves_y).astype(np.complex64)


def _check_aperture(grid: Grid, microscope: Microscope) -> None:
    limit = 1e3 * wavelength(microscope.energy) * grid.cutoff
    if microscope.semiangle > 0.9 * limit:
        raise ReproError(
            f"The grid of {grid.shape[0]} by {grid.shape[1]} points carries waves up to "
            f"{limit:.1f} mrad, too little for an aperture of {microscope.semiangle:g} mrad: "
            "use more points, or a smaller aperture or cell."
        )


def _check_positions(grid: Grid, positions: np.ndarray) -> None:
    inside = np.all((positions >= 0) & (positions < grid.size), axis=1)
    if not inside.all():
        x, y = positions[np.argmin(inside)]
        raise ReproError(
            f"A probe at ({x:.3f}, {y:.3f}) Å stands outside the cell of {grid.size[0]:.3f} by "
            f"{grid.size[1]:.3f} Å."
        )


def propagator(grid: Grid, energy: float, distance: float) -> np.ndarray:
    """Return the Fresnel propagator within the band limit, ``(n_x, n_y)`` complex64.

    Parameters
    ----------
    grid : Grid
        The grid of the waves.
    energy : float
        Beam energy [keV].
    distance : float
        [Å]
    """
    phase = -np.pi * wavelength(energy) * distance * grid.k**2
    return (np.exp(1j * phase) * grid.band).astype(np.complex64)


@dataclass(frozen=True)
class Passes:
    """Which transmission function stands at each slice, in every pass of the beam.

    All probes of a line share them, each line has its own.

    Parameters
    ----------
    transmission : numpy.ndarray
        ``(n_lines, n_passes, n_slices)`` int, row in the pool of transmission functions.
    shift : numpy.ndarray
        ``(n_lines, n_passes, n_slices)`` int, points along y by which it is shifted.
    """

    transmission: np.ndarray
    shift: np.ndarray

    @property
    def number(self) -> int:
        """Passes of each line."""
        return self.transmission.shape[1]


@dataclass(frozen=True)
class Setting:
    """What does not change from one pass to the next.

    Parameters
    ----------
    grid : Grid
        The grid.
    energy : float
        Beam energy [keV].
    slice_thickness : float
        [Å]
    detector : Detector
        Where the patterns are read.
    readouts : tuple of int
        Numbers of slices after which a pattern is read, rising.

    Raises
    ------
    ReproError
        If the detector reaches beyond the band limit.
    """

    grid: Grid
    energy: float
    slice_thickness: float
    detector: Detector
    readouts: tuple[int, ...]

    def __post_init__(self):
        if self.detector.k_max > self.grid.cutoff:
            raise ReproError(
                f"The detector reaches to {self.detector.k_max:g} Å⁻¹, but the grid of "
                f"{self.grid.shape[0]} by {self.grid.shape[1]} points carries waves up to "
                f"{self.grid.cutoff:.3f} Å⁻¹ only: use more points, or a smaller detector."
            )

    @cached_property
    def propagator(self) -> np.ndarray:
        """The Fresnel propagator from slice to slice, ``(n_x, n_y)`` complex64."""
        return propagator(self.grid, self.energy, self.slice_thickness)

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the detector's shares along x, ``(n_bins, n_x)``, and y, ``(n_bins, n_y)``."""
        k_x, k_y = (k.ravel() for k in self.grid.frequencies)
        return tuple(
            self.detector.shares(k, 1 / size).astype(np.float32)
            for k, size in zip((k_x, k_y), self.grid.size, strict=True)
        )


class NumpyWaves:
    """Waves on one thread of a processor.

    Along y only the frequencies within the band limit are carried on to the transform along x,
    a third of the work less. A few waves take a few rows of a slice at a time, so that all of it
    stays in the nearest caches.

    Parameters
    ----------
    setting : Setting
        Grid, slices and detector.
    transmissions : numpy.ndarray
        The pool of transmission functions, ``(n, n_x, n_y)`` complex64.
    """

    def __init__(self, setting: Setting, transmissions: np.ndarray):
        self.setting = setting
        n_x, n_y = setting.grid.shape
        # A shift along y is then a view: the function stands there twice.
        self.pool = aligned_zeros(len(transmissions), n_x, 2 * n_y)
        self.pool[..., :n_y] = self.pool[..., n_y:] = transmissions
        k_y = setting.grid.frequencies[1][0]
        self.carried = np.flatnonzero(np.abs(k_y) <= setting.grid.cutoff)
        self.n_low = np.count_nonzero(self.carried < n_y // 2)
        self.propagator = aligned_zeros(len(self.carried), n_x)
        self.propagator[:] = setting.propagator[:, self.carried].T
        self.bins_x, bins_y = setting.bins()
        self.bins_y = np.ascontiguousarray(bins_y[:, self.carried])
        self.rows = aligned_zeros(WAVES_AT_ONCE, min(ROWS_AT_ONCE, n_x), n_y)

    def patterns(self, probes: np.ndarray, passes: Passes) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean patterns of probes over passes, and what is left of the beam.

        Parameters
        ----------
        probes : numpy.ndarray
            Their Fourier transforms, ``(n_lines, n_positions, n_x, n_y)`` complex64.
        passes : Passes
            The slices they meet.

        Returns
        -------
        patterns : numpy.ndarray
            ``(n_readouts, n_lines, n_positions, n_bins, n_bins)`` float32, axes k_x and k_y,
            fraction of the incident electrons in each bin.
        transmitted : numpy.ndarray
            ``(n_readouts, n_lines, n_positions)`` float32, fraction below the band limit.
        """
        n_bins = self.setting.detector.n_bins
        shape = (len(self.setting.readouts), *probes.shape[:2])
        patterns = np.zeros((*shape, n_bins, n_bins), dtype=np.float32)
        transmitted = np.zeros(shape, dtype=np.float32)
        for line, start in np.ndindex(len(probes), -(-probes.shape[1] // WAVES_AT_ONCE)):
            some = slice(start * WAVES_AT_ONCE, (start + 1) * WAVES_AT_ONCE)
            carried = probes[line, some][..., self.carried].swapaxes(1, 2)
            spectra = aligned_zeros(*carried.shape)
            for drawn in zip(passes.transmission[line], passes.shift[line], strict=True):
                spectra[:] = carried
                self._pass(spectra, drawn, patterns[:, line, some], transmitted[:, line, some])
        return patterns / passes.number, transmitted / passes.number

    def _pass(
        self,
        spectra: np.ndarray,
        drawn: tuple[np.ndarray, np.ndarray],
        patterns: np.ndarray,
        transmitted: np.ndarray,
    ) -> None:
        n_y, slices = self.setting.grid.shape[1], zip(*drawn, strict=True)
        for row, n_slices in enumerate(np.diff(self.setting.readouts, prepend=0)):
            for index, start in islice(slices, n_slices):
                self._transmit(spectra, self.pool[index, :, start : start + n_y])
                np.multiply(spectra, self.propagator, out=spectra)
            intensity = np.square(spectra.real) + np.square(spectra.imag)
            patterns[row] += (self.bins_y @ (intensity @ self.bins_x.T)).swapaxes(1, 2)
            transmitted[row] += intensity.sum(axis=(1, 2))

    def _transmit(self, spectra: np.ndarray, function: np.ndarray) -> None:
        """Multiply waves with a transmission function in real space."""
        low, high = self.n_low, len(self.carried) - self.n_low
        invert_rows(spectra, spectra)
        for start in range(0, len(function), ROWS_AT_ONCE):
            columns = spectra[:, :, start : start + ROWS_AT_ONCE]
            rows = self.rows[: len(columns), : columns.shape[2]]
            rows[..., :low] = columns[:, :low].swapaxes(1, 2)
            rows[..., low:-high] = 0
            rows[..., -high:] = columns[:, low:].swapaxes(1, 2)
            invert_rows(rows, rows)
            rows *= function[start : start + ROWS_AT_ONCE]
            transform_rows(rows, rows)
            columns[:, :low] = rows[..., :low].swapaxes(1, 2)
            columns[:, low:] = rows[..., -high:].swapaxes(1, 2)
        transform_rows(spectra, spectra)


class JaxWaves:
    """The same waves under JAX, for an accelerator: all probes at once, one compiled loop.

    Parameters
    ----------
    setting : Setting
        Grid, slices and detector.
    transmissions : numpy.ndarray
        The pool of transmission functions, ``(n, n_x, n_y)`` complex64.
    """

    def __init__(self, setting: Setting, transmissions: np.ndarray):
        import jax

        self.setting = setting
        self.pool, self.propagator = map(jax.device_put, (transmissions, setting.propagator))
        self.bins_x, self.bins_y = map(jax.device_put, setting.bins())
        self._through_slices = jax.jit(self._slices, donate_argnums=0)
        self._read_out = jax.jit(self._bins)

    def patterns(self, probes: np.ndarray, passes: Passes) -> tuple[np.ndarray, np.ndarray]:
        """Return what `NumpyWaves.patterns` returns, but for rounding."""
        import jax

        on_device, totals = jax.device_put(probes), None
        for number in range(passes.number):
            read = self._pass(on_device, passes.transmission[:, number], passes.shift[:, number])
            totals = read if totals is None else [a + b for a, b in zip(totals, read, strict=True)]
        return tuple(np.asarray(total) / np.float32(passes.number) for total in totals)

    def _pass(self, probes, transmission: np.ndarray, shift: np.ndarray) -> list:
        import jax.numpy as jnp

        spectra, start, read = jnp.copy(probes), 0, []
        for readout in self.setting.readouts:
            slices = (a[:, start:readout].T.astype(np.int32) for a in (transmission, shift))
            spectra = self._through_slices(spectra, self.pool, self.propagator, *slices)
            read.append(self._read_out(spectra, self.bins_x, self.bins_y))
            start = readout
        return [jnp.stack(quantity) for quantity in zip(*read, strict=True)]

    @staticmethod
    def _slices(spectra, pool, propagator, transmission, shift):
        import jax
        import jax.numpy as jnp

        def one_slice(spectra, drawn):
            functions = jax.vmap(lambda index, start: jnp.roll(pool[index], -start, axis=1))
            waves = jnp.fft.ifft2(spectra) * functions(*drawn)[:, None]
            return jnp.fft.fft2(waves) * propagator, None

        return jax.lax.scan(one_slice, spectra, (transmission, shift))[0]

    @staticmethod  # a method of the object would be compiled anew for every column
    def _bins(spectra, bins_x, bins_y):
        import jax.numpy as jnp

        intensity = jnp.square(spectra.real) + jnp.square(spectra.imag)
        patterns = jnp.einsum("bx,lpxy,cy->lpbc", bins_x, intensity, bins_y, precision="highest")
        return patterns, intensity.sum(axis=(2, 3))


def waves(setting: Setting, transmissions: np.ndarray) -> NumpyWaves | JaxWaves:
    """Return the waves that are fastest here: JAX's if it has a GPU, else the processor's."""
    return (JaxWaves if has_gpu() else NumpyWaves)(setting, transmissions)


@cache
def has_gpu() -> bool:
    """Tell whether JAX is there and has a GPU."""
    if importlib.util.find_spec("jax") is None:
        return False
    import jax

    return jax.default_backend() == "gpu"
