"""Strain and rotation from disc templates, on patterns of the stand-in and of the templates."""

from dataclasses import replace

import numpy as np
import pytest

from repro.datasets.spec import load_spec
from repro.errors import ReproError
from repro.studies.strain_ae.discs import profile_table, spline
from repro.studies.strain_ae.fit import Fit, fisher_scoring, relative, widening
from repro.studies.strain_ae.lattice import PLATEAUS, deformation, sixfold
from repro.studies.strain_ae.limit import standard_deviations
from repro.studies.strain_ae.pattern import Templates, images, spot_classes, start
from repro.studies.strain_ae.simulate import Simulation

SIMULATION = Simulation(**load_spec("strain_ae").resolve("desk").parameters)


def true_templates(simulation):
    """Return the templates that the simulation is made with."""
    size, share = simulation.pixel_size, 1 - simulation.noise
    radius, edge = simulation.disc_radius / size, simulation.disc_edge / size
    n_knots, spacing = 40, radius / 30
    knots = np.arange(0, n_knots, 0.25)
    basis = np.stack([spline(unit, knots) for unit in np.eye(n_knots)], axis=1)
    disc = 1 / (1 + np.exp((knots * spacing - radius) / edge))
    _, plateaus, _ = simulation.detector.spots
    _, classes = spot_classes(1.0)
    by_class = [plateaus[classes == c].mean() for c in range(classes.max() + 1)]
    return Templates(
        profile=np.linalg.lstsq(basis, disc, rcond=None)[0],
        spacing=spacing,
        intensities=share * size**2 * simulation.dose / 1e5 * np.array(by_class),
        background=simulation.noise * simulation.dose * simulation.detector.background,
        centre=np.full(2, simulation.beam_offset / size),
        first_ring=simulation.first_ring / size,
        disc_radius=radius,
    )


def drawn_parameters(n, seed=0):
    random = np.random.default_rng(seed)
    strain = random.uniform(-0.02, 0.02, (n, 3))
    return np.concatenate([strain, random.uniform(0, 2 * np.pi / 3, (n, 1))], axis=1)


def expected(simulation, parameters):
    crystals = deformation(parameters[:, :3], parameters[:, 3])[:, None]
    return simulation.expected(crystals, np.ones((len(parameters), 1)))


def simulated(noise, n, seed=0):
    """Return counts drawn from the templates, which are quicker than the stand-in itself."""
    simulation = replace(SIMULATION, noise=noise)
    templates, parameters = true_templates(simulation), drawn_parameters(n, seed)
    counts = np.random.default_rng(seed + 1).poisson(images(templates, parameters, templates.table))
    return templates, parameters, counts.astype(np.uint16)


def errors(found, parameters):
    difference = found.parameters - parameters
    difference[:, 3] = sixfold(difference[:, 3])
    return difference


def fitted(patterns, templates):
    return fisher_scoring(patterns, templates, start(patterns, templates))


def test_spots_have_a_class_for_every_plateau():
    _, classes = spot_classes(37.9)
    assert classes.max() + 1 == sum(map(len, PLATEAUS.values()))


def test_spline_is_a_partition_of_one_and_ends_after_its_knots():
    place = np.linspace(0, 7.9, 50)
    np.testing.assert_allclose(spline(np.ones(10), place), 1, atol=1e-12)
    assert spline(np.ones(10), np.array([10.0]))[0] == 0


def test_table_holds_the_area_and_the_derivative_of_a_disc():
    table = profile_table(np.where(np.arange(40) < 30, 1.0, 0.0), 0.1, 32)
    n, middle = table.n_steps, table.n_steps // 2
    area = table.values.sum(axis=1)
    np.testing.assert_allclose(area, area.mean(), rtol=1e-5)
    by_place = table.values.reshape(n, n, -1)
    slope = (by_place[middle + 1, middle] - by_place[middle - 1, middle]) * n / 2
    np.testing.assert_allclose(table.by_row.reshape(n, n, -1)[middle, middle], slope, atol=1e-5)


def test_model_is_that_of_the_stand_in():
    parameters = drawn_parameters(3)
    simulation = replace(SIMULATION, noise=0.25)
    templates = true_templates(simulation)
    made = images(templates, parameters, templates.table)
    truth = expected(simulation, parameters)
    away = np.hypot(*np.meshgrid(*[simulation.detector.places] * 2)) > 20  # from the beam
    np.testing.assert_allclose(made[:, away], truth[:, away], atol=0.01)


def test_noise_free_patterns_give_their_strain_and_rotation_back():
    simulation = replace(SIMULATION, noise=0.0)
    parameters = drawn_parameters(20)
    patterns = expected(simulation, parameters).astype(np.float32)
    found = fitted(patterns, true_templates(simulation))
    assert np.abs(errors(found, parameters)).max() < 2e-5


@pytest.mark.parametrize(("noise", "most"), [(0.05, 1.12), (0.6, 1.2)])
def test_counted_patterns_are_read_at_the_limit(noise, most):
    templates, parameters, patterns = simulated(noise, 400)
    found = fitted(patterns, templates)
    rms = np.sqrt(np.square(errors(found, parameters)).mean(axis=0))
    simulation = replace(SIMULATION, noise=noise)
    limit = standard_deviations(simulation, parameters[:10, :3], parameters[:10, 3])
    ratio = rms / np.sqrt(np.square(limit).mean(axis=0))
    assert ((ratio > 0.88) & (ratio < most)).all()
    np.testing.assert_allclose(found.deviations[:10], limit, rtol=0.06)
    assert np.median(found.quality) == pytest.approx(1, abs=0.05)


def test_widened_deviations_hold_where_information_promises_too_much():
    templates, parameters, patterns = simulated(0.7, 500)
    found = fitted(patterns, templates)
    wide = found.calibrated(templates)
    assert (wide.deviations > found.deviations).all()
    within = (np.abs(errors(found, parameters)) < 1.6449 * wide.deviations).mean(axis=0)
    np.testing.assert_allclose(within, 0.9, atol=0.04)


def test_deviations_follow_the_gain_of_the_detector():
    templates, _, patterns = simulated(0.25, 64)
    halved = replace(
        templates, intensities=templates.intensities / 4, background=templates.background / 4
    )
    counted, scaled = fitted(patterns, templates), fitted(patterns / 4.0, halved)
    np.testing.assert_allclose(scaled.parameters, counted.parameters, atol=2e-5)
    both = [
        fit.deviations * np.sqrt(np.median(fit.quality))[None, None] for fit in (counted, scaled)
    ]
    np.testing.assert_allclose(*both, rtol=0.01)


def test_a_background_that_slopes_does_not_pull():
    simulation = replace(SIMULATION, noise=0.0)
    parameters = drawn_parameters(8)
    ramp = np.linspace(0, 2, simulation.n_pixels)
    patterns = expected(simulation, parameters) + ramp
    found = fitted(patterns, true_templates(simulation))
    assert np.abs(errors(found, parameters)).max() < 2e-4


def test_result_does_not_depend_on_the_other_patterns():
    templates, _, patterns = simulated(0.25, 70)
    together, alone = fitted(patterns, templates), fitted(patterns[66:67], templates)
    np.testing.assert_allclose(alone.parameters, together.parameters[66:67], atol=1e-7)


def test_empty_patterns_spoil_no_others():
    templates, _, patterns = simulated(0.25, 6)
    whole = fitted(patterns, templates)
    broken = patterns.astype(np.float32)
    broken[2], broken[4] = 0, np.nan
    found = fitted(broken, templates)
    good = [0, 1, 3, 5]
    np.testing.assert_allclose(found.parameters[good], whole.parameters[good], atol=1e-7)
    assert np.isfinite(found.parameters).all()
    assert not 0.8 < found.quality[2] < 1.2
    assert np.isnan(found.quality[4])


def test_equal_intensities_are_searched_over_a_sixth_of_a_turn():
    templates, parameters, patterns = simulated(0.05, 20)
    equal = replace(templates, intensities=np.full_like(templates.intensities, 5.0))
    found = start(patterns, equal)[:, 3]
    assert found.max() < np.pi / 3
    assert np.abs(sixfold(found - parameters[:, 3])).max() < np.deg2rad(3)
    whole = start(patterns, templates)[:, 3] - parameters[:, 3]
    off = (whole + np.pi / 3) % (2 * np.pi / 3) - np.pi / 3
    right = np.abs(off) < np.deg2rad(3)
    assert right.mean() > 0.9, "noise may hide the sign of h - k in a pattern, not in many"


def test_relative_strain_is_free_of_a_wrong_lattice_constant():
    parameters = drawn_parameters(5)
    scale, reference = 1.01, np.array([0.0, 0.0, 0.0, 1.0])
    stretched = parameters.copy()
    stretched[:, :3] = scale * parameters[:, :3] + (scale - 1) * np.array([1, 1, 0])
    unstrained = reference + (scale - 1) * np.array([1, 1, 0, 0])
    found = relative(stretched, unstrained)
    np.testing.assert_allclose(found, relative(parameters, reference), atol=1e-12)
    np.testing.assert_allclose(found[:, :3], parameters[:, :3], atol=1e-12)
    np.testing.assert_allclose(sixfold(found[:, 3] - parameters[:, 3] + 1.0), 0, atol=1e-12)


def test_fits_of_chunks_are_joined_in_order():
    parts = [Fit(np.full((2, 4), i), np.full((2, 4), i), np.full(2, i)) for i in range(2)]
    assert Fit.joined(parts).quality.tolist() == [0, 0, 1, 1]


def test_widening_is_one_where_noise_is_low():
    templates, parameters, _ = simulated(0.05, 200)
    np.testing.assert_allclose(widening(templates, parameters, 0), 1, atol=0.15)


def test_patterns_of_another_size_are_refused():
    with pytest.raises(ReproError, match="pixels"):
        fisher_scoring(np.zeros((1, 64, 64)), true_templates(SIMULATION), np.zeros((1, 4)))
