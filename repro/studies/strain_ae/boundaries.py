"""Straight boundaries between two crystals: how wide the step is that a map shows there."""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression

from repro.seeds import generator
from repro.studies.strain_ae.lattice import deformation
from repro.studies.strain_ae.scans import LARGEST_STRAIN, LARGEST_TURN, REFERENCE_ROTATION
from repro.studies.strain_ae.simulate import NOISE_FREE, Simulation, counts_as

REACH = 8.0  # of the positions on either side of a boundary [scan pixels]
LOW, HIGH = 0.1, 0.9  # shares of a step between which its width is told
MOST = 2.0  # beyond, the share of a step that was found counts as this


def distances(n_columns: int) -> np.ndarray:
    """Return the places of positions across a boundary, ``(n_columns,)`` [scan pixels]."""
    return np.linspace(-REACH, REACH, n_columns)


def crystals(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the two crystals of n boundaries.

    Returns
    -------
    strain : numpy.ndarray
        ``(n, 2, 3)``: ε_xx, ε_yy, ε_xy [1].
    rotation : numpy.ndarray
        ``(n, 2)`` [rad].
    """
    draws = 2 * generator(seed, "boundaries").random((n, 2, 4)) - 1
    return LARGEST_STRAIN * draws[..., :3], REFERENCE_ROTATION + LARGEST_TURN * draws[..., 3]


def patterns_across(simulation: Simulation, n: int, seed: int) -> np.ndarray:
    """Return patterns across n boundaries, ``(n, n_columns, n_pixels, n_pixels)`` [counts]."""
    strain, rotation = crystals(n, seed)
    second = share_beyond(distances(simulation.n_columns), simulation.probe_radius)
    shares = np.stack([1 - second, second], axis=1)
    deformed = deformation(strain, rotation)
    expected = np.stack(
        [
            simulation.expected(np.broadcast_to(pair, (len(shares), 2, 2, 2)), shares)
            for pair in deformed
        ]
    )
    if simulation.noise != NOISE_FREE:
        expected = generator(seed, "counts across boundaries").poisson(expected)
    return counts_as(expected, simulation.count_type)


def share_beyond(places: np.ndarray, radius: float) -> np.ndarray:
    """Return the share of a round beam of uniform intensity that lies beyond 0.

    Parameters
    ----------
    places : numpy.ndarray
        Of its middle, ``(n,)`` [scan pixels].
    radius : float
        Its radius [scan pixels].
    """
    if radius == 0:
        return (places > 0).astype(float)
    x = np.clip(places / radius, -1, 1)
    return 0.5 + (x * np.sqrt(1 - x**2) + np.arcsin(x)) / np.pi


def shares_of_step(found: np.ndarray, strain: np.ndarray) -> np.ndarray:
    """Return how much of each step in strain was found at every position, ``(n, n_columns)``.

    Parameters
    ----------
    found : numpy.ndarray
        Strain, ``(n, n_columns, 3)`` [1].
    strain : numpy.ndarray
        True strain on either side, ``(n, 2, 3)`` [1].
    """
    step = strain[:, 1] - strain[:, 0]
    along = np.einsum("ncs,ns->nc", found - strain[:, None, 0], step)
    return np.clip(along / np.square(step).sum(axis=1)[:, None], 1 - MOST, MOST)


def width(places: np.ndarray, profile: np.ndarray) -> float:
    """Return the distance over which a mean step goes from a tenth to nine tenths [scan pixels].

    Noise is smoothed by the rising curve that is nearest. Where that is flatter than the step, the
    width is that of all positions.

    Parameters
    ----------
    places, profile : numpy.ndarray
        ``(n_columns,)``: distances from the boundary, and mean shares of the step found there.
    """
    rising = isotonic_regression(profile).x
    if not (rising[0] < LOW and rising[-1] > HIGH):
        return float(places[-1] - places[0])
    ends = []
    for level in (LOW, HIGH):
        after = int(np.argmax(rising >= level))
        part = (level - rising[after - 1]) / (rising[after] - rising[after - 1])
        ends.append(places[after - 1] + part * (places[after] - places[after - 1]))
    return float(ends[1] - ends[0])
