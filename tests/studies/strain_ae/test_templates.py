"""The network that learns the templates of a scan."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from repro.bench.flops import network_cost
from repro.studies.strain_ae import templates as module
from repro.studies.strain_ae.fit import fisher_scoring
from repro.studies.strain_ae.lattice import sixfold
from repro.studies.strain_ae.pattern import Templates, images, start
from repro.studies.strain_ae.templates import (
    RECIPE,
    Geometry,
    Scan,
    background_basis,
    initial_geometry,
    teachers,
    template_network,
    templates_of,
)

N_ROWS, N_COLUMNS, SIDE = 8, 16, 64
CENTRE, RADIUS, RING = (0.2, -0.15), 1.8, 12.0


def scan_templates(noise):
    """Return templates of a small detector, with the beam within the background."""
    n_knots, spacing = 40, RADIUS / 30
    profile = 1 / (1 + np.exp((np.arange(n_knots) * spacing - RADIUS) / 0.08))
    geometry = Geometry(SIDE, CENTRE, RING, RADIUS, 1.0, ())
    smooth = noise * 1e5 / (1 + geometry.radii**2) / 70
    intensities = (1 - noise) * np.array([6.0, 10, 9, 1.3, 2.6, 0.6, 1.1, 1.4, 0.4])
    templates = Templates(profile, spacing, intensities, smooth, np.array(CENTRE), RING, RADIUS)
    beam = replace(templates, first_ring=0.0, intensities=np.full(9, 8e3 / 60))
    disc = images(beam, np.zeros((1, 4)), beam.table)[0] - smooth
    return replace(templates, background=smooth + disc)


def draw(noise, n=N_ROWS * N_COLUMNS, seed=0):
    random = np.random.default_rng(seed)
    parameters = np.concatenate(
        [random.uniform(-0.02, 0.02, (n, 3)), random.uniform(0.1, 1.0, (n, 1))], axis=1
    )
    templates = scan_templates(noise)
    counts = random.poisson(images(templates, parameters, templates.table))
    return templates, parameters, counts.astype(np.uint16)


@pytest.fixture(scope="module")
def drawn():
    return draw(0.1)


@pytest.fixture(scope="module")
def scan(drawn):
    patterns = drawn[2].reshape(N_ROWS, N_COLUMNS, SIDE, SIDE)
    return Scan(patterns, np.arange(N_ROWS * N_COLUMNS))


@pytest.fixture(scope="module")
def geometry(drawn):
    return initial_geometry(drawn[2])


def learn(scan, geometry, epochs=4):
    model = template_network(geometry)
    n = len(scan.numbers)
    recipe = RECIPE.changed({"epochs": epochs, "batch_size": 16})
    model.compile(optimizer=recipe.build_optimizer(n // 16), loss=recipe.build_loss())
    arrays, losses, random = {}, [], np.random.default_rng(0)
    for epoch in range(epochs):
        arrays = scan.renew(model, epoch, arrays)
        batches = random.permutation(scan.numbers).reshape(-1, 16)
        losses.append([float(model.train_on_batch(*scan.load(b, arrays))) for b in batches])
    return model, np.mean(losses, axis=1)


@pytest.fixture(scope="module")
def learned(scan, geometry):
    return learn(scan, geometry)


def scatter(patterns, templates, parameters):
    found = fisher_scoring(patterns, templates, start(patterns, templates))
    error = found.parameters - parameters
    error[:, 3] = sixfold(error[:, 3])
    return error.std(axis=0)


@pytest.mark.parametrize("noise", [0.05, 0.6])
def test_geometry_is_found_in_the_patterns(noise):
    geometry = initial_geometry(draw(noise)[2])
    np.testing.assert_allclose(geometry.centre, CENTRE, atol=0.15)
    assert geometry.first_ring == pytest.approx(RING, rel=0.01)
    assert geometry.disc_radius == pytest.approx(RADIUS, rel=0.2)
    assert geometry.intensity == pytest.approx((1 - noise) * 8, rel=0.4)


def test_geometry_follows_a_beam_that_is_off_the_middle(drawn):
    geometry = initial_geometry(np.roll(drawn[2], (5, -4), axis=(1, 2)))
    np.testing.assert_allclose(geometry.centre, np.add(CENTRE, (5, -4)), atol=0.15)
    assert geometry.first_ring == pytest.approx(RING, rel=0.01)


def test_background_basis_is_a_partition_of_one():
    basis = background_basis(np.linspace(0, 40, 99), RADIUS, 40.0)
    np.testing.assert_allclose(basis.sum(axis=-1), 1, atol=1e-12)


def test_network_is_the_model_that_is_fitted(geometry):
    """Fits of what another model learned would be biased."""
    model = template_network(geometry)
    parameters = draw(0.1, 3)[1]
    templates = templates_of(model)
    expected = images(templates, parameters, templates.table)
    made = keras.ops.convert_to_numpy(model(parameters.astype(np.float32)))[..., 0]
    assert made.shape == (3, SIDE, SIDE)
    assert (made > 0).all()
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=0.02 * geometry.intensity)


def test_cost_of_the_network_is_known(geometry):
    assert network_cost(template_network(geometry)).flops > 0


def test_templates_learned_from_noise_read_strain_as_the_true_ones_do(drawn, learned):
    truth, _, _ = drawn
    _, parameters, patterns = draw(0.1, 200, seed=5)
    ratio = scatter(patterns, templates_of(learned[0]), parameters)
    ratio /= scatter(patterns, truth, parameters)
    assert (ratio < 1.1).all()


def test_learning_lowers_the_loss(learned):
    assert learned[1][-1] < learned[1][0]


def test_beam_and_intensities_are_learned(drawn, learned):
    found, truth = templates_of(learned[0]), drawn[0]
    np.testing.assert_allclose(found.centre, truth.centre, atol=0.03)
    brightness = found.intensities[:3] * found.profile[:12].mean()
    np.testing.assert_allclose(brightness, truth.intensities[:3], rtol=0.12)


def test_patterns_of_two_crystals_teach_nothing():
    truth, _, patterns = draw(0.02)
    mixed = patterns.copy()
    random = np.random.default_rng(1)
    mixed[:20] = random.binomial(mixed[:20], 0.5) + random.binomial(mixed[20:40], 0.5)
    mixed = Scan(mixed.reshape(N_ROWS, N_COLUMNS, SIDE, SIDE), np.arange(len(mixed)))
    teacher = teachers(mixed.fitted(truth).quality)
    assert (teacher[:20] != np.arange(20)).mean() > 0.5
    assert (teacher[20:] == np.arange(20, len(teacher))).mean() > 0.95


def test_teachers_leave_patterns_that_fit_alone():
    np.testing.assert_array_equal(teachers(np.ones(5)), np.arange(5))
    quality = np.array([1.0, 1.1, 9.0, 0.9, np.nan])
    assert set(teachers(quality)[[2, 4]]) <= {0, 1, 3}


def test_load_gives_patterns_with_the_parameters_of_their_teachers(scan):
    some = replace(scan, numbers=np.array([3, 17, 40]))
    arrays = {"parameters": np.arange(12.0).reshape(3, 4), "teacher": np.array([0, 2, 2])}
    parameters, patterns = some.load(np.array([17, 3]), arrays)
    np.testing.assert_array_equal(parameters, arrays["parameters"][[2, 0]])
    np.testing.assert_array_equal(patterns[..., 0], some.read(np.array([40, 3])))
    parameters, patterns = some.load(np.array([17]))
    np.testing.assert_array_equal(parameters, 0)
    np.testing.assert_array_equal(patterns[..., 0], scan.patterns[1, 1][None])


def test_scans_are_read_in_chunks(scan, learned, monkeypatch):
    templates = templates_of(learned[0])
    whole = scan.fitted(templates)
    monkeypatch.setattr(module, "PATTERNS_READ", 50)
    np.testing.assert_allclose(scan.fitted(templates).parameters, whole.parameters, atol=1e-7)


def test_no_pixel_is_expected_to_count_less_than_nothing(geometry):
    # A logarithm of it would end the training; without noise some pixels expect next to nothing.
    model = template_network(geometry)
    pattern = model.get_layer("pattern")
    pattern.log_background.assign(np.full(pattern.log_background.shape, -30.0))
    parameters = np.random.default_rng(0).uniform(-0.02, 0.02, (50, 4)).astype(np.float32)
    assert model.predict_on_batch(parameters).min() > 0
