"""The model that film structures are fitted with: log intensity and exact derivatives.

Parameters of a structure, one row a film: the heights of A, B, O1 and O2 = O3 of each variable
cell [Å], the Sr fractions of the four interface cells, and the topmost cell's occupancy if the
film is rough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from repro.errors import ReproError
from repro.studies.mamba import simulate
from repro.studies.mamba.simulate import Film

HEIGHTS = 4  # free heights in a cell: A, B, O1, and O2 together with O3
OCCUPANCY_FLOOR = 0.05  # keeps the topmost cell from vanishing from the model


@dataclass(frozen=True)
class Measurement:
    """Log intensities of the distinct rods: (h, k) and (k, h) are one rod by symmetry.

    Parameters
    ----------
    rods : numpy.ndarray
        One rod index of each distinct rod, ``(n_distinct,)``.
    points : numpy.ndarray
        Indices of the points of l that are fitted, ``(n_points,)``: all but the Bragg points.
    values : numpy.ndarray
        Log intensity, twins averaged by weight, ``(n, n_distinct, n_points)``.
    precision : numpy.ndarray
        Inverse variance of ``values``, or the number of points where no variance is known.
    variance : numpy.ndarray
        Known variance of ``values``, 0 where none is known.
    count : numpy.ndarray
        Measured points behind each value.
    scatter : numpy.ndarray
        Weighted squares that averaging twins took out of the residual, ``(n,)``.
    """

    rods: np.ndarray
    points: np.ndarray
    values: np.ndarray
    precision: np.ndarray
    variance: np.ndarray
    count: np.ndarray
    scatter: np.ndarray

    def take(self, films: np.ndarray) -> Measurement:
        """Return the measurement of some of the films."""
        parts = (a[films] for a in (self.values, self.precision, self.variance, self.count))
        return Measurement(self.rods, self.points, *parts, self.scatter[films])

    def up_to(self, l_max: float) -> Measurement:
        """Return the measurement without the points beyond ``l_max`` [2π/a]."""
        n = int((simulate.L[self.points] <= l_max + 1e-9).sum())
        cut = (a[..., :n] for a in (self.values, self.precision, self.variance, self.count))
        return Measurement(self.rods, self.points[:n], *cut, self.scatter)


def measurement(log_intensity: np.ndarray, rods=None, weights=None) -> Measurement:
    """Merge the rods that are equal by symmetry and drop the Bragg points.

    Parameters
    ----------
    log_intensity : numpy.ndarray
        ``(n, 16, 240)``.
    rods : sequence of int, optional
        Measured rods, all by default.
    weights : numpy.ndarray, optional
        Inverse standard error of each log intensity, ``(16, 240)`` or ``(n, 16, 240)`` [1].
        0: not measured.

    Raises
    ------
    ReproError
        If shapes are wrong, a number is not finite, or nothing is left to fit.
    """
    log_intensity = np.asarray(log_intensity, dtype=np.float64)
    shape = (simulate.N_RODS, simulate.N_L)
    if log_intensity.ndim != 3 or log_intensity.shape[1:] != shape:
        raise ReproError(f"log_intensity must be (n, 16, 240), not {log_intensity.shape}.")
    require_finite("log_intensity", log_intensity)
    weight = np.ones(shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape not in (shape, log_intensity.shape):
        raise ReproError(f"weights must be (16, 240) or (n, 16, 240), not {weight.shape}.")
    require_finite("weights", weight)
    if (weight < 0).any():
        raise ReproError("weights holds a negative number: give inverse standard errors.")
    measured = np.zeros(simulate.N_RODS, dtype=bool)
    measured[_rod_indices(rods)] = True
    precision = np.broadcast_to(weight**2 * measured[:, None], log_intensity.shape)
    if not (precision[..., ~simulate.BRAGG] > 0).any(axis=(1, 2)).all():
        raise ReproError("A film has no measured point: give rods or weights that leave some.")
    distinct = simulate.DISTINCT_RODS
    twins = 4 * simulate.ROD_H[distinct] + simulate.ROD_K[distinct]
    used = measured[distinct] | measured[twins]
    noisy = weights is not None
    return _merge_twins(log_intensity, precision, distinct[used], twins[used], noisy)


def _merge_twins(values, precision, rods, twins, noisy) -> Measurement:
    """Average rods that are equal by symmetry."""
    points = np.flatnonzero(~simulate.BRAGG)
    first, second = (values[:, r][..., points] for r in (rods, twins))
    w1 = precision[:, rods][..., points]
    w2 = precision[:, twins][..., points] * (rods != twins)[:, None]
    total = w1 + w2
    share = np.divide(w2, total, out=np.zeros_like(total), where=total > 0)
    variance = np.divide(noisy, total, out=np.zeros_like(total), where=total > 0)
    return Measurement(
        rods,
        points,
        first + share * (second - first),
        total,
        variance,
        (w1 > 0).astype(float) + (w2 > 0),
        (w1 * share * (second - first) ** 2).sum(axis=(1, 2)),
    )


def _rod_indices(rods: Sequence[int] | None) -> np.ndarray:
    indices = np.arange(simulate.N_RODS) if rods is None else np.asarray(rods)
    whole = indices.ndim == 1 and len(indices) and np.issubdtype(indices.dtype, np.integer)
    if not whole or indices.min() < 0 or indices.max() >= simulate.N_RODS:
        raise ReproError("rods must be a list of rod indices from 0 to 15.")
    return indices


def require_finite(name: str, values: np.ndarray) -> None:
    """Raise ReproError unless all numbers are finite."""
    if not np.isfinite(values).all():
        raise ReproError(f"{name} holds a number that is not finite: remove or mask that film.")


class FilmModel:
    """Log intensity and its derivatives for films of one thickness.

    A structure is one row of parameters: the heights of A, B, O1 and O2 = O3 of each variable
    cell [Å], the four Sr fractions, and the topmost cell's occupancy if the film is rough. The
    first height is fixed, because the dummy cell's height fixes it.

    Parameters
    ----------
    film : Film
        The kind of film.
    n_missing : int
        Cells missing at the top.
    rods, points : numpy.ndarray
        Indices of rods and of points of l.
    """

    def __init__(self, film: Film, n_missing: int, rods: np.ndarray, points: np.ndarray):
        self.rough = film.rough
        self.n_cells = film.n_layers - n_missing  # without the dummy cell
        self.n_titanate = film.first_aluminate - 1
        self.mixed = slice(film.intermixed.start - 1, film.intermixed.stop - 1)
        self.nominal_c = film.nominal_c[1 : 1 + self.n_cells]
        self.n_heights = HEIGHTS * self.n_cells
        self.n_parameters = self.n_heights + simulate.N_INTERMIXED + self.rough
        self.points = points
        table = simulate.species_table()[:, rods]
        self.table = table[..., points]
        self.table_by_l = np.ascontiguousarray(self.table.transpose(2, 1, 0))
        dummy = simulate.phases(simulate.SITE_Z * simulate.A_SUBSTRATE)
        sites = np.stack([dummy[0], 0 * dummy[0], dummy[1], 0 * dummy[0], dummy[2], dummy[3]])
        fixed = simulate.bulk_field()[rods] + np.einsum("srl,sl->rl", table, sites)
        self.fixed_field = fixed[:, points]
        self.q_z = simulate.Q_Z[points]
        self.mean, self.prior = self._known_ranges()

    def _known_ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and inverse covariance of the parameters before any measurement."""
        cells, uniform = np.arange(self.n_cells), 1 / np.sqrt(3)
        rise = np.zeros((self.n_cells, HEIGHTS, self.n_heights))
        target = np.outer(self.nominal_c, simulate.SITE_Z[:HEIGHTS])
        width = np.outer(self.nominal_c, np.full(HEIGHTS, simulate.Z_RANGE * uniform))
        rise[cells[:, None], np.arange(HEIGHTS), np.arange(self.n_heights).reshape(-1, HEIGHTS)] = 1
        base = HEIGHTS * cells
        for site in range(1, HEIGHTS):
            rise[cells, site, base] = -1
        rise[cells[1:], 0, base[:-1]] = -1
        target[:, 0] = np.r_[simulate.A_SUBSTRATE, self.nominal_c[:-1]]
        width[:, 0] = simulate.C_RANGE * uniform
        rows = (rise / width[..., None]).reshape(-1, self.n_heights)
        heights = np.linalg.solve(rise.reshape(-1, self.n_heights), target.ravel())
        low, high = simulate.OCCUPANCY_RANGE
        rest = np.r_[np.full(simulate.N_INTERMIXED, 0.5), [(low + high) / 2] * self.rough]
        prior = np.zeros((self.n_parameters, self.n_parameters))
        prior[: self.n_heights, : self.n_heights] = rows.T @ rows
        other = np.arange(self.n_heights, self.n_parameters)
        prior[other, other] = np.r_[np.full(simulate.N_INTERMIXED, 12.0), [25.0] * self.rough]
        return np.r_[heights, rest], prior

    def random_starts(self, draws: list[np.random.Generator], spread: float) -> np.ndarray:
        """Return structures drawn about the nominal one, one a generator, ``(n, n_parameters)``."""
        scale = np.linalg.cholesky(np.linalg.inv(self.prior[1:, 1:]))
        normal = np.stack([draw.standard_normal(self.n_parameters - 1) for draw in draws])
        starts = np.tile(self.mean, (len(draws), 1))
        starts[:, 1:] += spread * normal @ scale.T
        if self.rough:
            starts[:, -1] = [draw.uniform(*simulate.OCCUPANCY_RANGE) for draw in draws]
        return starts

    def heights(self, parameters: np.ndarray) -> np.ndarray:
        """Return the heights of all atoms, dummy cell included, ``(n, 1 + n_cells, 5)`` [Å]."""
        n = len(parameters)
        heights = np.empty((n, 1 + self.n_cells, len(simulate.SITES)))
        heights[:, 0] = simulate.SITE_Z * simulate.A_SUBSTRATE
        free = parameters[:, : self.n_heights]
        heights[:, 1:, :HEIGHTS] = free.reshape(n, self.n_cells, HEIGHTS)
        heights[..., 4] = heights[..., 3]
        return heights

    def pack(self, z_atoms, p_intermixing, occupancy: float = 1.0) -> np.ndarray:
        """Return the parameters of structures, ``(n, n_parameters)``."""
        n = len(z_atoms)
        heights = z_atoms[:, 1 : 1 + self.n_cells, :HEIGHTS].reshape(n, self.n_heights)
        top = np.full((n, int(self.rough)), occupancy)
        parameters = np.concatenate([heights, p_intermixing, top], axis=1)
        parameters[:, 0] = simulate.A_SUBSTRATE
        return parameters

    def bounded(self, parameters: np.ndarray) -> np.ndarray:
        """Keep the occupancy away from 0, in place."""
        if self.rough:
            np.maximum(parameters[:, -1], OCCUPANCY_FLOOR, out=parameters[:, -1])
        return parameters

    def field(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the atoms' waves and the field with the bulk's.

        Returns
        -------
        tuple of numpy.ndarray
            ``(n, n_cells, 4, n_points)`` and ``(n, n_rods, n_points)``, complex128.
        """
        n, aluminate = len(parameters), slice(self.n_titanate, None)
        heights = parameters[:, : self.n_heights].reshape(n, self.n_cells, HEIGHTS)
        waves = simulate.phases(heights)[..., self.points]
        if self.rough:
            waves[:, -1] *= parameters[:, -1, None, None]
        strontium = self._strontium(parameters)
        sums = np.empty((len(self.points), 6, n), dtype=np.complex128)
        a_site = (strontium[:, None, :] @ waves[:, :, 0])[:, 0]
        sums[:, 0], sums[:, 1] = a_site.T, (waves[:, :, 0].sum(axis=1) - a_site).T
        sums[:, 2] = waves[:, : self.n_titanate, 1].sum(axis=1).T
        sums[:, 3] = waves[:, aluminate, 1].sum(axis=1).T
        sums[:, 4] = waves[:, :, 2].sum(axis=1).T
        sums[:, 5] = waves[:, :, 3].sum(axis=1).T
        film = (self.table_by_l @ sums.view(np.float64)).view(np.complex128)
        return waves, np.ascontiguousarray(film.transpose(2, 1, 0)) + self.fixed_field

    def _strontium(self, parameters: np.ndarray) -> np.ndarray:
        strontium = np.zeros((len(parameters), self.n_cells))
        strontium[:, : self.mixed.start] = 1
        start = self.n_heights
        strontium[:, self.mixed] = parameters[:, start : start + simulate.N_INTERMIXED]
        return strontium

    def jacobian(self, parameters, waves, field, scale=1.0) -> np.ndarray:
        """Return the derivatives of log intensity times ``scale``, float32.

        d log|F|² = 2 Re(dF / F), and dF of an atom is its form factor, which depends on rod and
        l, times the derivative of its wave, which depends on l only.

        Parameters
        ----------
        parameters : numpy.ndarray
            ``(n, n_parameters)``.
        waves, field : numpy.ndarray
            From `field`.
        scale : numpy.ndarray or float
            Factor of each point, broadcast to ``(n, n_rods, n_points)``.

        Returns
        -------
        numpy.ndarray
            ``(n, n_parameters, n_rods, n_points)``.
        """
        n, (rods, points) = len(field), field.shape[1:]
        jacobian = np.empty((n, self.n_parameters, rods, points), dtype=np.float32)
        heights = jacobian[:, : self.n_heights].reshape(n, self.n_cells, HEIGHTS, rods, points)
        inverse = (2 * scale / field).astype(np.complex64)
        strontium, lanthanum, titanium, aluminium, o1, o2 = (
            inverse * species for species in self.table.astype(np.float32)
        )
        slopes = (1j * self.q_z * waves).astype(np.complex64)
        below, above = slice(0, self.mixed.start), slice(self.mixed.stop, None)
        titanate, aluminate = slice(0, self.n_titanate), slice(self.n_titanate, None)
        _real_product(strontium, slopes[:, below, 0], out=heights[:, below, 0])
        _real_product(lanthanum, slopes[:, above, 0], out=heights[:, above, 0])
        _real_product(titanium, slopes[:, titanate, 1], out=heights[:, titanate, 1])
        _real_product(aluminium, slopes[:, aluminate, 1], out=heights[:, aluminate, 1])
        _real_product(o1, slopes[:, :, 2], out=heights[:, :, 2])
        _real_product(o2, slopes[:, :, 3], out=heights[:, :, 3])
        fractions = self._strontium(parameters)[:, self.mixed, None, None].astype(np.float32)
        excess = strontium - lanthanum
        exchange = jacobian[:, self.n_heights : self.n_heights + simulate.N_INTERMIXED]
        mixed_waves = waves[:, self.mixed, 0].astype(np.complex64)
        _real_product(excess, mixed_waves, out=exchange)
        mixed = heights[:, self.mixed, 0]
        _real_product(excess, slopes[:, self.mixed, 0], out=mixed)
        mixed *= fractions
        pure = np.empty_like(exchange)
        _real_product(lanthanum, slopes[:, self.mixed, 0], out=pure)
        mixed += pure
        if self.rough:
            top = self._top_cell(parameters, waves)
            jacobian[:, -1] = (inverse * top).real / parameters[:, -1, None, None]
        return jacobian

    def _top_cell(self, parameters: np.ndarray, waves: np.ndarray) -> np.ndarray:
        strontium = self._strontium(parameters)[:, -1, None, None]
        table = self.table
        factors = (
            strontium * table[0] + (1 - strontium) * table[1],
            table[3],
            table[4],
            table[5],
        )
        return sum(f * waves[:, -1, site, None, :] for site, f in enumerate(factors))


def _real_product(rod_factor: np.ndarray, wave: np.ndarray, out: np.ndarray) -> None:
    """Write Re(rod_factor · wave), ``(n, rods, points)`` by ``(n, cells, points)``, to ``out``."""
    real, imag = (np.ascontiguousarray(a)[:, None] for a in (rod_factor.real, rod_factor.imag))
    wave_real, wave_imag = (np.ascontiguousarray(a)[:, :, None] for a in (wave.real, wave.imag))
    np.multiply(real, wave_real, out=out)
    out -= imag * wave_imag
