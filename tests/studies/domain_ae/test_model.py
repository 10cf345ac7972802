"""The network: its size, its grids and its losses."""

import keras
import numpy as np
import pytest

from repro.layers.sampling import Resize
from repro.studies.domain_ae.model import (
    Latent,
    Loss,
    broadcast_error,
    coding_network,
    grid,
    network,
    paired,
)
from repro.studies.domain_ae.recipe import SCALES, design_of
from repro.studies.domain_ae.simulate import Series
from repro.study import get_study
from repro.training.schedules import Staircase

RNG = np.random.default_rng(0)
SPEC = get_study("domain_ae").data_spec


def series(preset, experiment="gas"):
    return Series(**SPEC.resolve(preset, experiment).parameters)


def built(variant, preset, experiment="gas"):
    scale, design = SCALES[preset], design_of(variant, SCALES[preset], series(preset, experiment))
    architecture = scale.architecture if variant == "faithful" else scale.corrected
    return network(design.reading, architecture, design.loss, design.has_grids)


def n_parameters(layers):
    return sum(layer.count_params() for layer in layers)


def test_the_published_network_has_its_parameters():
    layers = built("faithful", "paper").layers
    names = [layer.name for layer in layers]
    place = names.index("latent")
    weight_of_l1 = 1
    assert n_parameters(layers[:place]) == 1843465
    assert n_parameters(layers[place:]) == 2436801 + weight_of_l1


@pytest.mark.parametrize("preset", SCALES)
@pytest.mark.parametrize("variant", ["faithful", "corrected"])
def test_reconstructions_are_as_large_as_tiles(variant, preset):
    model = built(variant, preset)
    assert model.output_shape == model.get_layer("tile").output.shape


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_a_code_of_zeros_leaves_the_grids_where_they_are():
    base = [-0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, 0.5]
    latent = numbers(Latent()(np.zeros((1, 8), np.float32)))[0]
    np.testing.assert_array_equal(latent[0], np.zeros(8))
    np.testing.assert_allclose(latent[1:], [base] * 3, atol=1e-7)


def test_l1_of_grids_at_its_least_is_what_the_accidents_of_the_authors_show():
    # Two of their runs had a weight of 43: L1 was 10.457 a window with all features at 0.
    code = np.array([[-9, -9, -np.pi / 4, -0.4, -0.3, -1, -1, -1]], np.float32)
    latent = numbers(Latent()(code))
    assert np.abs(latent).sum() == pytest.approx(10.428, abs=1e-3)


def test_grids_turn_stretch_and_shift():
    code = np.zeros((1, 8), np.float32)
    code[0, :5] = 50, -50, np.pi / 2, 3, -2
    features, turned, stretched, moved = numbers(Latent()(code))[0]
    np.testing.assert_allclose(features[[0, 1, 4]], [50, 0, 0])
    np.testing.assert_allclose(turned[:2], [0.5, -0.5], atol=1e-6)  # (x, y) to (-y, x)
    np.testing.assert_allclose(stretched[:2], [-0.55, -0.45], rtol=1e-5)
    np.testing.assert_allclose(moved[:2], [2.5, -2.5])


def test_grid_points_are_numbered_along_rows():
    one, zero = np.ones((1,), np.float32), np.zeros((1,), np.float32)
    found = numbers(grid((one, zero, zero), (zero, one, zero)))[0]
    np.testing.assert_allclose(found.reshape(4, 2)[1], [0.5, -0.5])


@pytest.mark.parametrize(("epoch", "steps"), [(19, 0), (20, 1), (43, 5), (71, 11), (119, 20)])
def test_the_weight_of_l1_follows_the_published_checkpoints(epoch, steps):
    # Their epochs count from 0.
    schedule = Staircase("l1", 1e-8, first_epoch=21, every=5)
    assert schedule.weight(epoch + 1) == pytest.approx(steps * 1e-8)


def test_the_recipe_follows_that_schedule(untrained):
    recipe = untrained("faithful").tasks["autoencoder"].recipe
    assert recipe.loss_weights == (Staircase("l1", 1e-8, 21, 5),)


def test_the_broadcast_loss_is_that_of_all_pairs():
    tile, found = RNG.normal(size=(2, 5, 6, 6, 1)).astype(np.float32)
    pairs = np.mean((tile[:, None] - found[None]) ** 2)
    assert float(broadcast_error(tile, found)) == pytest.approx(pairs, rel=1e-5)
    assert float(paired(tile, found)) == pytest.approx(np.mean((tile - found) ** 2), rel=1e-5)


def test_the_broadcast_loss_asks_for_a_batchth_of_the_departure():
    # A decoder that departs from the mean by a times the tile's own departure loses a² - 2 a / B.
    tile = RNG.normal(size=(16, 400)).astype(np.float32)
    departure = tile - tile.mean(axis=0)
    total = np.mean(departure**2)

    def loss(found):
        return float(np.mean((tile[:, None] - found[None]) ** 2))

    mean_alone = loss(np.repeat(tile.mean(axis=0)[None], 16, axis=0))
    assert mean_alone == pytest.approx(total, rel=1e-5)
    assert loss(tile) == pytest.approx(2 * total, rel=1e-4), "perfect reconstructions are worse"


def test_l1_is_summed_or_averaged_over_the_batch():
    windows = RNG.normal(size=(3, 48, 48)).astype(np.float32)
    scale = SCALES["smoke"]
    for variant, expected in (("faithful", "sum"), ("corrected", "mean")):
        design = design_of(variant, scale, series("smoke"))
        architecture = scale.architecture if variant == "faithful" else scale.corrected
        windows = RNG.normal(size=(3, design.reading.window, design.reading.window))
        windows = windows.astype(np.float32)
        losses = {}
        for l1 in (0.0, 1.0):
            keras.utils.set_random_seed(0)
            loss = Loss(design.loss.is_broadcast, design.loss.sums_l1, False, l1)
            model = network(design.reading, architecture, loss)
            model(windows)
            losses[l1] = float(sum(model.losses))
        latent = numbers(coding_network(model)(windows)["latent"])
        penalty = np.abs(latent).sum() if expected == "sum" else latent[:, 0].sum() / 3
        assert losses[1.0] - losses[0.0] == pytest.approx(penalty, rel=1e-3)


def test_corners_stay_when_the_decoder_enlarges():
    image = RNG.normal(size=(1, 4, 4, 1)).astype(np.float32)
    large = numbers(Resize((16, 16), align_corners=True)(image))
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert large[0, corner[0], corner[1], 0] == pytest.approx(image[0, corner[0], corner[1], 0])
