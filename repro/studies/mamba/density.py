"""Electron density of the film: four columns that hold every atom, and slices to look at.

Every atom stands at 0 or ½ of the in-plane cell, so four columns of the density hold them all:
A; B with O1; O2; O3. Each is a 1-D inverse Fourier transform of the 16 rods, summed with signs.
Heights z in Å above the A site of the dummy cell.
"""

from __future__ import annotations

import numpy as np

from repro.imaging.peaks import parabola_offset
from repro.studies.mamba.simulate import (
    A_SUBSTRATE,
    Q_Z,
    ROD_H,
    ROD_K,
    L,
    form_factor,
    site_phase,
)

COLUMNS = ("A", "B", "O2", "O3")  # O1 stands in the column of B
COLUMN_OF_SITE = (0, 1, 1, 2, 3)
SITE_OF_SPECIES = {"Sr": "A", "La": "A", "Ti": "B", "Al": "B", "O1": "O1", "O2": "O2", "O3": "O3"}
IN_PLANE_WINDOW = 0.1  # exp(-0.1 h²) exp(-0.1 k²)
DENSITY_WINDOW = 0.25  # [Å] exp(-q_z² 0.25²/2)
N_FFT = 2048  # zero padding of 240 points
Z_STEP = A_SUBSTRATE / (L[0] * N_FFT)  # [Å] 0.076


def rod_window() -> np.ndarray:
    """Return in-plane window times multiplicity per rod, ``(16,)``: ±h and ±k are equal."""
    multiplicity = np.where(ROD_H > 0, 2, 1) * np.where(ROD_K > 0, 2, 1)
    return multiplicity * np.exp(-IN_PLANE_WINDOW * (ROD_H**2 + ROD_K**2))


def l_window(width: float) -> np.ndarray:
    """Return the out-of-plane window exp(-q_z² width²/2), ``(240,)``, for a width in Å."""
    return np.exp(-0.5 * (Q_Z * width) ** 2)


def column_fields(field: np.ndarray) -> np.ndarray:
    """Sum the rods of fields, ``(..., 16, 240)``, into the four columns, ``(..., 4, 240)``."""
    signs = np.stack([site_phase(site) for site in COLUMNS])
    return (signs * rod_window()) @ field


def peak_shapes() -> np.ndarray:
    """Return what one atom at z = 0 gives to each column, ``(7, 4, 240)`` by `SITE_OF_SPECIES`.

    Its own column gets the peak, the other columns a faint leakage.
    """
    h, k = ROD_H[:, None], ROD_K[:, None]
    rods = [
        form_factor(species, h, k, L) * site_phase(site)[:, None]
        for species, site in SITE_OF_SPECIES.items()
    ]
    return column_fields(np.stack(rods))


def to_density(columns: np.ndarray) -> np.ndarray:
    """Transform columns over l, ``(..., 240)``, to densities over z, ``(..., 2048)``.

    z = 0, `Z_STEP`, ...; negative z at the end. The mean is 0, since l = 0 is not on the grid.
    """
    spectrum = np.zeros((*columns.shape[:-1], N_FFT // 2 + 1), dtype=np.complex128)
    spectrum[..., 1 : len(L) + 1] = np.conj(columns) * l_window(DENSITY_WINDOW)
    return np.fft.irfft(spectrum, N_FFT, axis=-1)


def density_slice(field: np.ndarray, y: float, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return a vertical slice of one film's electron density, ``(n_z, n_x)`` [arbitrary].

    The slices y = 0 and y = a/2 hold every atom.

    Parameters
    ----------
    field : numpy.ndarray
        ``(16, 240)`` complex.
    y : float
        In-plane position of the slice [Å].
    x, z : numpy.ndarray
        Axes of the slice [Å], ``(n_x,)`` and ``(n_z,)``.
    """
    q = 2 * np.pi / A_SUBSTRATE
    waves_x = np.cos(q * np.outer(ROD_H, x)) * (rod_window() * np.cos(q * ROD_K * y))[:, None]
    waves_z = np.exp(-1j * np.outer(z, Q_Z)) * l_window(DENSITY_WINDOW)
    return (waves_z @ (field.T @ waves_x)).real


def peak_near(density: np.ndarray, centre: np.ndarray, half_width: float) -> np.ndarray:
    """Find the highest point of a window and refine it by a parabola, ``(n, m)`` [Å].

    Parameters
    ----------
    density : numpy.ndarray
        From `to_density`, ``(n, 2048)``.
    centre : numpy.ndarray
        Middle of the windows, ``(n, m)`` [Å].
    half_width : float
        Half width of the windows [Å]; one without a peak gives its edge.
    """
    reach = round(half_width / Z_STEP)
    start = np.rint(centre / Z_STEP).astype(np.int64) - reach
    rows = np.arange(len(density))[:, None]
    window = start[..., None] + np.arange(2 * reach + 1)
    best = start + density[rows[..., None], window].argmax(axis=-1)
    below, top, above = (density[rows, best + step] for step in (-1, 0, 1))
    return (best + parabola_offset(below - above, below + above - 2 * top)) * Z_STEP
