"""Crystal truncation rods of LaAlO3 on SrTiO3: random films and their kinematic diffraction.

Kakhandiki, Min and Disa, "Epitaxial Thin Film Interface Imaging with Deep Learning" (2024),
eqs. 1-3. Lengths in Å, wave vectors in Å⁻¹, amplitudes in electrons per surface cell.
Arrays of rods have the shape ``(..., 16, 240)``: rod ``4 k + h``, then l = 0.025 ... 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import betaincinv

from repro.errors import ReproError
from repro.seeds import uniform_rows

A_SUBSTRATE = 3.905  # [Å] SrTiO3, in-plane and substrate c
C_FILM = 3.790  # [Å] LaAlO3, coherently strained
L = np.arange(1, 241) * 0.025  # [2π/a]
Q_Z = 2 * np.pi * L / A_SUBSTRATE  # [Å⁻¹]
ROD_H = np.tile(np.arange(4), 4)
ROD_K = np.repeat(np.arange(4), 4)
BRAGG = np.arange(1, 241) % 40 == 0
ALL_RODS = slice(None)
N_RODS, N_L = len(ROD_H), len(L)

# h and k can be exchanged, O2 and O3 being at one height: 10 of the 16 rods are distinct.
DISTINCT_RODS = np.flatnonzero(ROD_H <= ROD_K)
DISTINCT_OF_ROD = np.searchsorted(
    DISTINCT_RODS, 4 * np.maximum(ROD_H, ROD_K) + np.minimum(ROD_H, ROD_K)
)

SITES = ("A", "B", "O1", "O2", "O3")
SITE_Z = np.array([0.0, 0.5, 0.0, 0.5, 0.5])  # [fraction of c]
SITE_XY = np.array([[0, 0], [0.5, 0.5], [0.5, 0.5], [0, 0.5], [0.5, 0]])  # [fraction of a]
C_RANGE = 0.1  # [Å]
Z_RANGE = 0.05  # [fraction of c]
OCCUPANCY_RANGE = (0.3, 1.0)
BETA = 0.75  # both parameters of the intermixing's beta distribution
N_INTERMIXED = 4

# f0(q) = Σ a_i exp(-b_i q²/(4π)²) + c: (a1..a4, b1..b4, c)
FORM_FACTORS = {
    "Sr": (18.0874, 8.1373, 2.5654, -34.193, 1.4907, 12.6963, 24.5651, -0.0138, 41.4025),
    "Ti": (19.5114, 8.23473, 2.01341, 1.5208, 0.178847, 6.67018, -0.29263, 12.9464, -13.28),
    "O": (3.0485, 2.2868, 1.5463, 0.867, 13.2771, 5.7011, 0.3239, 32.9089, 0.2508),
    "La": (20.2489, 19.3763, 11.6323, 0.336048, 2.9207, 0.250698, 17.8211, 54.9453, 2.4086),
    "Al": (4.17448, 3.3876, 1.20296, 0.528137, 1.93816, 4.14553, 0.228753, 8.28524, 0.706786),
}
DISPLACEMENTS = {  # mean-square displacement U [Å²]
    "Sr": 0.00643736686658,
    "La": 0.00954291456864,
    "Ti": 0.037284080873,
    "Al": 0.0151313235775,
    "O1": 0.00100182498507,
    "O2": 0.0364082047733,
    "O3": 0.0364082047733,
}
SPECIES = ("Sr", "La", "Ti", "Al", "O1", "O2")  # O2 stands for the pair O2 + O3 at one height
SITE_OF_SPECIES = (0, 0, 1, 1, 2, 3)

L_AT_ONCE = 16  # points of l that share one factor of their phases; divides N_L
FILMS_AT_ONCE = 32  # keeps the working arrays in the cache, where they are three times as fast


@dataclass(frozen=True)
class Film:
    """What is known of a film before it is measured.

    Parameters
    ----------
    n_layers : int
        Variable unit cells of the thickest film [1].
    n_layers_varied : int
        How many of its topmost cells a film may lack [1].
    rough : bool
        The topmost cell that is present is partly occupied.

    Raises
    ------
    ReproError
        If the thinnest film cannot hold the intermixed interface.
    """

    n_layers: int = 12
    n_layers_varied: int = 0
    rough: bool = False

    def __post_init__(self):
        if self.n_layers_varied < 0 or self.n_layers - self.n_layers_varied < N_INTERMIXED:
            raise ReproError(
                f"A film of {self.n_layers} layers that may lack {self.n_layers_varied} is too "
                f"thin: the intermixed interface alone takes {N_INTERMIXED}."
            )

    @property
    def n_aluminate(self) -> int:
        """LaAlO3 cells: a third of the mean film, as in the published 8 + 4, and at least two."""
        thinner = self.n_layers_varied // 2
        return max(2, round((self.n_layers - thinner) / 3)) + thinner

    @property
    def n_cells(self) -> int:
        """Cells with the fixed dummy cell under the variable ones."""
        return self.n_layers + 1

    @property
    def first_aluminate(self) -> int:
        """Index of the lowest LaAlO3 cell, the dummy cell being 0."""
        return self.n_cells - self.n_aluminate

    @property
    def is_aluminate(self) -> np.ndarray:
        """``(n_cells,)`` bool: LaAlO3 cells."""
        return np.arange(self.n_cells) >= self.first_aluminate

    @property
    def intermixed(self) -> slice:
        """The four cells whose A site is shared by Sr and La."""
        return slice(self.first_aluminate - 2, self.first_aluminate + 2)

    @property
    def nominal_c(self) -> np.ndarray:
        """``(n_cells,)`` nominal cell heights [Å]."""
        return np.where(self.is_aluminate, C_FILM, A_SUBSTRATE)


def form_factor(species: str, h: np.ndarray, k: np.ndarray, l: np.ndarray) -> np.ndarray:  # noqa: E741
    """Return the atomic form factor times the Debye-Waller factor [electrons].

    Parameters
    ----------
    species : str
        ``"Sr"``, ``"La"``, ``"Ti"``, ``"Al"``, ``"O1"``, ``"O2"`` or ``"O3"``.
    h, k, l : numpy.ndarray
        Miller indices [2π/a], of shapes that broadcast.
    """
    q2 = (2 * np.pi / A_SUBSTRATE) ** 2 * (h**2 + k**2 + l**2)
    *ab, c = FORM_FACTORS["O" if species.startswith("O") else species]
    gaussians = (
        a * np.exp(-b * q2 / (4 * np.pi) ** 2) for a, b in zip(ab[:4], ab[4:], strict=True)
    )
    return (sum(gaussians) + c) * np.exp(-0.5 * q2 * DISPLACEMENTS[species])


def site_phase(site: str) -> np.ndarray:
    """Return the in-plane phase factor exp(2πi(hx + ky)) per rod, ``(16,)``, each +1 or -1."""
    x, y = SITE_XY[SITES.index(site)]
    return np.where((2 * (ROD_H * x + ROD_K * y)).astype(int) % 2, -1.0, 1.0)


@cache
def species_table() -> np.ndarray:
    """Return form factor times in-plane phase, ``(6, 16, 240)`` in the order of `SPECIES`.

    The sum over atoms factorises into 1-D structure sums and this table; it is real because
    every site lies at 0 or ½ of the cell.
    """
    h, k = ROD_H[:, None], ROD_K[:, None]

    def rods(species: str, site: str) -> np.ndarray:
        return form_factor(species, h, k, L) * site_phase(site)[:, None]

    oxygen_pair = rods("O2", "O2") + rods("O3", "O3")
    sites = {"Sr": "A", "La": "A", "Ti": "B", "Al": "B", "O1": "O1"}
    return _fixed(
        np.stack([*(rods(species, site) for species, site in sites.items()), oxygen_pair])
    )


def _fixed(array: np.ndarray) -> np.ndarray:
    """Return an array that cannot be written to, since all callers share it."""
    array.flags.writeable = False
    return array


def powers(step: np.ndarray, n: int) -> np.ndarray:
    """Return step¹ ... stepⁿ along a new last axis, complex128.

    They are multiplied up, doubling at each pass: float64 to a few parts in 10¹⁵ for |step| = 1.

    Parameters
    ----------
    step : numpy.ndarray
        Complex numbers, any shape.
    n : int
        The highest power.
    """
    result = np.empty((*step.shape, n), dtype=np.complex128)
    result[..., 0] = step
    filled = 1
    while filled < n:
        width = min(filled, n - filled)
        np.multiply(
            result[..., :width],
            result[..., filled - 1, None],
            out=result[..., filled : filled + width],
        )
        filled += width
    return result


def phases(z: np.ndarray) -> np.ndarray:
    """Return exp(i q_z z) on the grid of l, ``(..., 240)`` complex128.

    The grid is evenly spaced: powers of one step, at a tenth of the cost of 240 exponentials.

    Parameters
    ----------
    z : numpy.ndarray
        Heights [Å], any shape.
    """
    return powers(np.exp(1j * Q_Z[0] * z), N_L)


@cache
def bulk_field() -> np.ndarray:
    """Return the field of the semi-infinite SrTiO3 substrate, ``(16, 240)`` complex128.

    F_cell / (exp(i q_z a) - 1), the closed form of eq. 2; infinite at the Bragg points, which are
    set to 0 here because nothing is measured there.
    """
    cell = phases(SITE_Z * A_SUBSTRATE)
    sums = np.stack([cell[0], 0 * cell[0], cell[1], 0 * cell[0], cell[2], cell[3]])
    unit_cell = np.einsum("srl,sl->rl", species_table(), sums)
    denominator = np.where(BRAGG, 1.0, np.exp(1j * Q_Z * A_SUBSTRATE) - 1)
    return _fixed(np.where(BRAGG, 0.0, unit_cell / denominator))


def cell_fractions(film: Film, p_intermixing: np.ndarray, n_missing=0, occupancy=1.0) -> np.ndarray:
    """Return how much of each species every cell holds, ``(n_films, 6, n_cells)``.

    Parameters
    ----------
    film : Film
        The kind of film.
    p_intermixing : numpy.ndarray
        Sr fraction of the four interface cells, ``(n_films, 4)`` [1].
    n_missing : numpy.ndarray or int
        Cells missing at the top, ``(n_films,)``.
    occupancy : numpy.ndarray or float
        Occupancy of the topmost cell that is present, ``(n_films,)`` [1].
    """
    n_films = len(p_intermixing)
    strontium = np.broadcast_to(~film.is_aluminate, (n_films, film.n_cells)).astype(float)
    strontium[:, film.intermixed] = p_intermixing
    titanium = np.broadcast_to((~film.is_aluminate).astype(float), strontium.shape)
    ones = np.ones_like(strontium)
    fractions = np.stack([strontium, 1 - strontium, titanium, 1 - titanium, ones, ones], axis=1)
    cell, top = np.arange(film.n_cells), film.n_cells - 1 - np.reshape(n_missing, (-1, 1))
    filling = np.where(cell < top, 1.0, np.where(cell == top, np.reshape(occupancy, (-1, 1)), 0.0))
    return fractions * filling[:, None, :]


def structure_sums(z_atoms: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return Σ_cells fraction · exp(i q_z z) of every species, ``(n_films, 6, 240)`` complex128.

    With l in rows of `L_AT_ONCE` points, a phase is the product of a factor of its row and one of
    its place in the row, so that the sum over cells is a small product of matrices.

    Parameters
    ----------
    z_atoms, fractions : numpy.ndarray
        As in `film_field`.
    """
    steps = np.exp(1j * Q_Z[0] * z_atoms[..., :4].transpose(0, 2, 1))  # O3 stands beside O2
    in_row = powers(steps, L_AT_ONCE)
    of_row = np.ones((*steps.shape, N_L // L_AT_ONCE), dtype=np.complex128)
    of_row[..., 1:] = powers(in_row[..., -1], N_L // L_AT_ONCE - 1)
    sums = np.empty((len(z_atoms), len(SPECIES), N_L), dtype=np.complex128)
    for species, site in enumerate(SITE_OF_SPECIES):
        weighted = fractions[:, species, :, None] * of_row[:, site]
        sums[:, species] = (weighted.transpose(0, 2, 1) @ in_row[:, site]).reshape(-1, N_L)
    return sums


def film_field(
    z_atoms: np.ndarray, fractions: np.ndarray, rods: np.ndarray | slice = ALL_RODS
) -> np.ndarray:
    """Return the kinematic field of films, bulk excluded, ``(n_films, n_rods, 240)`` complex128.

    Parameters
    ----------
    z_atoms : numpy.ndarray
        Heights of A, B, O1, O2, O3 in each cell, ``(n_films, n_cells, 5)`` [Å].
    fractions : numpy.ndarray
        From `cell_fractions`, ``(n_films, 6, n_cells)``.
    rods : numpy.ndarray or slice
        Which rods, all 16 by default.
    """
    sums = structure_sums(z_atoms, fractions).view(np.float64)  # real, imaginary, real, ...
    table = np.repeat(species_table()[:, rods], 2, axis=2)
    return np.einsum("srl,nsl->nrl", table, sums).view(np.complex128)


def log_intensity(field: np.ndarray, rods: np.ndarray | slice = ALL_RODS) -> np.ndarray:
    """Return log |F_bulk + U|² with 0 at the Bragg points, same shape as ``field`` (eq. 3).

    Parameters
    ----------
    field : numpy.ndarray
        U of these rods, ``(..., n_rods, 240)`` [electrons].
    rods : numpy.ndarray or slice
        Which rods, all 16 by default.
    """
    total = bulk_field()[rods] + field
    intensity = total.real**2 + total.imag**2
    intensity[..., BRAGG] = 1.0
    return np.log(intensity, out=intensity)


def measured_rods(z_atoms: np.ndarray, fractions: np.ndarray) -> dict[str, np.ndarray]:
    """Return ``log_intensity``, ``field_real`` and ``field_imag``, each ``(n_films, 16, 240)``.

    float32; only the distinct rods are computed, of a few films at once.

    Parameters
    ----------
    z_atoms, fractions : numpy.ndarray
        As in `film_field`.
    """
    shape = (len(z_atoms), N_RODS, N_L)
    names = ("log_intensity", "field_real", "field_imag")
    arrays = {name: np.empty(shape, dtype=np.float32) for name in names}
    for start in range(0, len(z_atoms), FILMS_AT_ONCE):
        part = slice(start, start + FILMS_AT_ONCE)
        field = film_field(z_atoms[part], fractions[part], DISTINCT_RODS)
        values = (log_intensity(field, DISTINCT_RODS), field.real, field.imag)
        for name, distinct in zip(names, values, strict=True):
            arrays[name][part] = distinct.astype(np.float32)[:, DISTINCT_OF_ROD]
    return arrays


def draw_intermixing(seed: int, start: int, stop: int) -> np.ndarray:
    """Draw the Sr fractions of the four interface cells, ``(stop - start, 4)``, each row's sum 2.

    Four beta(¾, ¾) numbers, scaled to the sum 2, drawn again while one exceeds 1.
    """
    fractions = np.full((stop - start, N_INTERMIXED), np.nan)
    attempt, open_rows = 0, np.arange(stop - start)
    while len(open_rows):
        uniform = uniform_rows(seed, f"intermixing {attempt}", start, stop, N_INTERMIXED)
        beta = betaincinv(BETA, BETA, uniform[open_rows])
        scaled = 2 * beta / beta.sum(axis=1, keepdims=True)
        accepted = scaled.max(axis=1) <= 1
        fractions[open_rows[accepted]] = scaled[accepted]
        open_rows, attempt = open_rows[~accepted], attempt + 1
    return fractions


def atom_heights(c_spacing: np.ndarray, site_z: np.ndarray) -> np.ndarray:
    """Return the heights of all atoms, ``(n_films, n_cells, 5)`` [Å].

    Parameters
    ----------
    c_spacing : numpy.ndarray
        Cell heights, ``(n_films, n_cells)`` [Å].
    site_z : numpy.ndarray
        Heights within the cell, ``(n_films, n_cells, 5)`` [fraction of the cell].
    """
    base = np.cumsum(c_spacing, axis=1) - c_spacing
    return base[..., None] + c_spacing[..., None] * site_z


def draw_structures(start: int, stop: int, seed: int, film: Film) -> dict[str, np.ndarray]:
    """Draw random films ``start`` to ``stop``; each depends on its index and the seed only.

    Returns
    -------
    dict
        ``c_spacing`` (n, n_cells) [Å], ``z_atoms`` (n, n_cells, 5) [Å], ``p_intermixing`` (n, 4),
        ``occupancy`` (n,) of the topmost cell that is present, ``n_missing`` (n,).
    """
    n, cells = stop - start, film.n_cells
    uniform = uniform_rows(seed, "positions", start, stop, 4 * cells).reshape(n, 4, cells)
    shift = 2 * uniform - 1
    shift[:, :, 0] = 0  # the dummy cell keeps its nominal structure
    c_spacing = film.nominal_c + C_RANGE * shift[:, 0]
    site_z = np.broadcast_to(SITE_Z, (n, cells, 5)).copy()
    site_z[:, :, 1:] += Z_RANGE * shift[:, [1, 2, 3, 3]].transpose(0, 2, 1)
    top = uniform_rows(seed, "top", start, stop, 2)
    low, high = OCCUPANCY_RANGE
    return {
        "c_spacing": c_spacing,
        "z_atoms": atom_heights(c_spacing, site_z),
        "p_intermixing": draw_intermixing(seed, start, stop),
        "occupancy": low + (high - low) * top[:, 0] if film.rough else np.ones(n),
        "n_missing": (top[:, 1] * (film.n_layers_varied + 1)).astype(np.int64),
    }


def films(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Simulate films ``start`` to ``stop`` and their rods: the variables of the data set.

    Parameters
    ----------
    start, stop : int
        First film, and the one after the last.
    seed : int
        The data set's seed.
    parameters : dict
        The fields of `Film`: ``n_layers``, ``n_layers_varied``, ``rough``.

    Raises
    ------
    ReproError
        If the film is too thin to hold the intermixed interface.
    """
    film = Film(**parameters)
    structures = draw_structures(start, stop, seed, film)
    n_missing = structures.pop("n_missing")
    fractions = cell_fractions(
        film, structures["p_intermixing"], n_missing, structures["occupancy"]
    )
    return {
        **measured_rods(structures["z_atoms"], fractions),
        **structures,
        "n_cells": film.n_cells - n_missing,
    }


def axes(parameters: dict) -> dict[str, tuple[np.ndarray, str]]:
    """Return values and unit of the axes of the variables.

    Parameters
    ----------
    parameters : dict
        Those of the data spec.

    Returns
    -------
    dict
        By name: ``rod`` (4 k + h), ``l``, ``cell`` (from the dummy cell up), ``atom`` (A, B, O1,
        O2, O3), ``interface_cell`` (from below).
    """
    return {
        "rod": (np.arange(len(ROD_H)), ""),
        "l": (L, "2π/3.905 Å"),
        "cell": (np.arange(parameters["n_layers"] + 1), ""),
        "atom": (np.arange(len(SITES)), ""),
        "interface_cell": (np.arange(N_INTERMIXED), ""),
    }
