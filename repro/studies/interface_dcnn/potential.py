"""Scattering by one slice: atomic form factors, projected potential, transmission function.

Lengths in Å, spatial frequencies in Å⁻¹, the projected potential in V Å.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft

from repro.errors import ReproError

# Lobato and Van Dyck, Acta Cryst. A 70 (2014) 636, eq. 16: five a [Å], then five b [Å²].
LOBATO = {
    "O": (
        (
            29.9474045242362,
            -77.6101266255278,
            99.8817764623144,
            -51.2127005505673,
            0.00819618954446,
        ),
        (1.3028398788001, 1.15794105258309, 1.00988549338025, 0.943327971433266, 0.04331976113218),
    ),
    "Al": (
        (
            2.83409561607507,
            -4.28004133378261,
            4.42191680548311,
            -0.03457744718964,
            0.00352385941406,
        ),
        (6.66235023980533, 0.551294722224021, 0.509328963445973, 0.111784837425331, 0.01676023518),
    ),
    "Ti": (
        (8.57595775238129, -210.331563465304, 206.097172601541, 0.0477773948977, 0.00050571648448),
        (6.00780668875581, 2.60285856745213, 2.55352345051105, 0.0711429484024, 0.00485628439384),
    ),
    "Sr": (
        (4.77092509299826, 1.47597850155283, 0.304451355544188, 0.00359474981917, 3.0008554923e-07),
        (13.3668881330412, 1.33738379577196, 0.177532369437782, 0.00779105033002, 0.00028225513965),
    ),
    "La": (
        (6.09788179599509, 2.19495164736675, 0.548172791960022, 0.0616669573223, 0.00022680735587),
        (12.4288544315854, 1.50535992352023, 0.333738039717124, 0.03877445535, 0.000824049884065),
    ),
}
ELECTRON_REST_ENERGY = 510.99895  # [keV]
PLANCK_TIMES_C = 12.398419843  # [keV Å]
POTENTIAL_PER_FORM_FACTOR = 47.87764192  # h² / (2 π m e) [V Å²]
BAND_LIMIT = 2 / 3  # of the lower Nyquist frequency: products of two such waves do not fold over
TAPER = 0.02  # width of its cosine edge, of the same frequency


def wavelength(energy: float) -> float:
    """Return the relativistic wavelength of electrons [Å].

    Parameters
    ----------
    energy : float
        Beam energy [keV].
    """
    return PLANCK_TIMES_C / np.sqrt(energy * (2 * ELECTRON_REST_ENERGY + energy))


def interaction_parameter(energy: float) -> float:
    """Return the phase per projected potential, σ = 2 π m e λ / h² [rad / (V Å)].

    Parameters
    ----------
    energy : float
        Beam energy [keV].
    """
    relativistic_mass = 1 + energy / ELECTRON_REST_ENERGY
    return relativistic_mass * wavelength(energy) / POTENTIAL_PER_FORM_FACTOR


def form_factor(element: str, k: np.ndarray) -> np.ndarray:
    """Return the electron scattering factor of an atom [Å].

    Parameters
    ----------
    element : str
        Chemical symbol.
    k : numpy.ndarray
        Spatial frequency, any shape [Å⁻¹].

    Raises
    ------
    ReproError
        If the element is not tabulated here.
    """
    if element not in LOBATO:
        raise ReproError(f"There is no form factor of {element!r} here: use {', '.join(LOBATO)}.")
    a, b = (np.array(row) for row in LOBATO[element])
    bk2 = b * np.square(k)[..., None]
    return np.sum(a * (2 + bk2) / (1 + bk2) ** 2, axis=-1)


@dataclass(frozen=True)
class Grid:
    """The points at which wave and potential are known.

    Parameters
    ----------
    shape : tuple of int
        Points along x and y.
    size : tuple of float
        Lengths of the supercell along x and y [Å].
    """

    shape: tuple[int, int]
    size: tuple[float, float]

    @cached_property
    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Spatial frequencies along x, ``(n_x, 1)``, and y, ``(1, n_y)`` [Å⁻¹]."""
        k_x, k_y = (np.fft.fftfreq(n, s / n) for n, s in zip(self.shape, self.size, strict=True))
        return k_x[:, None], k_y[None]

    @cached_property
    def k(self) -> np.ndarray:
        """Modulus of the spatial frequency, ``(n_x, n_y)`` [Å⁻¹]."""
        return np.hypot(*self.frequencies)

    @property
    def cutoff(self) -> float:
        """The frequency above which waves are cut off [Å⁻¹]."""
        return BAND_LIMIT * min(n / (2 * s) for n, s in zip(self.shape, self.size, strict=True))

    @cached_property
    def band(self) -> np.ndarray:
        """What the band limit lets through, from 1 to 0 along a cosine, ``(n_x, n_y)``."""
        taper = TAPER * self.cutoff / BAND_LIMIT
        edge = np.clip((self.k - self.cutoff + taper) / taper, 0, 1)
        return np.where(self.k > self.cutoff, 0.0, 0.5 * (1 + np.cos(np.pi * edge)))


def projected_potential(grid: Grid, atoms: dict[str, np.ndarray]) -> np.ndarray:
    """Return the projected potential of atoms wherever they stand, ``(n_x, n_y)`` [V Å].

    The Fourier sum is exact: no atom is moved to a point of the grid.

    Parameters
    ----------
    grid : Grid
        Where it is wanted.
    atoms : dict of numpy.ndarray
        Positions by element, ``(n_atoms, 2)`` [Å].

    Raises
    ------
    ReproError
        If an element is not known or a position is not finite.
    """
    k_x, k_y = grid.frequencies
    half = grid.shape[1] // 2 + 1
    k_y = np.abs(k_y[:, :half])
    total = np.zeros((grid.shape[0], half), dtype=np.complex128)
    for element, positions in atoms.items():
        _require_finite(positions, f"The positions of {element}")
        waves_x = np.exp(-2j * np.pi * k_x * positions[:, 0])
        if grid.shape[0] % 2 == 0:  # the highest frequency stands for its opposite too
            waves_x[grid.shape[0] // 2] = waves_x[grid.shape[0] // 2].real
        waves_y = np.exp(-2j * np.pi * k_y.T * positions[:, 1])
        total += form_factor(element, np.hypot(k_x, k_y)) * (waves_x @ waves_y.T)
    n_per_area = np.prod(grid.shape) / np.prod(grid.size)
    spectrum = POTENTIAL_PER_FORM_FACTOR * n_per_area * total
    return scipy.fft.irfft2(spectrum, s=grid.shape)


def transmission_function(grid: Grid, potential: np.ndarray, energy: float) -> np.ndarray:
    """Return exp(i σ V) within the band limit, ``(n_x, n_y)`` complex64.

    Parameters
    ----------
    grid : Grid
        The grid of the potential.
    potential : numpy.ndarray
        Projected potential of a slice, ``(n_x, n_y)`` [V Å].
    energy : float
        Beam energy [keV].

    Raises
    ------
    ReproError
        If the potential has another shape, or is not finite somewhere.
    """
    if potential.shape != grid.shape:
        raise ReproError(
            f"The potential has the shape {potential.shape}, but its grid {grid.shape}."
        )
    _require_finite(potential, "The potential")
    wave = np.exp(1j * interaction_parameter(energy) * potential)
    return scipy.fft.ifft2(scipy.fft.fft2(wave) * grid.band).astype(np.complex64)


def _require_finite(values: np.ndarray, what: str) -> None:
    if not np.isfinite(values).all():
        n = np.count_nonzero(~np.isfinite(values))
        raise ReproError(f"{what} hold {n} numbers that are not finite (NaN or infinite).")
