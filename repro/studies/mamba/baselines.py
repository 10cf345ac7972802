"""What can be had without a network: error reduction, the mean of the training set, and noise.

Error reduction in the manner of COBRA (Yacoby et al., Nature Materials 1, 99, 2002): the bulk's
field is known and refers the phases; measured moduli and the film's finite thickness are imposed
in turn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from repro.errors import ReproError
from repro.seeds import generator
from repro.side_by_side import side_by_side
from repro.studies.mamba.simulate import (
    BRAGG,
    N_L,
    N_RODS,
    Q_Z,
    SITE_Z,
    Film,
    atom_heights,
    bulk_field,
    cell_fractions,
    film_field,
)

MARGIN = 2.0  # [Å] of density below the lowest and above the highest A site, nominally
SUPPORT_STEP = 0.2  # [Å] finer than π/q_z,max = 0.33 Å
NEGLIGIBLE = 1e-6  # singular values below this part of the largest are no degrees of freedom
FILMS_AT_ONCE = 50
SHARP_INTERFACE = (1.0, 1.0, 0.0, 0.0)  # Sr fractions
ZERO_COUNTS_AS = 0.5  # [counts]
MOST_COUNTS = 1e15  # well within what a 64-bit Poisson number holds


def nominal_field(film: Film) -> np.ndarray:
    """Return the field of the undistorted film with a sharp interface, ``(16, 240)`` complex.

    Its topmost cell is full; of variable thicknesses it has the middle one.
    """
    sites = np.broadcast_to(SITE_Z, (1, film.n_cells, len(SITE_Z)))
    p, n_missing = np.array([SHARP_INTERFACE]), np.array([film.n_layers_varied // 2])
    fractions = cell_fractions(film, p, n_missing)
    return film_field(atom_heights(film.nominal_c[None], sites), fractions)[0]


def support_basis(film: Film) -> np.ndarray:
    """Return orthonormal rods of real densities within the film, ``(480, r)``.

    A rod is 240 real parts, then 240 imaginary parts, of Σ_z ρ(z) exp(i q_z z). The density on a
    rod is real because every site lies at 0 or ½ of the in-plane cell.

    Parameters
    ----------
    film : Film
        The kind of film; its nominal thickness plus `MARGIN` on either side is the support.
    """
    top = film.nominal_c.sum() + MARGIN
    phase = np.outer(Q_Z, np.arange(-MARGIN, top, SUPPORT_STEP))
    left, singular, _ = np.linalg.svd(
        np.concatenate([np.cos(phase), np.sin(phase)]), full_matrices=False
    )
    return left[:, singular > NEGLIGIBLE * singular[0]]


def error_reduction(
    film: Film,
    log_intensity: np.ndarray,
    n_iterations: int = 50,
    progress: Callable[[int, int], None] | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Retrieve fields by error reduction, ``(n, 16, 240)`` complex128.

    From the nominal film's field on, or another: put in the measured modulus of the total field,
    subtract the bulk, project onto real densities within the film. At the Bragg points, where
    nothing is measured, the estimate stays.

    Parameters
    ----------
    film : Film
        The kind of film.
    log_intensity : numpy.ndarray
        log |F_bulk + U|², not normalised, ``(n, 16, 240)``.
    n_iterations : int
        Rounds [1]; 0 returns the start.
    progress : callable, optional
        Called with the films done and their number.
    start : numpy.ndarray, optional
        First guess of the fields, ``(n, 16, 240)`` complex [electrons].

    Raises
    ------
    ReproError
        If ``log_intensity`` has another shape, or ``n_iterations`` is negative.
    """
    if log_intensity.shape[1:] != (N_RODS, N_L):
        raise ReproError(
            f"The log intensity has the shape {log_intensity.shape}; error reduction takes "
            f"(films, {N_RODS}, {N_L})."
        )
    if n_iterations < 0:
        raise ReproError(f"n_iterations is {n_iterations}; give 0 or more.")
    basis, bulk, n = support_basis(film), bulk_field(), len(log_intensity)
    field = np.tile(nominal_field(film), (n, 1, 1)) if start is None else start.astype(complex)

    def retrieve(rows: slice) -> None:
        modulus = np.exp(0.5 * log_intensity[rows].astype(np.float64))
        for _ in range(n_iterations):
            total = bulk + field[rows]
            scale = np.where(BRAGG, 1.0, modulus / np.abs(total))
            field[rows] = project(total * scale - bulk, basis)

    parts = [slice(start, start + FILMS_AT_ONCE) for start in range(0, n, FILMS_AT_ONCE)]
    for rows, _ in zip(parts, side_by_side(retrieve, parts), strict=True):
        if progress:
            progress(min(rows.stop, n), n)
    return field


def project(field: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the nearest fields of real densities within the support, same shape as ``field``."""
    rods = np.concatenate([field.real, field.imag], axis=-1)
    real, imaginary = np.split((rods @ basis) @ basis.T, 2, axis=-1)
    return real + 1j * imaginary


def counting_noise(log_intensity: np.ndarray, counts_at_strongest: float, seed: int) -> np.ndarray:
    """Return the log intensity of films as counted photons, same shape, float64.

    Each film is measured just long enough that its strongest point expects
    ``counts_at_strongest``; every other point gets its share, with Poisson noise. A point without
    any count is taken as half a count, since log 0 is not a number. Bragg points stay 0. The noise
    of a film depends on the seed and the film's index only.

    Parameters
    ----------
    log_intensity : numpy.ndarray
        log |F_bulk + U|², not normalised, 0 at the Bragg points, ``(n, 16, 240)``.
    counts_at_strongest : float
        Expected counts at the strongest point that is no Bragg point, such as 1e3 to 1e7 [1].
    seed : int
        Of the noise.

    Raises
    ------
    ReproError
        If ``counts_at_strongest`` is not a positive number.
    """
    if not 0 < counts_at_strongest <= MOST_COUNTS:
        raise ReproError(
            f"counts_at_strongest is {counts_at_strongest}; give a number above 0, "
            f"up to {MOST_COUNTS:.0e}."
        )
    noisy = np.zeros(log_intensity.shape)
    for film, log_points in enumerate(log_intensity[..., ~BRAGG].astype(np.float64)):
        log_scale = np.log(counts_at_strongest) - log_points.max()
        random = generator(seed, "counting noise", str(film))
        counts = random.poisson(np.exp(log_points + log_scale))
        noisy[film][:, ~BRAGG] = np.log(np.maximum(counts, ZERO_COUNTS_AS)) - log_scale
    return noisy
