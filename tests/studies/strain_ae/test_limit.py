"""The Cramér-Rao bound of the stand-in."""

from dataclasses import replace

import numpy as np
import pytest

from repro.datasets.spec import load_spec
from repro.studies.strain_ae.lattice import deformation
from repro.studies.strain_ae.limit import fisher_information, standard_deviations
from repro.studies.strain_ae.scans import REFERENCE_ROTATION
from repro.studies.strain_ae.simulate import Simulation

PUBLISHED = Simulation(
    **(load_spec("strain_ae").resolve("desk").parameters | {"n_pixels": 200, "pixel_size": 1.0})
)
SMALL = replace(PUBLISHED, n_pixels=100, pixel_size=2.0)
STRAIN = np.array([[0.0, 0.0, 0.0], [0.01, -0.02, 0.005]])
ROTATION = REFERENCE_ROTATION + np.deg2rad([0.0, 11.0])


@pytest.mark.parametrize(
    ("noise", "xx", "xy", "degrees"),
    [
        (0.05, 0.88e-3, 0.63e-3, 0.036),
        (0.25, 1.30e-3, 0.92e-3, 0.053),
        (0.60, 2.68e-3, 1.89e-3, 0.108),
        (0.70, 3.63e-3, 2.55e-3, 0.146),
    ],
)
def test_bound_is_that_of_the_prototype(noise, xx, xy, degrees):
    found = standard_deviations(replace(PUBLISHED, noise=noise), STRAIN[:1], ROTATION[:1])[0]
    expected = [xx, xx, xy, np.deg2rad(degrees)]
    np.testing.assert_allclose(found, expected, rtol=0.15)


def test_bound_falls_with_the_root_of_the_dose():
    once = standard_deviations(SMALL, STRAIN, ROTATION)
    four_times = standard_deviations(replace(SMALL, dose=4e5), STRAIN, ROTATION)
    np.testing.assert_allclose(four_times, once / 2, rtol=1e-9)


def test_information_is_the_variance_of_the_score():
    """The score's variance over drawn counts defines the information."""
    step, strain, rotation = 1e-4, STRAIN[1:], ROTATION[1:]
    crystal = np.concatenate([strain[0], rotation])

    def expected(parameters):
        crystals = deformation(parameters[None, None, :3], parameters[None, None, 3])
        return SMALL.expected(crystals, np.ones((1, 1))).ravel()

    counts = np.random.default_rng(0).poisson(expected(crystal), (1000, SMALL.n_pixels**2))
    scores = []
    for moved in step * np.eye(4):
        above, below = expected(crystal + moved), expected(crystal - moved)
        scores.append((counts @ np.log(above / below) - (above - below).sum()) / (2 * step))
    information = fisher_information(SMALL, strain, rotation)[0]
    np.testing.assert_allclose(np.var(scores, axis=1), np.diag(information), rtol=0.2)


def test_larger_pixels_never_tell_more():
    fine, coarse = (standard_deviations(s, STRAIN, ROTATION) for s in (PUBLISHED, SMALL))
    assert (coarse > fine).all()


def test_without_counting_noise_there_is_no_limit():
    found = standard_deviations(replace(SMALL, noise=0.0), STRAIN, ROTATION)
    np.testing.assert_array_equal(found, np.zeros((2, 4)))
