"""From the film's field to its structure: peaks of the density, atoms, and the R² of them.

Peaks are searched from the bottom up in the four columns of the density; then their shapes, known
from the form factors, are fitted to the columns by Gauss-Newton steps, which keeps apart what
overlaps: O1 and Al, 1.9 Å above one another, or Sr and La in one site. Heights z in Å above the
A site of the dummy cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from repro.errors import ReproError
from repro.evaluation.resampling import Resampled, Resampling
from repro.studies.mamba.density import (
    COLUMN_OF_SITE,
    SITE_OF_SPECIES,
    column_fields,
    l_window,
    peak_near,
    peak_shapes,
    to_density,
)
from repro.studies.mamba.simulate import (
    A_SUBSTRATE,
    C_RANGE,
    N_INTERMIXED,
    N_L,
    N_RODS,
    OCCUPANCY_RANGE,
    Q_Z,
    SITE_Z,
    SITES,
    Z_RANGE,
    Film,
    L,
    phases,
)

SEARCH_C = 0.15  # [Å] half width of the search for the next A site
SEARCH_Z = 0.30  # [Å] half width of the search for the other sites
FIT_WINDOW = 0.18  # [Å] a fit does not ring: measured best for fields with noise
N_STEPS = 2
MAX_STEP = 0.1  # [Å]
DAMPING = 1e-3  # of the strongest parameter of its kind: holds the atoms of absent cells
SUM_KEEPING = np.linalg.svd(np.ones((1, N_INTERMIXED)))[2][1:]  # steps of p along which Σp stays
OUTLIER = 1.2  # [half widths of the region of variation] from nominal: 10 % of its width outside
FILMS_AT_ONCE = 32  # keeps the working arrays small
MOST_LAYERS = 37  # with the dummy cell and a margin, z repeats itself after 40 cells


@dataclass(frozen=True)
class Structure:
    """The structure of ``n`` films, true or extracted.

    Parameters
    ----------
    z_atoms : numpy.ndarray
        Heights of A, B, O1, O2, O3 in each cell, ``(n, n_cells, 5)`` [Å].
    p_intermixing : numpy.ndarray
        Sr fraction of the four interface cells, ``(n, 4)`` [1].
    occupancy : numpy.ndarray
        The final layers' occupancy, ``(n,)`` [cells]: see `final_occupancy`.
    """

    z_atoms: np.ndarray
    p_intermixing: np.ndarray
    occupancy: np.ndarray


def n_final(film: Film) -> int:
    """Return how many cells at the top may be absent or partly occupied."""
    return film.n_layers_varied + 1 if film.rough or film.n_layers_varied else 0


def final_occupancy(film: Film, occupancy: np.ndarray, n_cells: np.ndarray) -> np.ndarray:
    """Return thickness and top occupancy as one number, the final layers' occupancy (fig. 4).

    The occupancies of the cells that may be absent and of the one below them, added up: from 0.3
    to 1 at a fixed thickness, from 0.3 to 3 at 11 to 13 layers.

    Parameters
    ----------
    film : Film
        The kind of film.
    occupancy : numpy.ndarray
        Of the topmost cell that is present, ``(n,)`` [1].
    n_cells : numpy.ndarray
        Cells that are present, dummy cell included, ``(n,)``.
    """
    return occupancy + film.n_layers_varied - (film.n_cells - n_cells)


def find_peaks(film: Film, columns: np.ndarray) -> np.ndarray:
    """Find all atoms as peaks of the four columns, ``(n, n_cells, 5)`` [Å].

    The A sites are followed from below, each within the range of c above the last; the other
    sites are searched around their nominal places between them. The dummy cell is known, and so
    is the A site on top of it.

    Parameters
    ----------
    film : Film
        The kind of film.
    columns : numpy.ndarray
        From `column_fields`, ``(n, 4, 240)``.
    """
    densities = to_density(columns)
    z = np.tile(SITE_Z * A_SUBSTRATE, (len(columns), film.n_cells, 1))
    z[:, 1, 0] = A_SUBSTRATE
    for cell in range(2, film.n_cells):
        expected = z[:, cell - 1, :1] + film.nominal_c[cell - 1]
        z[:, cell, :1] = peak_near(densities[:, 0], expected, SEARCH_C)
    c = cell_heights(film, z)
    for site in range(1, len(SITES)):
        expected = z[:, 1:, 0] + c[:, 1:] * SITE_Z[site]
        z[:, 1:, site] = peak_near(densities[:, COLUMN_OF_SITE[site]], expected, SEARCH_Z)
    return z


def cell_heights(film: Film, z_atoms: np.ndarray) -> np.ndarray:
    """Return the distances of successive A sites, ``(n, n_cells)`` [Å]; nominal for the last."""
    last = np.full((len(z_atoms), 1), film.nominal_c[-1])
    return np.concatenate([np.diff(z_atoms[:, :, 0], axis=1), last], axis=1)


# Fit of the known peak shapes


@dataclass(frozen=True)
class Atoms:
    """What is fitted: heights ``(n, n_cells, 5)`` [Å], p ``(n, 4)``, filling ``(n, n_cells)``."""

    z: np.ndarray
    p: np.ndarray
    filling: np.ndarray


def species_amounts(film: Film, p_intermixing: np.ndarray) -> np.ndarray:
    """Return how much of each of the seven species a full cell holds, ``(7, n, n_cells)``."""
    strontium = np.tile((~film.is_aluminate).astype(float), (len(p_intermixing), 1))
    titanium = strontium.copy()
    strontium[:, film.intermixed] = p_intermixing
    one = np.ones_like(strontium)
    return np.stack([strontium, 1 - strontium, titanium, 1 - titanium, one, one, one])


def gauss_newton(blocks: list[np.ndarray], residual: np.ndarray) -> list[np.ndarray]:
    """Return the damped least-squares step of each kind of parameter, each ``(n, m)``.

    Parameters
    ----------
    blocks : list of numpy.ndarray
        Derivatives by each kind of parameter, ``(n, m, 240)`` complex; m may be 0.
    residual : numpy.ndarray
        ``(n, 240)`` complex.
    """
    real = np.concatenate(blocks, axis=1).view(np.float64)
    normal = real @ real.transpose(0, 2, 1)
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    for diagonal in np.split(np.einsum("nii->ni", normal), ends, axis=1):  # views of ``normal``
        diagonal += DAMPING * diagonal.max(axis=1, keepdims=True, initial=0)
    slope = real @ np.ascontiguousarray(residual).view(np.float64)[..., None]
    return np.split(np.linalg.solve(normal, slope)[..., 0], ends, axis=1)


def fit_step(film: Film, columns: np.ndarray, shapes: np.ndarray, atoms: Atoms) -> Atoms:
    """Take one Gauss-Newton step in each column, what the other columns leak into it held.

    Parameters
    ----------
    film : Film
        The kind of film.
    columns, shapes : numpy.ndarray
        From `column_fields`, ``(n, 4, 240)``, and `peak_shapes`, ``(7, 4, 240)``.
    atoms : Atoms
        Where to step from.
    """
    window, waves = l_window(FIT_WINDOW), phases(atoms.z)
    residual, full_peaks = columns.copy(), np.zeros_like(waves)
    amounts = species_amounts(film, atoms.p)
    for shape, amount, name in zip(shapes, amounts, SITE_OF_SPECIES.values(), strict=True):
        site = SITES.index(name)
        residual -= shape * ((amount * atoms.filling)[:, None] @ waves[:, :, site])
        own_column = window * shape[COLUMN_OF_SITE[site]]
        full_peaks[:, :, site] += amount[..., None] * own_column * waves[:, :, site]
    residual *= window
    slopes = 1j * Q_Z * atoms.filling[..., None, None] * full_peaks

    sr_for_la = window * (shapes[0, 0] - shapes[1, 0]) * waves[:, film.intermixed, 0]
    exchange = SUM_KEEPING @ (atoms.filling[:, film.intermixed, None] * sr_for_la)
    final = slice(film.n_cells - n_final(film), film.n_cells)
    a, mix = gauss_newton([slopes[:, 2:, 0], exchange], residual[:, 0])
    b_and_o1 = full_peaks[:, final, 1] + full_peaks[:, final, 2]
    b, o1, fill = gauss_newton([slopes[:, 1:, 1], slopes[:, 1:, 2], b_and_o1], residual[:, 1])
    (o2,) = gauss_newton([slopes[:, 1:, 3]], residual[:, 2])
    (o3,) = gauss_newton([slopes[:, 1:, 4]], residual[:, 3])

    z, filling = atoms.z.copy(), atoms.filling.copy()
    z[:, 2:, 0] += np.clip(a, -MAX_STEP, MAX_STEP)
    z[:, 1:, 1:] += np.clip(np.stack([b, o1, o2, o3], axis=-1), -MAX_STEP, MAX_STEP)
    filling[:, final] = np.clip(filling[:, final] + fill, 0, 1)
    return Atoms(z, atoms.p + mix @ SUM_KEEPING, filling)


def nearest_fractions(p: np.ndarray) -> np.ndarray:
    """Return the nearest Sr fractions, ``(n, 4)``, within 0 to 1 and of the sum 2."""
    low, high = -p.max(axis=1, keepdims=True), 1 - p.min(axis=1, keepdims=True)
    for _ in range(60):
        shift = (low + high) / 2
        too_little = np.clip(p + shift, 0, 1).sum(axis=1, keepdims=True) < N_INTERMIXED / 2
        low, high = np.where(too_little, shift, low), np.where(too_little, high, shift)
    return np.clip(p + high, 0, 1)


def replace_outliers(film: Film, z_atoms: np.ndarray) -> np.ndarray:
    """Put nominal values for what left its region of variation by more than 10 % (paper's rule).

    Heights of cells first, then the heights of atoms above the A site of their own cell. A region
    is as wide as its parameters reach; 10 % of that width are allowed on either side.

    Parameters
    ----------
    film : Film
        The kind of film.
    z_atoms : numpy.ndarray
        ``(n, n_cells, 5)`` [Å].
    """
    is_high, is_far = outliers(film, z_atoms)
    c = np.where(is_high, film.nominal_c, cell_heights(film, z_atoms))
    base = np.cumsum(c, axis=1) - c
    offset = z_atoms - z_atoms[:, :, :1]
    return base[..., None] + np.where(is_far, c[..., None] * SITE_Z, offset)


def outliers(film: Film, z_atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which cells, ``(n, n_cells)``, and which atoms in them, ``(n, n_cells, 5)``, are out.

    Parameters are those of `replace_outliers`.
    """
    nominal_c = film.nominal_c[:, None]
    is_high = np.abs(cell_heights(film, z_atoms) - film.nominal_c) > OUTLIER * C_RANGE
    offset = z_atoms - z_atoms[:, :, :1]
    half_width = Z_RANGE * nominal_c + C_RANGE * SITE_Z
    return is_high, np.abs(offset - nominal_c * SITE_Z) > OUTLIER * half_width


def extract(film: Film, field: np.ndarray) -> Structure:
    """Read the structure of films off their fields, by the paper's rule for outliers.

    Parameters and errors are those of `find_structure`.
    """
    return by_the_rule(film, find_structure(film, field))


def by_the_rule(film: Film, found: Structure) -> Structure:
    """Return a structure with the paper's rule for outliers applied; see `replace_outliers`."""
    return replace(found, z_atoms=replace_outliers(film, found.z_atoms))


def find_structure(film: Film, field: np.ndarray) -> Structure:
    """Find the structure of films in their fields, outliers as they are found.

    Fractions are confined to what is possible (0 ≤ p ≤ 1, Σp = 2, occupancies in their range).

    Parameters
    ----------
    film : Film
        The kind of film.
    field : numpy.ndarray
        Bulk excluded, not normalised, ``(n, 16, 240)`` complex [electrons].

    Raises
    ------
    ReproError
        If the field has another shape, or the film is too thick for the grid of l.
    """
    if field.shape[1:] != (N_RODS, N_L):
        raise ReproError(
            f"The field has the shape {field.shape}; give (films, {N_RODS}, {N_L}), not flattened."
        )
    if film.n_layers > MOST_LAYERS:
        raise ReproError(
            f"A film of {film.n_layers} layers is thicker than rods in steps of l = {L[0]} can "
            f"tell apart: give at most {MOST_LAYERS} layers."
        )
    shapes = peak_shapes()
    parts = [
        extract_few(film, field[start : start + FILMS_AT_ONCE], shapes)
        for start in range(0, len(field), FILMS_AT_ONCE)
    ]
    return Structure(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def extract_few(film: Film, field: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, ...]:
    """Do the work of `find_structure` for as many films as fit the cache; return the arrays."""
    columns = column_fields(field.astype(np.complex128))
    z = find_peaks(film, columns)
    atoms = Atoms(z, np.full((len(z), N_INTERMIXED), 0.5), np.ones(z.shape[:2]))
    for _ in range(N_STEPS):
        atoms = fit_step(film, columns, shapes, atoms)
    occupancy = atoms.filling[:, film.n_cells - 1 - film.n_layers_varied :].sum(axis=1)
    lowest = OCCUPANCY_RANGE[0] if film.rough else 1.0
    return (
        atoms.z,
        nearest_fractions(atoms.p),
        np.maximum(occupancy, lowest),
    )


# Scores


def scored_quantities(
    film: Film, z_atoms: np.ndarray, p_intermixing: np.ndarray, occupancy: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the quantities that R² is computed of, each ``(n, layers)``.

    ``c``: heights of cells 1, 2, ... [Å], the distance of successive A sites; the dummy cell's is
    constant and left out. ``B``, ``O1``, ``O2``, ``O3``: distance of this atom in cells 1, 2, ...
    from the same atom in the cell below [Å]. ``p``: Sr fractions of the four interface cells.
    ``occupancy``, where it varies: the final layers' occupancy, one column.

    Parameters
    ----------
    film : Film
        The kind of film.
    z_atoms, p_intermixing, occupancy : numpy.ndarray
        As in `Structure`.
    """
    distances = np.diff(z_atoms, axis=1)
    quantities = {name: distances[:, :, site] for site, name in enumerate(SITES)}
    quantities = {"c": quantities.pop("A")[:, 1:], **quantities, "p": p_intermixing}
    if n_final(film):
        quantities["occupancy"] = occupancy[:, None]
    return quantities


def r2_by_layer(
    film: Film, true: Structure, extracted: Structure, films: Resampling
) -> dict[str, Resampled]:
    """Return R² by quantity and layer: ``r2/c/01``, ..., ``r2/p/04``, ``r2/occupancy/01``.

    Layers count from the bottom, the dummy cell being 0. A film counts in a layer that it has:
    distances to atoms of absent cells are left out, and so are layers of fewer than two films.

    Parameters
    ----------
    film : Film
        The kind of film.
    true, extracted : Structure
        Of the same films.
    films : Resampling
        Draws of these films.
    """
    n_present = film.n_cells - film.n_layers_varied - 1 + np.ceil(true.occupancy).astype(int)
    expected = scored_quantities(film, **vars(true))
    found = scored_quantities(film, **vars(extracted))
    scores = {}
    for name, values in expected.items():
        layers = np.arange(values.shape[1])
        highest_cell = {"c": layers + 2, "p": 0 * layers, "occupancy": 0 * layers}
        present = n_present[:, None] > highest_cell.get(name, layers + 1)
        by_layer = films.r_squared(values, found[name], present)
        scores |= {
            f"r2/{name}/{layer + 1:02d}": score
            for layer, score in enumerate(by_layer)
            if present[:, layer].sum() > 1
        }
    return scores
