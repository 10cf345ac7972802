"""First weights are drawn as PyTorch draws them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from repro.layers.pytorch import convolution, dense


@pytest.mark.parametrize(
    ("make", "shape", "n_inputs"),
    [
        (lambda x: dense(x, 300), (48,), 48),
        (lambda x: convolution(x, 300, 3, padding="same"), (9, 9, 7), 63),
    ],
)
def test_kernel_and_bias_are_uniform_within_one_over_the_root_of_the_inputs(make, shape, n_inputs):
    inputs = keras.Input(shape)
    kernel, bias = keras.Model(inputs, make(inputs)).get_weights()
    for weights in (kernel, bias):
        assert 0.95 * n_inputs**-0.5 < np.abs(weights).max() <= n_inputs**-0.5
        assert np.std(weights) == pytest.approx((3 * n_inputs) ** -0.5, rel=0.1)


def test_a_bias_that_is_asked_for_is_kept():
    inputs = keras.Input((4,))
    network = keras.Model(inputs, dense(inputs, 2, bias_initializer="ones"))
    np.testing.assert_array_equal(network.get_weights()[1], 1)
