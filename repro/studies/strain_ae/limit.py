"""The limit: how precisely a pattern can tell its strain and rotation, whoever reads it.

The Cramér-Rao bound of an unbiased reading of one pattern, where beam position, intensities and
background are known and electrons are counted.
"""

from __future__ import annotations

import numpy as np

from repro.studies.strain_ae.lattice import COMPONENTS, deformation
from repro.studies.strain_ae.simulate import NOISE_FREE, Simulation

STEP = 1e-4  # of the central differences: moves a spot by a hundredth of a pixel [1 and rad]
FEWEST_ELECTRONS = 1e-12  # a pixel that expects fewer tells nothing


def fisher_information(
    simulation: Simulation, strain: np.ndarray, rotation: np.ndarray
) -> np.ndarray:
    """Return what a pattern of each crystal tells about ε_xx, ε_yy, ε_xy and rotation.

    Parameters
    ----------
    simulation : Simulation
        How patterns are made.
    strain : numpy.ndarray
        ``(n, 3)``: ε_xx, ε_yy, ε_xy [1].
    rotation : numpy.ndarray
        ``(n,)`` [rad].

    Returns
    -------
    numpy.ndarray
        ``(n, 4, 4)`` [1 and 1/rad, squared]. Without counting noise it has no meaning.
    """
    parameters = np.concatenate([strain, np.asarray(rotation)[:, None]], axis=1)
    expected = _expected(simulation, parameters)
    weight = np.where(expected > FEWEST_ELECTRONS, 1 / np.maximum(expected, FEWEST_ELECTRONS), 0.0)
    steps = STEP * np.eye(len(COMPONENTS))
    slopes = [
        (_expected(simulation, parameters + step) - _expected(simulation, parameters - step))
        / (2 * STEP)
        for step in steps
    ]
    jacobian = np.stack(slopes, axis=1)
    return np.einsum("nip,np,njp->nij", jacobian, weight, jacobian, optimize=True)


def standard_deviations(
    simulation: Simulation, strain: np.ndarray, rotation: np.ndarray
) -> np.ndarray:
    """Return the smallest standard deviations of an unbiased reading of one pattern.

    Parameters
    ----------
    simulation, strain, rotation
        As in `fisher_information`.

    Returns
    -------
    numpy.ndarray
        ``(n, 4)``: of ε_xx, ε_yy, ε_xy [1] and rotation [rad]; 0 without counting noise.
    """
    if simulation.noise == NOISE_FREE:
        return np.zeros((len(strain), len(COMPONENTS)))
    covariance = np.linalg.inv(fisher_information(simulation, strain, rotation))
    return np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))


def _expected(simulation: Simulation, parameters: np.ndarray) -> np.ndarray:
    """Return the electrons to expect, ``(n, n_pixels²)``, of parameters ``(n, 4)``."""
    crystals = deformation(parameters[:, :3], parameters[:, 3])[:, None]
    return simulation.expected(crystals, np.ones((len(parameters), 1))).reshape(len(parameters), -1)
