"""Images are sampled where the map leads, with PyTorch's weights, under both backends alike."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from repro.layers.sampling import AffineSampler, Resize, compose, inverse
from repro.training.precision import precision

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).with_name("sample.py")
INTERPOLATIONS = ["bilinear", "bicubic"]
IDENTITY = np.eye(2, 3, dtype=np.float32)[None]


def images_of(n=2, height=8, width=12, channels=3):
    draws = np.random.default_rng(1)
    return draws.normal(size=(n, height, width, channels)).astype(np.float32)


def smooth(n=64):
    """Return an image of two broad spots, 0 at the edge, ``(1, n, n, 1)``."""
    x = (np.arange(n) + 0.5) / n * 2 - 1
    spots = [
        np.exp(-((x[:, None] - y) ** 2 + (x - z) ** 2) / 0.1) for y, z in ((0.1, 0.2), (-0.2, 0))
    ]
    return sum(spots)[None, :, :, None].astype(np.float32)


def maps_of(*rows):
    return np.array([rows], dtype=np.float32)


def turn(degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return maps_of((cosine, -sine, 0), (sine, cosine, 0))


def sample(images, maps, interpolation, **keywords):
    maps = np.broadcast_to(maps, (len(images), 2, 3))
    return keras.ops.convert_to_numpy(AffineSampler(interpolation, **keywords)(images, maps))


# ---- affine maps


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_identity_changes_nothing(interpolation):
    images = images_of()
    np.testing.assert_array_equal(sample(images, IDENTITY, interpolation), images)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -2), (-1, 5), (40, 0), (1e9, -1e9)])
def test_a_shift_by_whole_pixels_moves_them_and_leaves_darkness(interpolation, right, down):
    images = images_of()
    shift = maps_of((1, 0, 2 * right / 12), (0, 1, 2 * down / 8))
    expected = np.zeros_like(images)
    for row, column in np.ndindex(8, 12):
        if 0 <= row + down < 8 and 0 <= column + right < 12:
            expected[:, row, column] = images[:, int(row + down), int(column + right)]
    np.testing.assert_allclose(sample(images, shift, interpolation), expected, atol=1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_move_pixels_as_numpy_does(interpolation, quarters):
    images = images_of(height=9, width=9)
    expected = np.rot90(images, quarters, axes=(1, 2))
    np.testing.assert_allclose(
        sample(images, turn(90 * quarters), interpolation), expected, atol=1e-4
    )


def test_each_image_has_its_own_map():
    images, maps = images_of(3), np.concatenate([IDENTITY, turn(30), turn(-70)])
    alone = [sample(images[[i]], maps[i], "bicubic")[0] for i in range(3)]
    np.testing.assert_allclose(sample(images, maps, "bicubic"), alone, atol=1e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_values_are_those_of_pytorch(interpolation):
    # affine_grid and grid_sample of PyTorch 2.15, align_corners=False, zeros beyond the edge.
    expected = {
        "bilinear": [
            [0.039, 0.222, 0.675, 0.85],
            [0.934, 2.21, 3.99, 6.354],
            [4.39, 7.154, 8.829, 6.882],
        ],
        "bicubic": [
            [-0.08302, -0.12228, 0.54371, 0.82158],
            [0.48584, 1.57984, 4.3155, 7.37588],
            [5.61895, 8.20148, 9.31258, 8.7613],
        ],
    }[interpolation]
    images = (np.arange(12.0).reshape(1, 3, 4, 1) ** 2 / 10).astype(np.float32)
    found = sample(images, maps_of((0.8, -0.3, 0.2), (0.4, 1.1, -0.1)), interpolation)
    np.testing.assert_allclose(found[0, :, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("interpolation", "most"), [("bilinear", 0.015), ("bicubic", 0.008)])
def test_a_map_and_its_inverse_give_the_image_back_but_for_interpolation(interpolation, most):
    there = maps_of((0.97, -0.2, 0.05), (0.25, 1.04, -0.03))
    image = smooth()
    back = sample(sample(image, there, interpolation), inverse(there), interpolation)
    assert np.abs(back - image).max() < most


def test_a_map_composed_with_its_inverse_is_the_identity():
    there = np.concatenate([turn(33), maps_of((0.9, 0.1, 0.4), (0.2, 1.2, -0.3))])
    for both in (compose(there, inverse(there)), compose(inverse(there), there)):
        np.testing.assert_allclose(both, np.repeat(IDENTITY, 2, axis=0), atol=1e-6)


def test_sampling_by_two_maps_in_turn_is_sampling_by_the_composed_one():
    stretch, image = maps_of((1.03, 0.02, 0), (0.02, 0.98, 0.1)), smooth()
    in_turn = sample(sample(image, stretch, "bicubic"), turn(20), "bicubic")
    at_once = sample(image, compose(stretch, turn(20)), "bicubic")
    other_way = sample(image, compose(turn(20), stretch), "bicubic")
    assert np.abs(in_turn - at_once).max() < 0.02 < np.abs(in_turn - other_way).max()


def test_the_size_of_what_comes_out_is_free_and_spans_the_same_image():
    image = smooth(32)
    larger = sample(image, IDENTITY, "bicubic", size=(64, 96))
    assert larger.shape == (1, 64, 96, 1)
    expected = keras.ops.convert_to_numpy(Resize((64, 96), "bicubic")(image))
    inside = np.s_[:, 6:-6, 9:-9]  # at the edge one knows darkness, the other repeats pixels
    np.testing.assert_allclose(larger[inside], expected[inside], atol=1e-5)


# ---- gradients, backends, precision


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_gradients_are_the_slopes_of_small_steps(interpolation):
    script = runpy.run_path(str(SAMPLE))
    found, step = script["sampled"]("float64"), 1e-6
    layer = AffineSampler(interpolation, (8, 13), dtype="float64")
    inputs = {"images": script["IMAGES"], "maps": script["MAPS"]}
    draws = np.random.default_rng(2)

    def total(**inputs):
        return float(np.square(layer(*inputs.values())).sum())

    for name, values in inputs.items():
        direction = draws.normal(size=values.shape)
        ends = (total(**{**inputs, name: values + side * direction}) for side in (step, -step))
        slope = np.subtract(*ends) / (2 * step)
        gradient = np.sum(found[f"{interpolation}_by_{name}"] * direction)
        assert gradient == pytest.approx(slope, rel=1e-6), name


def test_jax_gives_the_values_and_gradients_of_tensorflow(tmp_path):
    out = tmp_path / "jax.npz"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, SAMPLE, out], check=True, env=environment)
    with np.load(out) as by_jax:
        script = runpy.run_path(str(SAMPLE))
        for name, values in (
            script["sampled"]("float32") | script["normalising"]("float32")
        ).items():
            np.testing.assert_allclose(by_jax[name], values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_maps_keep_their_precision_in_mixed_precision():
    images, stretch = images_of(width=64), maps_of((1.0035, 0, 0), (0, 1, 0))
    with precision("mixed_bfloat16"):
        found = AffineSampler("bicubic")(images, np.repeat(stretch, 2, axis=0))
    assert found.dtype == "bfloat16"
    exact = sample(images, stretch, "bicubic")
    rounding = 2**-8 * np.abs(exact).max()
    np.testing.assert_allclose(keras.ops.cast(found, "float32"), exact, atol=rounding)
    assert np.abs(exact - images).max() > 5 * rounding, "bfloat16 would round the map to 1"


@pytest.mark.parametrize(
    "layer", [AffineSampler("bicubic", (5, 7)), Resize((4, 9), "bilinear", True)]
)
def test_a_network_with_the_layer_is_saved_and_loaded(layer, tmp_path):
    inputs = [keras.Input((6, 8, 1))]
    inputs += [keras.Input((2, 3))] if isinstance(layer, AffineSampler) else []
    network = keras.Model(inputs, layer(*inputs))
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    data = [images_of(2, 6, 8, 1), np.repeat(turn(10), 2, axis=0)][: len(inputs)]
    found = [n.predict(data if len(data) > 1 else data[0], verbose=0) for n in (network, loaded)]
    assert network.output_shape[1:] == found[0].shape[1:]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("make", [AffineSampler, lambda name: Resize((2, 2), name)])
def test_an_unknown_interpolation_is_refused_with_the_known_ones(make):
    with pytest.raises(ValueError, match=r"'nearest' .* bilinear or bicubic"):
        make("nearest")


# ---- resizing


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("corners", [True, False])
def test_the_same_size_changes_nothing(interpolation, corners):
    images = images_of()
    found = Resize((8, 12), interpolation, corners)(images)
    np.testing.assert_allclose(found, images, atol=1e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_corners_stay_if_they_are_aligned(interpolation):
    images = images_of()
    found = keras.ops.convert_to_numpy(Resize((17, 30), interpolation, align_corners=True)(images))
    ends = np.ix_(range(2), (0, -1), (0, -1), range(3))
    np.testing.assert_allclose(found[ends], images[ends], atol=1e-5)


def test_bicubic_resizing_has_the_values_of_pytorch():
    # interpolate of PyTorch 2.15, mode="bicubic", align_corners=False.
    expected = [
        [-0.14108, -0.14467, -0.0219, 0.13877],
        [0.76411, 1.04292, 1.60718, 2.05024],
        [1.6693, 2.23051, 3.23625, 3.96172],
    ]
    images = (np.arange(12.0).reshape(1, 3, 4, 1)[:, :2, :3] ** 2 / 10).astype(np.float32)
    np.testing.assert_allclose(Resize((3, 4), "bicubic")(images)[0, :, :, 0], expected, atol=1e-5)
