"""Strain, rotation and the WS2 lattice: plain functions, arrays in, arrays out.

All vectors are (row, column) of the detector, as py4DSTEM has them: x points down, y to the right.
"""

from __future__ import annotations

import numpy as np

# Spots by N = h² + h k + k², |g| = sqrt(N) |g_1|: plateau of a disc at 1e5 electrons a pattern
# [electrons / pixel], of spots with h - k = 1, 2 and 0 modulo 3. Without a centre of inversion the
# first two differ. Rings up to N = 7: medians of the published pattern [0, 0]. N = 9 (0.36 there)
# and N = 12 are chosen so that py4DSTEM errs on 256 by 256 pixels as in the published figures.
PLATEAUS = {
    1: (2.52, 1.48),
    3: (2.24,),
    4: (0.64, 0.32),
    7: (0.27, 0.14),
    9: (0.50,),
    12: (0.30,),
}
SIXTH = np.pi / 3  # after which the lattice looks the same [rad]
COMPONENTS = ("xx", "yy", "xy", "rotation")


def spots(first_ring: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the spots of the undeformed lattice, the direct beam left out.

    Parameters
    ----------
    first_ring : float
        |g| of the first ring [pixels].

    Returns
    -------
    places : numpy.ndarray
        ``(n, 2)`` [pixels], the first spot of the first ring on the row axis.
    plateaus : numpy.ndarray
        ``(n,)`` [electrons / pixel at 1e5 electrons].
    rings : numpy.ndarray
        ``(n,)``, N of each spot.
    """
    h, k = (a.ravel() for a in np.mgrid[-4:5, -4:5])
    rings, kind = h**2 + h * k + k**2, (h - k) % 3
    known = np.isin(rings, list(PLATEAUS))
    h, k, rings, kind = (a[known] for a in (h, k, rings, kind))
    places = first_ring * np.stack([h + k / 2, k * np.sqrt(3) / 2], axis=1)
    plateaus = [PLATEAUS[n][max(m - 1, 0)] for n, m in zip(rings, kind, strict=True)]
    return places, np.array(plateaus), rings


def deformation(strain: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return what takes spots of the undeformed lattice to those of the strained, turned crystal.

    A crystal that is turned by φ and then strained by ε has its spots at (I + ε)⁻¹ R(φ) g.

    Parameters
    ----------
    strain : numpy.ndarray
        ``(..., 3)``: ε_xx, ε_yy, ε_xy [1].
    rotation : numpy.ndarray
        ``(...)`` [rad].

    Returns
    -------
    numpy.ndarray
        ``(..., 2, 2)``.
    """
    xx, yy, xy = np.moveaxis(np.asarray(strain, dtype=float), -1, 0)
    stretch = matrix(1 + xx, xy, xy, 1 + yy)
    return np.linalg.inv(stretch) @ turn(rotation)


def decomposed(deformations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return strain ``(..., 3)`` [1] and rotation ``(...)`` [rad] of what `deformation` returns.

    The inverse is (R⁻¹ (I + ε)), whose polar decomposition has the stretch on the right.
    """
    back = np.linalg.inv(deformations)
    angle = np.arctan2(back[..., 0, 1] - back[..., 1, 0], back[..., 0, 0] + back[..., 1, 1])
    stretch = turn(angle) @ back
    strain = [stretch[..., 0, 0] - 1, stretch[..., 1, 1] - 1]
    shear = (stretch[..., 0, 1] + stretch[..., 1, 0]) / 2
    return np.stack([*strain, shear], axis=-1), angle


def turn(angle: np.ndarray) -> np.ndarray:
    """Return rotations by angles [rad], ``(..., 2, 2)``."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return matrix(cosine, -sine, sine, cosine)


def matrix(a, b, c, d) -> np.ndarray:
    """Return ``[[a, b], [c, d]]`` of arrays of one shape, ``(..., 2, 2)``."""
    return np.stack([np.stack([a, b], axis=-1), np.stack([c, d], axis=-1)], axis=-2)


def sixfold(angle: np.ndarray) -> np.ndarray:
    """Return angles [rad] as the nearest to 0 of those that the lattice cannot tell apart."""
    return (angle + SIXTH / 2) % SIXTH - SIXTH / 2


def largest_gap(angles: np.ndarray, period: float) -> float:
    """Return the middle of the widest gap between angles that repeat themselves [rad].

    Parameters
    ----------
    angles : numpy.ndarray
        ``(n,)`` [rad].
    period : float
        After which they repeat themselves [rad].
    """
    ordered = np.sort(np.asarray(angles) % period)
    gaps = np.diff(ordered, append=ordered[0] + period)
    widest = int(gaps.argmax())
    return float((ordered[widest] + gaps[widest] / 2) % period)
