"""The autoencoder: its size, its limits, its cycle."""

import keras
import numpy as np
import pytest
from keras import ops

from repro.layers.sampling import AffineSampler
from repro.studies.strain_ae.masks import discs, ring_2_centres
from repro.studies.strain_ae.model import (
    MASKS,
    PUBLISHED,
    AffineParameters,
    Architecture,
    CycleLoss,
    CycleSettings,
    HardChoice,
    base_of,
    code_network,
    cycle_network,
    decoder,
    finding_network,
    rotation_map,
    stretch_map,
)
from repro.studies.strain_ae.recipe import DISC_LEVEL, Positions

PLAIN = CycleSettings(
    enlargement=1, asymmetry=1.0, base_weight=0.0, scale_weight=0.0, shear_weight=0.0
)
SMALL = Architecture(50, (5, 2), width=4)


def n_weights(model):
    return sum(int(np.prod(v.shape)) for v in model.weights if v.name != MASKS)


def test_the_published_network_has_the_published_number_of_weights():
    network = cycle_network(PUBLISHED, PLAIN, has_prior=False)
    assert n_weights(network.get_layer("decoder")) == 2_530_727
    assert n_weights(network) == 4_471_621


def blobs(width=9.0):
    """Return an image of soft discs, so that it can be resampled, ``(1, 80, 80, 1)``."""
    at = (np.arange(80) - 39.5) * 2.5
    centres = ring_2_centres(0.2)
    apart = np.hypot(at[:, None, None] - centres[:, 0], at[None, :, None] - centres[:, 1])
    return np.exp(-((apart / width) ** 2)).sum(axis=2)[None, :, :, None].astype(np.float32)


def cycle_loss(settings, parameters, images, base, masks=None):
    layer = CycleLoss(settings)
    layer.build(parameters.shape, images.shape, base.shape)
    if masks is not None:
        layer.masks.assign(masks)
    layer(*(ops.convert_to_tensor(a) for a in (parameters, images, base)))
    return float(ops.convert_to_numpy(layer.losses[0])), layer


PARAMETERS = np.array([[1.02, 0.98, 0.015, 0.4]], np.float32)


@pytest.mark.parametrize("composed", [False, True])
def test_a_base_transformed_by_known_parameters_is_found_in_both_directions(composed):
    settings = CycleSettings(**vars(PLAIN) | {"enlargement": 2, "composed": composed})
    layer = CycleLoss(settings)
    base = blobs(width=40.0)
    layer.build(PARAMETERS.shape, base.shape, base.shape)
    _, to_images = layer.maps(ops.convert_to_tensor(PARAMETERS))
    fine = layer.enlarge(base)
    image = layer.warped(fine, to_images)
    again = layer.warped(image, layer.maps(ops.convert_to_tensor(PARAMETERS))[0])
    middle = (slice(None), slice(30, 130), slice(30, 130))
    apart = ops.convert_to_numpy(again - fine)[middle]
    # The published cubic, a = -0.75, does not return a slope as it is.
    assert np.abs(apart).max() < 5e-3


def test_true_parameters_cost_least():
    base = blobs()
    settings = CycleSettings(**vars(PLAIN) | {"composed": True})
    layer = CycleLoss(settings)
    layer.build(PARAMETERS.shape, base.shape, base.shape)
    image = ops.convert_to_numpy(
        layer.warped(base, layer.maps(ops.convert_to_tensor(PARAMETERS))[1])
    )
    at_truth, _ = cycle_loss(settings, PARAMETERS, image, base)
    for wrong in np.diag([0.02, 0.02, 0.02, 0.03]).astype(np.float32):
        assert cycle_loss(settings, PARAMETERS + wrong, image, base)[0] > 5 * at_truth


def test_a_spot_of_the_base_is_found_where_scale_shear_and_rotation_lead():
    stretch, rotation = (
        ops.convert_to_numpy(f(ops.convert_to_tensor(PARAMETERS)))[0, :, :2]
        for f in (stretch_map, rotation_map)
    )
    np.testing.assert_allclose(stretch, [[1.02, 0.015], [0.015, 0.98]], rtol=1e-6)
    np.testing.assert_allclose(rotation @ [1, 0], [np.cos(0.4), np.sin(0.4)], rtol=1e-6)


def test_what_lies_outside_the_masks_costs_nothing():
    base = blobs()
    image = base.copy()
    image[0, 38:42, 38:42] += 1.0
    none = np.array([[1, 1, 0, 0]], np.float32)
    masks = discs(80, ring_2_centres(0.2), 11)
    settings = CycleSettings(**vars(PLAIN) | {"n_masks": 6})
    assert cycle_loss(settings, none, image, base, masks)[0] == pytest.approx(0, abs=1e-9)
    assert cycle_loss(PLAIN, none, image, base)[0] > 1e-3


TURNED = np.array([[1.03, 0.97, -0.02, 0.3], [0.95, 1.0, 0.05, 0.7]], np.float32)
AT_DISCS = CycleSettings(**vars(PLAIN) | {"enlargement": 2, "n_masks": 6, "disc_radius": 8.8})


def errors_in_full(layer, masks, images, base, parameters):
    """Return the mean square under every mask, all sampled and masks turned with the patterns."""
    images, base = layer.enlarge(images), layer.enlarge(base)
    to_base, to_images = layer.maps(ops.convert_to_tensor(parameters))
    moved = np.repeat(masks[None, ..., None], len(parameters), axis=0).transpose(0, 2, 3, 1, 4)
    moved = moved[..., 0]
    for matrices in to_images:
        moved = AffineSampler("bilinear")(moved, matrices)
    moved = ops.convert_to_numpy(moved) > 0.5
    errors = (
        layer.warped(images, to_base) - base,
        images - layer.warped(np.repeat(base, len(parameters), axis=0), to_images),
    )
    each = [ops.convert_to_numpy(e)[..., 0] for e in errors]
    looks = (np.broadcast_to(masks.transpose(1, 2, 0) > 0, moved.shape), moved)
    return sum(
        (error[..., None] ** 2 * look).sum(axis=(1, 2)) / look.sum(axis=(1, 2))
        for error, look in zip(each, looks, strict=True)
    ).mean(axis=0)


@pytest.mark.parametrize("composed", [False, True])
def test_to_sample_at_discs_alone_costs_what_sampling_everywhere_does(composed):
    settings = CycleSettings(**vars(AT_DISCS) | {"composed": composed})
    masks, draws = discs(160, ring_2_centres(0.5), 11), np.random.default_rng(0)
    images = np.concatenate([blobs(), blobs(12.0)]) + draws.normal(0, 0.1, (2, 80, 80, 1))
    base = blobs(10.0) + draws.normal(0, 0.1, (1, 80, 80, 1))
    images, base = images.astype(np.float32), base.astype(np.float32)
    loss, layer = cycle_loss(settings, TURNED, images, base, masks)
    in_full = errors_in_full(layer, masks, images, base, TURNED)
    assert loss == pytest.approx(in_full.sum(), rel=1e-5)


def test_a_base_above_the_data_costs_more_where_errors_count_unlike():
    images = np.zeros((1, 20, 20, 1), np.float32)
    none, settings = (
        np.array([[1, 1, 0, 0]], np.float32),
        CycleSettings(**vars(PLAIN) | {"asymmetry": 5.0}),
    )
    above = cycle_loss(settings, none, images, images + 0.1)[0]
    below = cycle_loss(settings, none, images + 0.1, images)[0]
    assert above == pytest.approx(5 * below)


def test_rails_bound_the_loss_of_errors_that_are_too_large():
    images = np.zeros((1, 20, 20, 1), np.float32)
    none = np.array([[1, 1, 0, 0]], np.float32)
    assert cycle_loss(PLAIN, none, images + 0.8, images)[0] == pytest.approx(2 * 0.64, rel=1e-5)
    assert cycle_loss(PLAIN, none, images + 1.5, images)[0] == pytest.approx(2 * 1.5 - 1, rel=1e-5)
    assert cycle_loss(PLAIN, none, images + 10, images)[0] == pytest.approx(3)


def test_scale_and_shear_are_free_up_to_a_limit():
    images = np.zeros((1, 20, 20, 1), np.float32)
    settings = CycleSettings(**vars(PLAIN) | {"scale_weight": 10.0, "shear_weight": 1.0})
    inside, outside = (np.array([[1 + d, 1, d, 0]], np.float32) for d in (0.02, 0.05))
    assert cycle_loss(settings, inside, images, images)[0] == pytest.approx(0, abs=1e-7)
    assert cycle_loss(settings, outside, images, images)[0] == pytest.approx(0.22, rel=1e-4)


def test_parameters_stay_within_their_limits():
    raw = np.array([[50, -50, -3, 50, 0], [0, 0, 2, 0, 0]], np.float32)
    free = ops.convert_to_numpy(AffineParameters()(raw))
    np.testing.assert_allclose(free, [[1.05, 0.95, 0.1, 0], [1, 1, 0, 2]], rtol=1e-6)
    either_sign = ops.convert_to_numpy(AffineParameters(is_rectified=False)(raw))
    np.testing.assert_allclose(either_sign[:, 3], [-3, 2], rtol=1e-6)
    held = ops.convert_to_numpy(AffineParameters()(raw * 50, np.full((2, 1), 0.7, np.float32)))
    np.testing.assert_allclose(held[:, 3], [0.6, 0.8], rtol=1e-6)


def test_a_choice_is_hard_and_yet_has_a_gradient():
    scores = keras.Variable(np.array([[1.0, 3.0, 2.0]], np.float32))
    np.testing.assert_allclose(ops.convert_to_numpy(HardChoice()(scores)), [[0, 1, 0]], atol=1e-6)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    chosen = keras.Model(inputs, HardChoice()(model.output))
    chosen.compile(keras.optimizers.SGD(0.1), "mse")
    before = model.get_weights()[0].copy()
    chosen.train_on_batch(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
    assert (model.get_weights()[0] != before).any()


def test_one_base_serves_all_patterns_and_several_are_chosen_from():
    assert decoder(SMALL).output_shape == (None, 50, 50, 1)
    network = cycle_network(Architecture(50, (5, 2), width=4, n_bases=2), PLAIN, has_prior=False)
    assert (base_of(network, 0) != base_of(network, 1)).any()


def test_the_direct_beam_hides_crystals_from_an_encoder_that_it_does_not_saturate(scans):
    """Its first weights tell patterns of two crystals less apart, by more than ten times."""
    positions = Positions(scans)
    patterns = positions.patterns(positions.of_rows(scans.rows("train")))
    spread = {}
    for saturation in (None, DISC_LEVEL):
        keras.utils.set_random_seed(0)
        architecture = Architecture(patterns.shape[1], (5, 4), width=4)
        network = cycle_network(architecture, PLAIN, has_prior=False, saturation=saturation)
        codes = code_network(network).predict_on_batch(patterns)
        spread[saturation] = np.sqrt(np.mean(np.var(codes, axis=0)))
    assert spread[DISC_LEVEL] > 10 * spread[None]


def test_the_finding_part_answers_as_the_whole_and_survives_saving(tmp_path):
    network = cycle_network(SMALL, PLAIN, has_prior=True)
    x = {
        "patterns": np.random.default_rng(0).random((3, 50, 50, 1)).astype(np.float32),
        "prior": np.zeros((3, 1), np.float32),
    }
    whole = network.predict_on_batch(x)
    np.testing.assert_array_equal(finding_network(network).predict_on_batch(x), whole)
    network.get_layer("cycle").masks.assign(np.zeros((1, 50, 50)))
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again.predict_on_batch(x), whole)
    masks = [v for v in again.non_trainable_variables if v.name == MASKS]
    assert not ops.convert_to_numpy(masks[0]).any()
