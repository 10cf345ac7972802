"""From scale, shear and rotation that a network finds to strain: as published, and consistently.

A network's maps are in (x, y) of an image, x along the columns; strain is in (row, column).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repro.studies.strain_ae.lattice import SIXTH, largest_gap, matrix, sixfold, turn


@dataclass(frozen=True)
class Found:
    """What was found at n positions.

    Parameters
    ----------
    strain : numpy.ndarray
        ``(n, 3)``: ε_xx, ε_yy, ε_xy, x down [1].
    rotation : numpy.ndarray
        ``(n,)`` from the reference, within a sixth of a turn [rad].
    deviations : numpy.ndarray, optional
        ``(n, 4)`` standard deviations of all four that are stated [1, rad].
    """

    strain: np.ndarray
    rotation: np.ndarray
    deviations: np.ndarray | None = None

    @property
    def parameters(self) -> np.ndarray:
        """Strain and rotation, ``(n, 4)`` [1, rad]."""
        return np.concatenate([self.strain, self.rotation[:, None]], axis=1)

    @property
    def components(self) -> np.ndarray:
        """All four, ``(n, 4)``: strain [1], and rotation [degrees]."""
        degrees = np.rad2deg(self.rotation)
        return np.concatenate([self.strain, degrees[:, None]], axis=1)


def published_strain(parameters: np.ndarray, reference: np.ndarray) -> Found:
    """Return strain by the published formula, which turns backwards: M = S⁻¹ R⁻¹.

    It is exact only where the base is not distorted itself.

    Parameters
    ----------
    parameters : numpy.ndarray
        ``(n, 4)``: two scales, shear, rotation [rad].
    reference : numpy.ndarray
        The same of unstrained positions, ``(n_reference, 4)``.
    """
    maps, references = (
        np.linalg.inv(stretches(p)) @ turn(-p[:, 3]) for p in (parameters, reference)
    )
    strain, _ = left_stretch(maps @ np.linalg.inv(np.median(references, axis=0)))
    cut = largest_gap(parameters[:, 3], SIXTH)
    angles, zero = ((p[:, 3] - cut) % SIXTH for p in (parameters, reference))
    return Found(strain, -sixfold(angles - zero.mean()))


def consistent_strain(parameters: np.ndarray, reference: np.ndarray) -> Found:
    """Return strain by M = S⁻¹ R, which is what the network's maps mean.

    The rotation of the reference is averaged on the circle, after its six equal choices.

    Parameters
    ----------
    parameters, reference : numpy.ndarray
        As `published_strain` takes them.
    """
    middle = circular_mean(reference[:, 3], SIXTH)
    maps, references = (
        np.linalg.inv(stretches(p)) @ turn(middle + sixfold(p[:, 3] - middle))
        for p in (parameters, reference)
    )
    strain, angle = left_stretch(maps @ np.linalg.inv(references.mean(axis=0)))
    return Found(strain, -sixfold(angle))


def stretches(parameters: np.ndarray) -> np.ndarray:
    """Return scale and shear as matrices ``(n, 2, 2)`` in (x, y)."""
    return matrix(parameters[:, 0], parameters[:, 2], parameters[:, 2], parameters[:, 1])


def left_stretch(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return strain and angle of maps T = (I + ε) U, the polar decomposition from the left.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(n, 2, 2)`` in (x, y), x along the columns.

    Returns
    -------
    strain : numpy.ndarray
        ``(n, 3)``, in (row, column).
    angle : numpy.ndarray
        ``(n,)``, from x towards y [rad].
    """
    angle = np.arctan2(maps[:, 1, 0] - maps[:, 0, 1], maps[:, 0, 0] + maps[:, 1, 1])
    stretch = maps @ turn(-angle)
    return np.stack([stretch[:, 1, 1] - 1, stretch[:, 0, 0] - 1, stretch[:, 0, 1]], axis=1), angle


def circular_mean(angles: np.ndarray, period: float) -> float:
    """Return the mean of angles that repeat themselves after a period [rad]."""
    return float(np.angle(np.exp(2j * np.pi / period * angles).mean()) * period / (2 * np.pi))
