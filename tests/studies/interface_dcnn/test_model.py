"""The published network is the published one, and ours serves every thickness."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from repro.errors import ReproError
from repro.studies.interface_dcnn.model import (
    Architecture,
    ByThickness,
    improved_network,
    published_network,
)
from repro.studies.interface_dcnn.recipe import FAITHFUL
from repro.training.dropout import Dropout
from repro.training.precision import precision

DESK = (13, 16, 16, 1)
SMALL = (5, 8, 8, 1)
TINY = Architecture(n_convolutions=1, n_filters=2, dense=(8, 4))


def kinds(network):
    """Return the types of a network's layers in order."""
    return [type(layer) for layer in network.layers[1:]]


def patterns(shape=SMALL, n=3):
    return np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)


def test_the_published_network_has_its_layers_in_the_order_of_the_text():
    convolutions = 3 * [layers.Conv3D, Dropout]
    dense = 2 * [layers.Dense, Dropout]
    found = kinds(published_network(DESK, 2, Architecture()))
    # No pooling between convolutions, one average pooling after all of them.
    pooled = [layers.AveragePooling3D, layers.Flatten]
    assert found == [*convolutions, *pooled, *dense, layers.Dense]


def test_every_layer_but_the_last_drops_fifteen_per_cent():
    network = published_network(DESK, 2, Architecture())
    rates = [layer.rate for layer in network.layers if isinstance(layer, Dropout)]
    assert rates == [0.15] * 5
    x, seen = patterns(DESK, 1), set()
    for _ in range(3):
        seen.add(np.asarray(network(x, training=True)).tobytes())
    assert len(seen) == 3, "dropout drops nothing"
    np.testing.assert_array_equal(network(x, training=False), network(x, training=False))


@pytest.mark.parametrize("n_outputs", [1, 2, 11])
def test_the_network_of_preset_desk_has_as_many_weights_as_its_layers_ask_for(n_outputs):
    first, other = 27 * 16 + 16, 27 * 16 * 16 + 16
    flat = 7 * 2 * 2 * 16  # three convolutions take six of each axis, pooling by 1, 4, 4
    dense = (flat + 1) * 128 + (128 + 1) * 64 + (64 + 1) * n_outputs
    network = published_network(DESK, n_outputs, FAITHFUL["desk"].architecture)
    assert network.count_params() == first + 2 * other + dense


@pytest.mark.parametrize(
    ("preset", "shape"), [("smoke", (9, 16, 16, 1)), ("desk", DESK), ("paper", (19, 32, 32, 1))]
)
@pytest.mark.parametrize("pooling", ["none", "max", "average"])
def test_patterns_of_every_preset_fit_their_network(preset, shape, pooling):
    architecture = replace(FAITHFUL[preset].architecture, pooling=pooling)
    assert published_network(shape, 11, architecture).output_shape == (None, 11)


def test_classes_get_shares_that_sum_to_one():
    shares = published_network(SMALL, 11, TINY).predict(patterns(), verbose=0)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert shares.min() >= 0


def test_a_regression_may_answer_any_number():
    network = published_network(SMALL, 1, TINY)
    answer = network.layers[-1]
    assert answer.activation is keras.activations.linear
    answer.set_weights([np.zeros((4, 1)), np.array([-7.0])])
    np.testing.assert_allclose(network.predict(patterns(), verbose=0), -7)


@pytest.mark.parametrize(
    ("pooling", "layer"), [("max", layers.MaxPooling3D), ("average", layers.AveragePooling3D)]
)
def test_the_failed_alternative_pools_after_each_convolution_and_is_else_the_same(pooling, layer):
    network = published_network(DESK, 2, Architecture(pooling=pooling))
    found = kinds(network)
    assert found[:9] == 3 * [layers.Conv3D, layer, Dropout]
    assert found[9:] == kinds(published_network(DESK, 2, Architecture()))[6:]


@pytest.mark.parametrize("shape", [(6, 16, 16, 1), (13, 6, 6, 1)])
def test_patterns_too_small_for_the_convolutions_are_refused(shape):
    with pytest.raises(ReproError, match="too small for 3 convolutions of width 3"):
        published_network(shape, 2, Architecture())


def with_thickness(thickness, shape=SMALL):
    return {"patterns": patterns(shape), "thickness": np.full((3, 1), thickness, np.float32)}


def test_our_network_answers_by_thickness_once_it_has_learnt_to():
    network = improved_network(SMALL, 2, 4)

    def answers(thickness):
        return network.predict(with_thickness(thickness), verbose=0)

    np.testing.assert_array_equal(answers(-1), answers(1))
    at_first = answers(0)
    for layer in network.layers:
        if isinstance(layer, ByThickness):
            layer.slope.assign(np.full(layer.slope.shape, 0.5))
    assert np.abs(answers(-1) - answers(1)).max() > 1e-3
    np.testing.assert_allclose(answers(0), at_first, rtol=1e-5)


def test_channels_are_scaled_and_shifted_by_the_thickness_of_their_own_example():
    layer, x = ByThickness(), patterns((2, 4, 4, 3))
    thickness = np.array([[-1], [0], [0.5]], np.float32)
    layer([x, thickness])
    gain, shift = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, -3.0])
    layer.slope.assign(np.stack([gain, shift]))
    t = thickness[:, :, None, None, None]
    np.testing.assert_allclose(layer([x, thickness]), x * (1 + t * gain) + t * shift, atol=1e-5)


def test_our_network_takes_all_lines_of_a_cell_at_once():
    shape = (5, 8, 8, 4)
    network = improved_network(shape, 11, 4)
    shares = network.predict(with_thickness(0.3, shape), verbose=0)
    assert shares.shape == (3, 11)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_networks_that_compute_in_sixteen_bits_answer_in_float32(policy):
    with precision(policy):
        published = published_network(SMALL, 11, TINY)
        ours = improved_network(SMALL, 11, 4)
    for network, inputs in ((published, patterns()), (ours, with_thickness(0.5))):
        assert any(layer.compute_dtype == policy.split("_")[1] for layer in network.layers)
        network.compile(jit_compile=True)  # TensorFlow pools float16 on a CPU under XLA alone
        answer = network.predict(inputs, verbose=0)
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)


def test_our_network_comes_back_from_its_file(tmp_path):
    network = improved_network(SMALL, 2, 4)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    expected = network.predict(with_thickness(0.5), verbose=0)
    np.testing.assert_allclose(again.predict(with_thickness(0.5), verbose=0), expected, rtol=1e-6)
