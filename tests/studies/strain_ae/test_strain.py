"""Strain from what a network finds."""

import numpy as np
import pytest

from repro.studies.strain_ae.lattice import deformation, matrix, turn
from repro.studies.strain_ae.strain import (
    circular_mean,
    consistent_strain,
    left_stretch,
    published_strain,
    stretches,
)

RNG = np.random.default_rng(1)
STRAIN = RNG.uniform(-0.02, 0.02, (40, 3))
TURNS = np.deg2rad(RNG.uniform(-24, 24, 40))
SWAP = np.array([[0, 1], [1, 0]])


def parameters_for(base, angle=0.9):
    """Return what a network finds that has learned a base deformed so, and a reference.

    Patterns of strained crystals, of which the reference is the last, unstrained and unturned.
    """
    strain, turns = np.vstack([STRAIN, np.zeros(3)]), np.append(TURNS, 0)
    crystals = SWAP @ deformation(strain, turns) @ SWAP  # in (x, y)
    maps = crystals @ np.linalg.inv(base) @ turn(np.array(angle))
    # S R with S symmetric: the polar decomposition from the left.
    _, angles = left_stretch(maps)
    stretch = maps @ turn(-angles)
    found = np.stack(
        [stretch[:, 0, 0], stretch[:, 1, 1], stretch[:, 0, 1], angles % (2 * np.pi)], axis=1
    )
    return found[:-1], found[-1:]


@pytest.mark.parametrize("formula", [published_strain, consistent_strain])
def test_both_formulas_are_exact_where_the_base_is_not_distorted(formula):
    found = formula(*parameters_for(np.eye(2)))
    np.testing.assert_allclose(found.strain, STRAIN, atol=1e-12)
    np.testing.assert_allclose(found.rotation, TURNS, atol=1e-12)


def test_only_the_consistent_formula_is_exact_where_the_base_is_distorted():
    parameters = parameters_for(np.diag([1.01, 1.0]))
    consistent, published = (f(*parameters).strain for f in (consistent_strain, published_strain))
    np.testing.assert_allclose(consistent, STRAIN, atol=1e-12)
    assert np.abs(published - STRAIN).mean() > 1e-3


def test_six_equal_choices_of_the_rotation_give_one_strain():
    parameters, reference = parameters_for(np.eye(2))
    sixths = np.pi / 3 * RNG.integers(0, 6, len(parameters))
    turned = parameters + sixths[:, None] * [0, 0, 0, 1]
    found = consistent_strain(turned, reference)
    np.testing.assert_allclose(found.strain, STRAIN, atol=1e-12)
    np.testing.assert_allclose(found.rotation, TURNS, atol=1e-12)


def test_the_stretch_is_on_the_left():
    stretch = matrix(*(np.array([v]) for v in (1.02, 0.01, 0.01, 0.97)))
    strain, angle = left_stretch(stretch @ turn(np.array([0.4])))
    np.testing.assert_allclose(strain, [[-0.03, 0.02, 0.01]], atol=1e-12)
    np.testing.assert_allclose(angle, [0.4])


def test_stretches_are_symmetric():
    np.testing.assert_array_equal(
        stretches(np.array([[1.0, 2.0, 3.0, 0.5]])), [[[1.0, 3.0], [3.0, 2.0]]]
    )


def test_angles_on_either_side_of_the_wrap_have_their_mean_at_the_wrap():
    assert np.isclose(np.sin(np.pi * circular_mean(np.array([0.9, 0.1]), 1.0)), 0, atol=1e-12)
