"""The stand-in scans: discs, background, counts."""

from dataclasses import replace

import numpy as np
import pytest

from repro.datasets.spec import load_spec
from repro.errors import ReproError
from repro.studies.strain_ae.lattice import deformation
from repro.studies.strain_ae.simulate import Simulation, axes, rows

SMOKE = load_spec("strain_ae").resolve("smoke").parameters
PUBLISHED = SMOKE | {"n_pixels": 200, "pixel_size": 1.0}
STRAIN, ROTATION = np.array([[0.01, -0.02, 0.015]]), np.array([0.3])


@pytest.fixture(scope="module")
def simulation():
    return Simulation(**PUBLISHED)


@pytest.fixture(scope="module")
def pattern(simulation):
    return simulation.detector.patterns(deformation(STRAIN, ROTATION))[0]


def test_nearly_all_electrons_are_on_the_detector_most_of_them_in_the_beam(simulation, pattern):
    assert 0.99 < pattern.sum() <= 1
    places = simulation.detector.places
    beam = np.hypot(places[:, None], places) < 8
    assert 0.95 < pattern[beam].sum() < 0.99


def test_discs_stand_where_the_strained_lattice_has_its_spots(simulation, pattern):
    places, _, _ = simulation.detector.spots
    expected = places @ deformation(STRAIN, ROTATION)[0].T + simulation.beam_offset
    pixels = simulation.detector.places
    for spot in expected[np.abs(expected).max(axis=1) < 90]:
        near = np.hypot(pixels[:, None] - spot[0], pixels - spot[1]) < 7
        weights = pattern * near
        found = (weights.sum(axis=1) @ pixels, weights.sum(axis=0) @ pixels) / weights.sum()
        np.testing.assert_allclose(found, spot, atol=5e-3)


def test_a_disc_has_the_area_of_its_plateau(simulation):
    pixels = np.arange(-8.0, 9.0)
    covered = simulation.detector.coverage(np.array([[0.3, -0.2]]), pixels)[0]
    assert covered.max() == pytest.approx(1, abs=1e-6)
    area = np.pi * (3.72**2 + (np.pi * 0.15) ** 2 / 3)
    assert covered.sum() == pytest.approx(area, rel=1e-3)


def test_a_larger_pixel_holds_what_the_smaller_ones_in_it_hold(pattern):
    coarse = Simulation(**PUBLISHED | {"n_pixels": 100, "pixel_size": 2.0})
    binned = pattern.reshape(100, 2, 100, 2).sum(axis=(1, 3))
    found = coarse.detector.patterns(deformation(STRAIN, ROTATION))[0]
    np.testing.assert_allclose(found, binned, atol=2e-3 * binned.max())


def test_the_background_is_a_lorentzian_that_sums_to_one(simulation):
    background = simulation.detector.background
    assert background.sum() == pytest.approx(1)
    middle = background[100, 100]
    assert background[100, 102] == pytest.approx(middle * (1 + 0.5 / 4) / (1 + 6.5 / 4), rel=1e-9)


def test_counts_are_whole_and_as_many_as_expected():
    patterns = rows(0, 2, 0, SMOKE)["patterns"]
    assert patterns.dtype == np.uint16
    n = patterns.shape[0] * patterns.shape[1]
    assert patterns.sum() / n == pytest.approx(1e5, rel=0.01)


def test_without_noise_there_is_no_counting():
    free = load_spec("strain_ae").resolve("smoke", "noise_00").parameters
    once, again = (rows(first, first + 1, 0, free) for first in (0, 8))
    np.testing.assert_array_equal(once["patterns"], again["patterns"])
    assert once["patterns"].dtype == np.float32
    assert (once["patterns"] != np.rint(once["patterns"])).any()


def test_the_same_grains_are_counted_anew_in_every_scan():
    once, again = (rows(first, first + 1, 0, SMOKE) for first in (0, 8))
    np.testing.assert_array_equal(once["strain"], again["strain"])
    assert (once["patterns"] != again["patterns"]).any()


def test_a_row_does_not_depend_on_the_rows_made_with_it():
    together, alone = rows(6, 10, 3, SMOKE), rows(9, 10, 3, SMOKE)
    for name, values in alone.items():
        np.testing.assert_array_equal(values[0], together[name][3])


def test_a_boundary_shows_both_grains(simulation):
    strains = np.stack([STRAIN, -STRAIN], axis=1)
    crystals = deformation(strains, np.array([[0.3, 0.1]]))
    mixed = simulation.expected(crystals, np.array([[0.25, 0.75]]))
    one, other = (simulation.expected(crystals[:, [i]], np.ones((1, 1))) for i in (0, 1))
    np.testing.assert_allclose(mixed, 0.25 * one + 0.75 * other)


def test_axes_have_the_beam_at_zero_and_the_published_calibration():
    found = axes(PUBLISHED)
    q_x, unit = found["q_x"]
    assert unit == "Å⁻¹"
    assert np.interp(0, q_x, np.arange(200)) == pytest.approx(99.7)
    assert np.diff(q_x) == pytest.approx(0.0096)


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"noise": 1.0}, "noise"),
        ({"pixel_size": 0.0}, "pixel_size"),
        ({"n_pixels": 10}, "first ring"),
    ],
)
def test_impossible_scans_are_refused(changes, fact):
    with pytest.raises(ReproError, match=fact):
        replace(Simulation(**SMOKE), **changes)


def test_counts_that_a_type_does_not_hold_are_refused():
    with pytest.raises(ReproError, match="uint16 holds"):
        rows(0, 1, 0, SMOKE | {"dose": 1e7})
    with pytest.raises(ReproError, match="set count_type to float32"):
        rows(0, 1, 0, SMOKE | {"noise": 0.0})


def test_more_rows_than_the_scans_have_are_refused():
    with pytest.raises(ReproError, match="no row 40"):
        rows(40, 41, 0, SMOKE)
