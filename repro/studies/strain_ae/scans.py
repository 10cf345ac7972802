"""Scans of strained crystals: which strain and rotation the beam meets at each position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repro.errors import ReproError
from repro.seeds import generator

FIELD = 256.0  # side of the published scan, which repeats itself [scan pixels]
# The published scan: grains are the points nearest to a seed. Seed row and column [scan pixels],
# ε_xx, ε_yy, ε_xy [1], rotation [rad]; read off the published labels, which they reproduce.
PUBLISHED_GRAINS = np.array(
    [
        (102.7, 137.7, -0.02, 0, 0, 2.45621),
        (56.6, 222.5, -0.01, 0, 0, 2.39472),
        (131.3, 103.1, -0.01, 0.02, -0.01, 2.35561),
        (174.4, 82.6, 0, -0.02, 0, 2.95231),
        (121.3, 12.4, 0, -0.01, 0, 2.64271),
        (193.7, 185.0, 0, 0, -0.02, 2.53160),
        (104.0, 59.9, 0, 0, -0.01, 2.31670),
        (0.1, 75.6, 0, 0, 0, 2.27185),
        (50.2, 84.3, 0, 0, 0, 2.70714),
        (39.3, 28.2, 0, 0, 0, 2.71914),
        (104.9, 186.7, 0, 0, 0, 3.05518),
        (2.5, 240.2, 0, 0, 0.01, 2.27978),
        (221.9, 135.7, 0, 0, 0.02, 2.21503),
        (164.6, 131.9, 0, 0.01, 0, 2.87439),
        (232.6, 34.0, 0, 0.02, 0, 2.61328),
        (49.6, 151.5, 0.01, -0.01, 0.02, 2.72495),
        (7.9, 171.6, 0.01, 0, 0, 2.84343),
        (169.2, 35.1, 0.01, 0.01, -0.02, 2.89956),
        (142.7, 217.7, 0.02, -0.01, 0.01, 3.12830),
        (203.8, 247.3, 0.02, 0, 0, 2.16543),
    ]
)
REFERENCE_GRAIN = 9  # unstrained
REFERENCE_ROTATION = PUBLISHED_GRAINS[REFERENCE_GRAIN, 5]  # [rad]
LARGEST_STRAIN = 0.02
LARGEST_TURN = np.deg2rad(25.0)  # of unseen crystals, from the reference, within a sixth of a turn
SMOOTH_TURN = np.deg2rad(8.0)
N_WAVES = 3
HOLES = (3, 6, 13, 17, 19)  # published grains in whose place two_phases has no crystal
KINDS = ("published", "polycrystal", "smooth", "two_phases")


@dataclass(frozen=True)
class Beam:
    """What the beam meets at n positions: up to m crystals, each with a share of it.

    Parameters
    ----------
    shares : numpy.ndarray
        ``(n, m)``, which sum to 1; to less where the beam meets a hole.
    strain : numpy.ndarray
        ``(n, m, 3)``: ε_xx, ε_yy, ε_xy of each crystal [1].
    rotation : numpy.ndarray
        ``(n, m)`` [rad].
    grain : numpy.ndarray
        ``(n,)`` number of the grain with the largest share, int; -1 - number over a hole; 0
        where there are no grains.
    """

    shares: np.ndarray
    strain: np.ndarray
    rotation: np.ndarray
    grain: np.ndarray

    @property
    def largest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Share ``(n,)``, strain ``(n, 3)``, rotation ``(n,)`` of the crystal with most of it."""
        rows, first = np.arange(len(self.shares)), self.shares.argmax(axis=1)
        return self.shares[rows, first], self.strain[rows, first], self.rotation[rows, first]


def beam_at(kind: str, positions: np.ndarray, probe_radius: float, seed: int, number: int) -> Beam:
    """Return what the beam meets at positions of a scan.

    Parameters
    ----------
    kind : str
        One of `KINDS`: the published grains; grains that were drawn, of any strain up to 2 %; a
        strain and a rotation that change smoothly; or the published grains with holes.
    positions : numpy.ndarray
        ``(n, 2)``, row and column [scan pixels].
    probe_radius : float
        Radius of the beam [scan pixels].
    seed, number : int
        Of the data set, and of the scan within it: they draw what is not published.

    Raises
    ------
    ReproError
        If there is no such kind of scan.
    """
    if kind == "published":
        return in_grains(PUBLISHED_GRAINS, positions, probe_radius)
    if kind == "polycrystal":
        return in_grains(drawn_grains(seed, number), positions, probe_radius)
    if kind == "two_phases":
        return in_grains(PUBLISHED_GRAINS, positions, probe_radius, HOLES)
    if kind == "smooth":
        return in_smooth_field(positions, seed, number)
    raise ReproError(f"There is no scan '{kind}': choose {', '.join(KINDS)}.")


def in_grains(
    grains: np.ndarray,
    positions: np.ndarray,
    probe_radius: float,
    holes: tuple[int, ...] = (),
) -> Beam:
    """Return what a beam of uniform intensity meets in a film of grains.

    Parameters
    ----------
    grains : numpy.ndarray
        ``(n_grains, 6)`` as `PUBLISHED_GRAINS`.
    positions, probe_radius
        As in `beam_at`.
    holes : tuple of int
        Numbers of grains in whose place there is no crystal.
    """
    under_beam = grain_at(grains, positions[:, None] + probe_radius * _within_unit_disc())
    counts = (under_beam[:, :, None] == np.arange(len(grains))).sum(axis=1)
    n_most = int((counts > 0).sum(axis=1).max())
    met = np.argsort(-counts, axis=1, kind="stable")[:, :n_most]
    shares = np.take_along_axis(counts, met, axis=1) / under_beam.shape[1]
    is_hole, most = np.isin(met, holes), met[:, 0]
    grain = np.where(is_hole[:, 0], -1 - most, most)
    return Beam(np.where(is_hole, 0.0, shares), grains[met, 2:5], grains[met, 5], grain)


def grain_at(grains: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the number of the grain at each position, ``(...)`` of ``(..., 2)`` [scan pixels]."""
    apart = np.abs(positions[..., None, :] - grains[:, :2]) % FIELD
    apart = np.minimum(apart, FIELD - apart)
    return np.square(apart).sum(axis=-1).argmin(axis=-1)


def drawn_grains(seed: int, number: int) -> np.ndarray:
    """Draw as many grains as were published, of any strain up to 2 %, ``(20, 6)``."""
    draws = generator(seed, "grains", str(number)).random((len(PUBLISHED_GRAINS), 6))
    strain = LARGEST_STRAIN * (2 * draws[:, 2:5] - 1)
    rotation = REFERENCE_ROTATION + LARGEST_TURN * (2 * draws[:, 5:] - 1)
    return np.concatenate([FIELD * draws[:, :2], strain, rotation], axis=1)


def in_smooth_field(positions: np.ndarray, seed: int, number: int) -> Beam:
    """Return strain and rotation that change smoothly: waves of one to three periods a field."""
    draws = generator(seed, "smooth", str(number))
    waves = draws.integers(1, N_WAVES + 1, (4, N_WAVES, 2)) * draws.choice([-1, 1], (4, N_WAVES, 2))
    phases = draws.random((4, N_WAVES))
    angles = np.einsum("cwa,na->ncw", waves, positions / FIELD) + phases
    fields = np.cos(2 * np.pi * angles).mean(axis=2)
    strain, turns = LARGEST_STRAIN * fields[:, :3], SMOOTH_TURN * fields[:, 3]
    n = len(positions)
    return Beam(
        np.ones((n, 1)),
        strain[:, None],
        (REFERENCE_ROTATION + turns)[:, None],
        np.zeros(n, dtype=int),
    )


def _within_unit_disc() -> np.ndarray:
    """Return points that fill a disc of radius 1 evenly, ``(n, 2)``."""
    side = np.linspace(-1, 1, 11)
    points = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    return points[np.square(points).sum(axis=1) <= 1]
