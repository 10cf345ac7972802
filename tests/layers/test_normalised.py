"""Normalisation over the image equals its definition, and so does its gradient."""

from __future__ import annotations

import runpy
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from repro.layers.normalised import ImageNormalization, normalised_convolution

SAMPLE = Path(__file__).with_name("sample.py")
SHAPE = (5, 6, 4, 3)


def with_weights(dtype: str) -> ImageNormalization:
    """Return a layer whose gain and shift differ from pixel to pixel."""
    rng = np.random.default_rng(1)
    layer = ImageNormalization(dtype=dtype)
    layer.build(SHAPE)
    layer.set_weights([rng.normal(1, 0.3, SHAPE[1:3]), rng.normal(size=SHAPE[1:3])])
    return layer


def defined(images: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return images normalised as PyTorch defines it."""
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    variance = (centred**2).mean(axis=(1, 2), keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + shift


def weights_of(layer: ImageNormalization) -> list[np.ndarray]:
    """Return gain and shift as `defined` takes them."""
    return [w[None, :, :, None] for w in layer.get_weights()]


def test_it_equals_its_definition():
    layer, images = with_weights("float32"), np.random.default_rng(0).normal(2, 3, SHAPE)
    found = ops.convert_to_numpy(layer(images.astype("f4")))
    np.testing.assert_allclose(found, defined(images, *weights_of(layer)), atol=1e-5)


def test_images_far_from_zero_keep_their_digits():
    layer, images = with_weights("float32"), np.random.default_rng(0).normal(0, 1, SHAPE)
    near, far = (ops.convert_to_numpy(layer((images + mean).astype("f4"))) for mean in (0, 1000))
    np.testing.assert_allclose(far, near, atol=2e-3)


def test_its_gradient_is_the_slope_of_small_steps():
    """By images, gain and shift alike."""
    script = runpy.run_path(str(SAMPLE))
    found, inputs, step = script["normalising"]("float64"), script["TO_NORMALISE"], 1e-6
    draws = np.random.default_rng(2)
    for name, start in inputs.items():
        direction = draws.normal(size=start.shape)
        ends = [
            np.sum(defined(**{**inputs, name: start + side * direction}) ** 2)
            for side in (step, -step)
        ]
        slope = np.subtract(*ends) / (2 * step)
        assert np.sum(found[f"normalised_by_{name}"] * direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_it_computes_in_single_precision_at_least(policy):
    layer = with_weights(policy)
    images = np.random.default_rng(0).normal(0, 1, SHAPE).astype("f4")
    found = layer(images)
    assert keras.backend.standardize_dtype(found.dtype) == layer.compute_dtype
    rounded = ops.convert_to_numpy(ops.cast(ops.cast(images, layer.compute_dtype), "float32"))
    wanted = defined(rounded, *weights_of(layer))
    near = 1e-5 if policy == "float32" else 2e-2
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(found, "float32")), wanted, atol=near)


def test_a_bias_before_it_stays_as_it_was_drawn(tmp_path):
    inputs = keras.Input((6, 4, 3))
    network = keras.Model(inputs, normalised_convolution(inputs))
    assert [tuple(w.shape) for w in network.non_trainable_weights] == [(3,)]
    network.save(tmp_path / "network.keras")
    images = np.random.default_rng(0).normal(size=SHAPE).astype("f4")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again.predict_on_batch(images), network.predict_on_batch(images))
