"""Refinement of film structures against measured rods: batched robust Levenberg-Marquardt.

The kinematic model is exact and cheap, so a start near the truth, from a network or just the
nominal film, can be refined until it explains the measured log intensity. Two choices make that
reliable: a Cauchy loss, since an error in one atom moves the deep minima of the rods and least
squares then follows a few huge log residuals, and fitting low l first, where the landscape is
smooth. No ground truth is needed to know which films are solved: their residual vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repro.errors import ReproError
from repro.seeds import generator
from repro.side_by_side import side_by_side
from repro.studies.mamba import simulate
from repro.studies.mamba.film_model import FilmModel, Measurement, measurement, require_finite
from repro.studies.mamba.simulate import Film

SMALLEST_STEP = 1e-8  # [Å or 1] a film whose step is smaller has arrived
SMALLEST_DAMPING = 1e-6  # keeps the equations regular where data determine nothing
SMALLEST_NOISE = 5e-7  # rounding of log intensities stored as float32


@dataclass(frozen=True)
class RefinementSettings:
    """How films are refined.

    Parameters
    ----------
    stages : tuple of (float, int)
        Largest l fitted [2π/a] and most steps, one pair a stage, in order.
    robust_scale : float
        Residual of log intensity beyond which a point loses its pull [1].
    polish_steps : int
        Least-squares steps, weighted by the noise, after the last stage.
    starts : int
        Most starts per film and thickness; the first is the one given, for rough films once with
        each of ``occupancies``.
    occupancies : tuple of float
        Occupancies to set out from at the start given, for rough films [1].
    spread : float
        Width of the random later starts, in standard deviations of the known ranges [1].
    damping, damping_factor : float
        First damping, and the factor by which a good step lowers and a bad one raises it [1].
    solved_below : float
        Residual below which a film is solved, without weights [1].
    solved_below_weighted : float
        The same with weights, in standard errors of the measurement [1].
    largest_error : float
        A film with a height less certain than this is not called solved [Å].
    films_at_once : int
        Films in one batch of matrices; bounds the memory.

    Raises
    ------
    ReproError
        If a value makes no sense.
    """

    stages: tuple[tuple[float, int], ...] = ((2.0, 10), (3.0, 10), (6.0, 60))
    robust_scale: float = 0.1
    polish_steps: int = 8
    starts: int = 8
    occupancies: tuple[float, ...] = (0.65, 0.4)
    spread: float = 0.5
    damping: float = 100.0
    damping_factor: float = 5.0
    solved_below: float = 1e-4
    solved_below_weighted: float = 1.1
    largest_error: float = 0.05
    films_at_once: int = 16

    def __post_init__(self):
        positive = ("robust_scale", "starts", "damping", "films_at_once", "solved_below")
        wrong = [name for name in positive if not getattr(self, name) > 0]
        if self.damping_factor <= 1:
            wrong.append("damping_factor")
        if not self.stages or any(l_max < simulate.L[0] for l_max, _ in self.stages):
            wrong.append("stages")
        if wrong:
            raise ReproError(f"Refinement settings out of range: {', '.join(wrong)}.")


DEFAULTS = RefinementSettings()


@dataclass(frozen=True)
class Refinement:
    """Refined films.

    Parameters
    ----------
    z_atoms : numpy.ndarray
        Heights of A, B, O1, O2, O3, ``(n, n_cells, 5)`` [Å]; NaN in cells that are missing.
    p_intermixing : numpy.ndarray
        Sr fraction of the four interface cells, ``(n, 4)`` [1].
    occupancy : numpy.ndarray
        Of the topmost cell that is present, ``(n,)`` [1].
    n_cells : numpy.ndarray
        Cells present, dummy cell included, ``(n,)``.
    residual : numpy.ndarray
        Rms residual of log intensity, ``(n,)`` [1]; in standard errors where weights were given.
    solved : numpy.ndarray
        ``(n,)`` bool: the residual is down to the noise and the data determine every height.
    estimated_error : numpy.ndarray
        Standard error of the least certain height, from the covariance, ``(n,)`` [Å].
    n_starts : numpy.ndarray
        Starts used, ``(n,)``.
    """

    z_atoms: np.ndarray
    p_intermixing: np.ndarray
    occupancy: np.ndarray
    n_cells: np.ndarray
    residual: np.ndarray
    solved: np.ndarray
    estimated_error: np.ndarray
    n_starts: np.ndarray


def refine(
    film: Film,
    log_intensity: np.ndarray,
    start_z: np.ndarray | None = None,
    start_p: np.ndarray | None = None,
    settings: RefinementSettings = DEFAULTS,
    seed: int = 0,
    rods: Sequence[int] | None = None,
    weights: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Refinement:
    """Refine the structures of films until they explain the measured rods.

    Every thickness that the film may have is tried, then new random starts for the films that are
    not solved. A film's result depends on the seed and its index, not on the other films. Noisy
    data need ``weights``: without, no residual counts as explained and every start is used up.

    Parameters
    ----------
    film : Film
        The kind of film.
    log_intensity : numpy.ndarray
        Measured log |F|², ``(n, 16, 240)``; Bragg points are ignored.
    start_z : numpy.ndarray, optional
        Heights to start from, ``(n, n_cells, 5)`` [Å]; the nominal ones by default.
    start_p : numpy.ndarray, optional
        Sr fractions to start from, ``(n, 4)`` [1]; ½ by default.
    settings : RefinementSettings
        How to refine.
    seed : int
        Of the random later starts.
    rods : sequence of int, optional
        Rods that were measured, all by default.
    weights : numpy.ndarray, optional
        Inverse standard error of each log intensity, ``(16, 240)`` or ``(n, 16, 240)`` [1];
        0 for a point that was not measured. Without, all points count alike.
    progress : callable, optional
        Called with films done and films in all.

    Raises
    ------
    ReproError
        If shapes do not fit, a number is not finite, or a film may lack interface cells.
    """
    measured = measurement(log_intensity, rods, weights)
    n = len(measured.values)
    z, p = _checked_start(film, n, start_z, start_p)
    solved_below = settings.solved_below if weights is None else settings.solved_below_weighted
    best = _Best(film, n)

    def refine_films(films: np.ndarray) -> None:
        _refine_batch(film, measured, films, z, p, settings, seed, solved_below, best)

    batches = [
        np.arange(first, min(first + settings.films_at_once, n))
        for first in range(0, n, settings.films_at_once)
    ]
    for films, _ in zip(batches, side_by_side(refine_films, batches), strict=True):
        if progress:
            progress(int(films[-1]) + 1, n)
    solved = best.explained(solved_below) & (best.estimated_error <= settings.largest_error)
    return Refinement(**vars(best), solved=solved)


def _checked_start(film, n, start_z, start_p) -> tuple[np.ndarray, np.ndarray]:
    if film.intermixed.stop > film.n_cells - film.n_layers_varied:
        raise ReproError(
            f"A film of {film.n_layers} layers that may lack {film.n_layers_varied} can lose "
            "interface cells, whose mixing then cannot be refined: use a thicker film."
        )
    nominal = simulate.atom_heights(
        film.nominal_c[None], np.broadcast_to(simulate.SITE_Z, (1, film.n_cells, 5))
    )
    z = np.broadcast_to(nominal, (n, film.n_cells, 5)) if start_z is None else np.asarray(start_z)
    p = np.full((n, simulate.N_INTERMIXED), 0.5) if start_p is None else np.asarray(start_p)
    for name, array, shape in (
        ("start_z", z, (n, film.n_cells, 5)),
        ("start_p", p, (n, simulate.N_INTERMIXED)),
    ):
        if array.shape != shape:
            raise ReproError(f"{name} must have the shape {shape}, not {array.shape}.")
        require_finite(name, array)
    return z.astype(np.float64), p.astype(np.float64)


def _refine_batch(film, measured, films, z, p, settings, seed, solved_below, best) -> None:
    """Try thicknesses and starts on the films that are not solved yet."""
    occupancies = settings.occupancies if film.rough else (1.0,)
    for start in range(settings.starts):
        for n_missing in range(film.n_layers_varied + 1):
            films = films[~best.explained(solved_below)[films]]
            if not len(films):
                return
            model = FilmModel(film, n_missing, measured.rods, measured.points)
            if start < len(occupancies):
                parameters = model.pack(z[films], p[films], occupancies[start])
            else:
                draws = [
                    generator(seed, "refine", f"{f}", f"{start}", f"{n_missing}") for f in films
                ]
                parameters = model.random_starts(draws, settings.spread)
            data = measured.take(films)
            parameters = _search(film, n_missing, data, parameters, settings)
            parameters = _minimise(model, data, parameters, settings, settings.polish_steps, None)
            best.update(films, n_missing, model, data, parameters)


def _search(film, n_missing, data, parameters, settings) -> np.ndarray:
    """Fit ever more of l with the robust loss."""
    for l_max, steps in settings.stages:
        part = data.up_to(l_max)
        model = FilmModel(film, n_missing, part.rods, part.points)
        parameters = _minimise(model, part, parameters, settings, steps, settings.robust_scale)
    return parameters


def _loss(data: Measurement, residual: np.ndarray, robust_scale: float | None):
    """Return each film's loss and each point's weight in the normal equations.

    Cauchy: the scale joins the error of the model on the way and the noise in one variance.
    """
    if robust_scale is None:
        weight = data.precision
        return 0.5 * (weight * residual**2).sum(axis=(1, 2)), weight
    variance = robust_scale**2 + data.variance
    loss = 0.5 * (data.count * np.log1p(residual**2 / variance)).sum(axis=(1, 2))
    return loss, data.count / (variance + residual**2)


def _normal_equations(model, parameters, waves, field, residual, weight, dtype=np.float32):
    """Return JᵀWJ and JᵀWr without the first parameter, which is fixed."""
    root, n = np.sqrt(weight), len(parameters)
    jacobian = model.jacobian(parameters, waves, field, root).reshape(n, model.n_parameters, -1)
    jacobian = jacobian[:, 1:].astype(dtype, copy=False)
    weighted = (root * residual).reshape(n, -1, 1).astype(dtype)
    normal = jacobian @ jacobian.transpose(0, 2, 1)
    return normal.astype(np.float64), (jacobian @ weighted)[..., 0].astype(np.float64)


def _minimise(model, data, parameters, settings, steps, robust_scale) -> np.ndarray:
    """Run Levenberg-Marquardt on films side by side, each with its own damping.

    Steps are damped in the metric of the known ranges, so that a parameter that the data do not
    determine stays where it is.
    """
    parameters = parameters.copy()
    n, prior = len(parameters), model.prior[1:, 1:]

    def evaluate(trial, part):
        waves, field = model.field(trial)
        residual = np.log(field.real**2 + field.imag**2) - part.values
        return (waves, field, residual, *_loss(part, residual, robust_scale))

    waves, field, residual, loss, weight = evaluate(parameters, data)
    normal, gradient = _normal_equations(model, parameters, waves, field, residual, weight)
    damping = np.full(n, settings.damping / (robust_scale or 1.0) ** 2)
    active = np.arange(n)
    for _ in range(steps):
        damped = normal[active] + damping[active, None, None] * prior
        step = -np.linalg.solve(damped, gradient[active][..., None])[..., 0]
        trial = parameters[active]
        trial[:, 1:] += step
        model.bounded(trial)
        waves, field, residual, new_loss, weight = evaluate(trial, data.take(active))
        good = new_loss < loss[active]
        moved = active[good]
        parameters[moved], loss[moved] = trial[good], new_loss[good]
        if len(moved):
            normal[moved], gradient[moved] = _normal_equations(
                model, trial[good], waves[good], field[good], residual[good], weight[good]
            )
        factor = settings.damping_factor
        changed = damping[active] * np.where(good, 1 / factor, factor)
        damping[active] = np.maximum(changed, SMALLEST_DAMPING)
        arrived = np.abs(step).max(axis=1) < SMALLEST_STEP
        active = active[~arrived]
        if not len(active):
            break
    return parameters


class _Best:
    """The best structure found so far of every film."""

    def __init__(self, film: Film, n: int):
        self.z_atoms = np.full((n, film.n_cells, 5), np.nan)
        self.p_intermixing = np.full((n, simulate.N_INTERMIXED), np.nan)
        self.occupancy = np.ones(n)
        self.n_cells = np.full(n, film.n_cells)
        self.residual = np.full(n, np.inf)
        self.estimated_error = np.full(n, np.inf)
        self.n_starts = np.zeros(n, dtype=np.int64)

    def update(self, films, n_missing, model, data, parameters) -> None:
        """Count a start, and keep what it found where that is better."""
        self.n_starts[films] += 1
        rms, error = _quality(model, data, parameters)
        better = rms < self.residual[films]
        kept, found = films[better], parameters[better]
        self.residual[kept], self.estimated_error[kept] = rms[better], error[better]
        self.z_atoms[kept] = np.nan
        self.z_atoms[kept, : model.n_cells + 1] = model.heights(found)
        mixing = slice(model.n_heights, model.n_heights + simulate.N_INTERMIXED)
        self.p_intermixing[kept] = found[:, mixing]
        self.occupancy[kept] = found[:, -1] if model.rough else 1.0
        self.n_cells[kept] = model.n_cells + 1

    def explained(self, solved_below: float) -> np.ndarray:
        """Return for which films the residual is down to noise, ``(n,)`` bool."""
        return self.residual <= solved_below


def _quality(model, data, parameters) -> tuple[np.ndarray, np.ndarray]:
    """Return the rms residual and the standard error of the least certain height [Å].

    The known ranges join the covariance: a height that the data leave open gets their width.
    """
    waves, field = model.field(parameters)
    residual = np.log(field.real**2 + field.imag**2) - data.values
    squares = (data.precision * residual**2).sum(axis=(1, 2)) + data.scatter
    n_points = data.count.sum(axis=(1, 2))
    normal, _ = _normal_equations(
        model, parameters, waves, field, residual, data.precision, np.float64
    )
    noise = squares / np.maximum(n_points - len(normal[0]), 1)
    noise = np.maximum(noise, SMALLEST_NOISE**2)[:, None, None]
    covariance = np.linalg.inv(normal / noise + model.prior[1:, 1:])
    variances = np.diagonal(covariance, axis1=1, axis2=2)[:, : model.n_heights - 1]
    return np.sqrt(squares / n_points), np.sqrt(variances.max(axis=1))
