"""Strain and rotation of patterns by a fit of disc templates: plain NumPy, no network.

Fisher scoring finishes what a search has begun: least squares whose weights are the Poisson
variances of the model as it stands, which leads to the most likely parameters.

Lengths on the detector are in pixels of the patterns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from repro.errors import ReproError
from repro.seeds import generator
from repro.studies.strain_ae.lattice import decomposed, deformation, matrix, sixfold, turn
from repro.studies.strain_ae.pattern import (
    N_PARAMETERS,
    N_PLANE,
    REGULAR,
    Discs,
    Templates,
    bounded,
    chunks,
    expected_counts,
    images,
    slopes_of,
    start,
)

PRODUCTS = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])  # of 1, row and column among the powers
N_SIMULATED = 1024  # patterns that tell how far deviations must be widened
LEVEL, WITHIN = 0.9, 1.6449  # share of a normal distribution, and the deviations that hold it


@dataclass(frozen=True)
class Fit:
    """Parameters of patterns.

    Parameters
    ----------
    parameters : numpy.ndarray
        ``(n, 4)``: ε_xx, ε_yy, ε_xy [1] and rotation [rad].
    deviations : numpy.ndarray
        ``(n, 4)``, their standard deviations.
    quality : numpy.ndarray
        ``(n,)`` mean square of residuals in standard deviations [1]: about 1 where the model holds.
    """

    parameters: np.ndarray
    deviations: np.ndarray
    quality: np.ndarray

    @classmethod
    def joined(cls, fits: Iterable[Fit]) -> Fit:
        """Return the fits of one chunk of patterns after the other as one."""
        parts = [(f.parameters, f.deviations, f.quality) for f in fits]
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def calibrated(self, templates: Templates, seed: int = 0) -> Fit:
        """Return the fit with deviations that hold, for pixels of any gain and however noisy.

        Parameters
        ----------
        templates : Templates
            With which the patterns were fitted.
        seed : int
            Of the patterns that are simulated to learn how far the deviations fall short.
        """
        gain = np.nanmedian(self.quality)
        factor = widening(templates, self.parameters[:N_SIMULATED], seed) * np.sqrt(gain)
        return replace(self, deviations=self.deviations * factor)


# ---- the fit


def fisher_scoring(
    patterns: np.ndarray,
    templates: Templates,
    parameters: np.ndarray,
    n_steps: int = 2,
) -> Fit:
    """Fit strain and rotation of every pattern, and a plane that is added to its background.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [counts].
    templates : Templates
        Of what they are made.
    parameters : numpy.ndarray
        ``(n, 4)`` to start from: ε_xx, ε_yy, ε_xy [1] and rotation [rad].
    n_steps : int
        Steps of Fisher scoring, after one for discs whose edge is a little softer.

    Raises
    ------
    ReproError
        If patterns and templates differ in size.
    """
    if patterns.shape[1:] != templates.background.shape:
        raise ReproError(
            f"The patterns have {patterns.shape[1:]} pixels, the templates "
            f"{templates.background.shape}: fit templates to these patterns first."
        )
    tables = [templates.blurred_table] + [templates.table] * n_steps
    return Fit.joined(
        _fit_chunk(patterns[which].reshape(which.stop - which.start, -1), templates, tables, first)
        for which, first in ((which, parameters[which]) for which in chunks(len(patterns)))
    )


def _fit_chunk(counts, templates, tables, parameters) -> Fit:
    """Fit a few patterns, given as counts ``(n, n_pixels²)``, with one table after the other.

    What the steps change is the deformation, which discs follow linearly.
    """
    crystals = deformation(parameters[:, :3], parameters[:, 3])
    plane = np.zeros((len(counts), N_PLANE))
    for table in tables:
        information, score, quality = _equations(counts, templates, table, crystals, plane)
        information += REGULAR * np.eye(N_PARAMETERS + N_PLANE)
        step = np.linalg.solve(information, score[..., None])[..., 0]
        crystals = crystals + bounded(step[:, :N_PARAMETERS]).reshape(-1, 2, 2)
        plane = plane + np.nan_to_num(step[:, N_PARAMETERS:])
    strain, rotation = decomposed(crystals)
    found = np.concatenate([strain, rotation[:, None]], axis=1)
    by_parameter = np.zeros_like(information)
    by_parameter[:, :N_PARAMETERS, :N_PARAMETERS] = _derivatives(found).reshape(-1, 4, 4)
    by_parameter[:, N_PARAMETERS:, N_PARAMETERS:] = np.eye(N_PLANE)
    information = by_parameter @ information @ by_parameter.transpose(0, 2, 1)
    variances = np.diagonal(np.linalg.inv(information), axis1=1, axis2=2)[:, :N_PARAMETERS]
    return Fit(found, np.sqrt(variances), quality)


def _equations(counts, templates, table, crystals, plane):
    """Return information ``(n, 7, 7)``, score ``(n, 7)`` and quality ``(n,)`` at a state.

    Of the four elements of the deformation, and of the plane.
    """
    discs = Discs.of(templates, table, crystals)
    expected, weight = expected_counts(templates, table, discs, plane)
    residual = _measured(counts, discs)
    residual -= expected
    weighted = weight * residual
    moments, scores = _moments(discs, table, weight, weighted)
    slopes = slopes_of(templates, discs)
    first = np.flatnonzero(np.diff(discs.number, prepend=-1))
    information = np.add.reduceat(slopes @ moments @ slopes.transpose(0, 2, 1), first)
    score = np.add.reduceat((slopes @ scores[..., None])[..., 0], first)
    return information, score, _quality(residual, weighted, discs, first)


def _measured(counts, discs) -> np.ndarray:
    """Return the counts of each disc's pixels."""
    pixels = discs.pixels + discs.number[:, None] * counts.shape[1]
    return counts.reshape(-1).take(pixels).astype(np.float32, copy=False)


def _moments(discs, table, weight, weighted) -> tuple[np.ndarray, np.ndarray]:
    """Return each disc's information ``(m, 5, 5)`` and score ``(m, 5)``.

    Of its place, for a plateau of 1, and of offset and slopes of the background in its patch.
    """
    plane, slopes = table.powers[:N_PLANE].T, discs.slopes
    moments, scores = np.empty((len(weight), 5, 5)), np.empty((len(weight), 5))
    for i in range(2):
        pulled = slopes[:, i] * weight
        for j in range(i, 2):
            moments[:, i, j] = moments[:, j, i] = np.vecdot(pulled, slopes[:, j])
        moments[:, i, 2:] = moments[:, 2:, i] = pulled @ plane
        scores[:, i] = np.vecdot(weighted, slopes[:, i])
    moments[:, 2:, 2:] = (weight @ table.powers.T)[:, PRODUCTS]
    scores[:, 2:] = weighted @ plane
    return moments, scores


def _derivatives(parameters: np.ndarray) -> np.ndarray:
    """Return the derivatives of deformations by strain and rotation, ``(n, 4, 2, 2)``."""
    xx, yy, xy, rotation = parameters.T
    back = np.linalg.inv(matrix(1 + xx, xy, xy, 1 + yy))
    crystal = back @ turn(rotation)
    units = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [1, 0]]])
    by_strain = -back[:, None] @ units @ crystal[:, None]
    by_rotation = crystal @ np.array([[0, -1], [1, 0]])
    return np.concatenate([by_strain, by_rotation[:, None]], axis=1)


def _quality(residual, weighted, discs, first) -> np.ndarray:
    """Return the mean square of residuals in standard deviations, of each pattern."""
    squares = np.vecdot(residual, weighted)
    n_patch = residual.shape[1]
    n_seen = n_patch - np.bincount(discs.hidden // n_patch, minlength=len(residual))
    freedom = np.add.reduceat(n_seen, first) - (N_PARAMETERS + N_PLANE)
    return np.add.reduceat(squares, first) / np.maximum(freedom, 1)


def crystal_strength(
    patterns: np.ndarray, templates: Templates, parameters: np.ndarray
) -> np.ndarray:
    """Return how bright the discs of patterns are, of those of the templates: about 0 in vacuum.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [counts].
    templates : Templates
        With which they were fitted.
    parameters : numpy.ndarray
        ``(n, 4)``, what was found.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` [1].
    """
    return np.concatenate(
        [
            _strength(patterns[which].reshape(len(first), -1), templates, first)
            for which, first in ((which, parameters[which]) for which in chunks(len(patterns)))
        ]
    )


def _strength(counts, templates, parameters) -> np.ndarray:
    crystals = deformation(parameters[:, :3], parameters[:, 3])
    discs = Discs.of(templates, templates.table, crystals)
    expected = discs.without_hidden(discs.values)
    above = _measured(counts, discs) - templates.flat_background.take(discs.pixels)
    of_pattern = partial(np.bincount, discs.number, minlength=len(parameters))
    measured, modelled = (of_pattern(np.vecdot(a, expected)) for a in (above, expected))
    return measured / np.maximum(modelled, 1e-12)


# ---- what is made of fits


def widening(templates: Templates, parameters: np.ndarray, seed: int) -> np.ndarray:
    """Return by what the stated deviations must be multiplied, ``(4,)``: about 1 at low noise.

    At high noise the most likely parameters scatter more than their information tells: patterns
    that are drawn from the templates and fitted show by how much.

    Parameters
    ----------
    templates : Templates
        Of what patterns are made.
    parameters : numpy.ndarray
        ``(n, 4)``, of the patterns to draw.
    seed : int
        Of what is drawn.
    """
    random, errors = generator(seed, "widening"), []
    table = templates.table
    for which in chunks(len(parameters)):
        drawn = random.poisson(np.maximum(images(templates, parameters[which], table), 0))
        found = fisher_scoring(drawn, templates, start(drawn, templates))
        error = found.parameters - parameters[which]
        error[:, 3] = sixfold(error[:, 3])
        errors.append(np.abs(error) / found.deviations)
    return np.quantile(np.concatenate(errors), LEVEL, axis=0) / WITHIN


def relative(parameters: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return strain and rotation against a reference, such as the mean of an unstrained region.

    Parameters
    ----------
    parameters, reference : numpy.ndarray
        ``(n, 4)`` and ``(4,)``: ε_xx, ε_yy, ε_xy [1] and rotation [rad].

    Returns
    -------
    numpy.ndarray
        ``(n, 4)``, the rotation within a twelfth of a turn to either side.
    """
    crystals, unstrained = (deformation(p[..., :3], p[..., 3]) for p in (parameters, reference))
    strain, rotation = decomposed(crystals @ np.linalg.inv(unstrained))
    return np.concatenate([strain, sixfold(rotation)[:, None]], axis=1)
