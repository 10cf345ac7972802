"""Classical readings find known strains, err more under more noise, and keep the axes apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from repro.datasets.spec import load_spec
from repro.studies.strain_ae import baselines
from repro.studies.strain_ae.baselines import BASELINES, Setting
from repro.studies.strain_ae.lattice import deformation, sixfold, turn
from repro.studies.strain_ae.simulate import Detector, Simulation

SIMULATION = Simulation(
    **(
        load_spec("strain_ae").resolve("desk").parameters
        | {"noise": 0.0, "n_pixels": 200, "pixel_size": 1.0}
    )
)
BINNED = replace(SIMULATION, n_pixels=100, pixel_size=2.0)
# Largest errors of patterns without noise, strain [1]; rotations may be off by as much [rad].
TOLERANCES = {
    "centre_of_mass": 1e-4,
    "correlation": 4e-4,
    "phase_correlation": 8e-4,
    "pseudo_voigt": 4e-4,
}
N = 40
METHODS = pytest.mark.parametrize("name", BASELINES)


def crystals(n=N, seed=0):
    """Strains up to 2 % and rotations all round the circle."""
    draws = np.random.default_rng(seed)
    return draws.uniform(-0.02, 0.02, (n, 3)), draws.uniform(-np.pi, np.pi, n)


def patterns(strain, rotation, simulation=SIMULATION):
    """Counts of single crystals; those without noise are what is expected."""
    deformations = deformation(strain, rotation)[:, None]
    expected = simulation.expected(deformations, np.ones(deformations.shape[:2]))
    if simulation.noise:
        expected = np.random.default_rng(1).poisson(expected)
    return expected.astype(np.float32)


def setting(simulation=SIMULATION):
    return Setting.of(simulation.detector)


@pytest.fixture(scope="module")
def clean():
    """Patterns without noise, and the truth."""
    strain, rotation = crystals()
    return patterns(strain, rotation), strain, rotation


def test_the_setting_is_that_of_the_detector():
    detector = Detector(100, 2.0, 0.5, 3.7, 0.15, 37.9)
    assert Setting.of(detector) == Setting(2.0, 49.75, 49.75, 37.9, 3.7)


@METHODS
def test_strain_and_rotation_are_found_without_noise(name, clean):
    images, strain, rotation = clean
    found, turned = BASELINES[name](images, setting())
    np.testing.assert_allclose(found, strain, rtol=0, atol=TOLERANCES[name])
    np.testing.assert_allclose(sixfold(turned - rotation), 0, atol=TOLERANCES[name])


@METHODS
def test_pixels_twice_as_large_cost_precision_not_truth(name):
    strain, rotation = crystals()
    found, _ = BASELINES[name](patterns(strain, rotation, BINNED), setting(BINNED))
    assert np.sqrt(np.square(found - strain).mean()) < 2e-3
    slope = np.polyfit(strain.ravel(), found.ravel(), 1)[0]
    assert slope == pytest.approx(1, abs=0.04)


@METHODS
@pytest.mark.parametrize("component", [0, 1, 2])
def test_one_strain_is_not_taken_for_another(name, component):
    strain = 0.015 * np.eye(3)[[component]]
    found, turned = BASELINES[name](patterns(strain, np.array([0.1])), setting())
    np.testing.assert_allclose(found, strain, rtol=0, atol=TOLERANCES[name])
    assert turned == pytest.approx(0.1, abs=TOLERANCES[name])


def test_strain_along_the_rows_draws_discs_together_along_the_rows():
    images = patterns(np.array([[0.02, 0.0, 0.0]]), np.array([0.0]))
    row = setting().centre_row + 37.9 / 1.02
    at = np.rint([row, setting().centre_column]).astype(int)
    disc = images[0, at[0] - 6 : at[0] + 7, at[1] - 6 : at[1] + 7]
    middle = (disc.sum(axis=1) @ np.arange(-6, 7)) / disc.sum() + at[0]
    assert middle == pytest.approx(row, abs=0.05)
    found, _ = baselines.centre_of_mass(images, setting())
    assert found[0, 0] == pytest.approx(0.02, abs=1e-4)


@METHODS
def test_more_noise_means_more_error(name):
    strain, rotation = crystals()
    errors = []
    for noise in (0.0, 0.05, 0.6):
        images = patterns(strain, rotation, replace(SIMULATION, noise=noise))
        found, turned = BASELINES[name](images, setting())
        off = np.concatenate([found - strain, sixfold(turned - rotation)[:, None]], axis=1)
        errors.append(np.sqrt(np.square(off).mean(axis=0)))
    assert (errors[1] > errors[0]).all()
    assert (errors[2] > 1.5 * errors[1]).all()
    assert (errors[2] < 8e-3).all(), "the discs are lost"


@METHODS
def test_a_background_that_falls_off_does_not_draw_discs_inwards(name):
    strain, rotation = crystals()
    simulation = replace(SIMULATION, noise=0.6)
    deformations = deformation(strain, rotation)[:, None]
    images = simulation.expected(deformations, np.ones((N, 1))).astype(np.float32)
    found, _ = BASELINES[name](images, setting())
    assert np.abs((found - strain).mean(axis=0)).max() < 1e-3


@METHODS
def test_patterns_are_read_alone_and_in_order(name, clean):
    images, *_ = clean
    together = BASELINES[name](images[:6], setting())
    alone = [BASELINES[name](images[i : i + 1], setting()) for i in (4, 1)]
    for part in (0, 1):
        found = np.concatenate([one[part] for one in alone])
        np.testing.assert_allclose(found, together[part][[4, 1]], rtol=0, atol=1e-5)


@METHODS
def test_counts_may_be_whole_numbers_and_of_any_dose(name):
    strain, rotation = crystals(4)
    images = patterns(strain, rotation, replace(SIMULATION, noise=0.05, dose=1e7))
    whole, _ = BASELINES[name](images.astype(np.uint16), setting())
    scaled, _ = BASELINES[name](images / 1e7, setting())
    np.testing.assert_allclose(whole, scaled, rtol=0, atol=1e-5)


@METHODS
def test_an_empty_pattern_has_an_answer(name):
    found, turned = BASELINES[name](np.zeros((2, 200, 200), dtype=np.float32), setting())
    assert np.isfinite(found).all()
    assert np.isfinite(turned).all()


def test_the_search_starts_within_two_degrees(clean):
    images, _, rotation = clean
    start = baselines.rotation_start(images, setting())
    assert ((start >= 0) & (start < np.pi / 3)).all()
    assert np.abs(sixfold(start - rotation)).max() < np.deg2rad(2)


def test_the_fit_gives_a_deformation_back_and_leaves_out_a_stray_disc():
    strain, rotation = crystals(5)
    deformations = deformation(strain, rotation)
    places = np.einsum("nij,sj->nsi", deformations, setting().spots)
    weights = np.random.default_rng(2).uniform(0.5, 2, places.shape[:2])
    found = baselines.lattice_fit(places, weights, setting())
    np.testing.assert_allclose(found, deformations, atol=1e-9)
    places += np.random.default_rng(3).normal(0, 0.05, places.shape)
    clean = baselines.lattice_fit(places, weights, setting())
    places[:, 7] += (4.0, -3.0)
    stray = baselines.lattice_fit(places, weights, setting())
    plain = baselines.least_squares(places, weights, setting().spots)
    assert np.abs(stray - clean).max() < 0.25 * np.abs(plain - clean).max()


def test_a_disc_of_no_weight_is_not_asked():
    strain, rotation = crystals(1)
    places = np.einsum("nij,sj->nsi", deformation(strain, rotation), setting().spots)
    weights = np.ones(places.shape[:2])
    places[:, 3], weights[:, 3] = 500.0, 0.0
    found = baselines.lattice_fit(places, weights, setting())
    np.testing.assert_allclose(found, deformation(strain, rotation), atol=1e-4)


def test_a_spot_outside_the_pattern_does_not_count():
    small = replace(SIMULATION, n_pixels=160)  # the third ring is cut off
    strain, rotation = crystals(10)
    images = patterns(strain, rotation, small)
    expected = np.einsum("nij,sj->nsi", turn(rotation), setting(small).spots)
    patches, _ = baselines.cut(images, expected, setting(small))
    assert 0 < patches.whole.mean() < 1
    assert (baselines.precision(patches, setting(small))[~patches.whole] == 0).all()
    found, _ = baselines.centre_of_mass(images, setting(small))
    np.testing.assert_allclose(found, strain, rtol=0, atol=2e-4)
