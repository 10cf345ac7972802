"""Resized, shifted and rotated images keep what they must keep."""

from __future__ import annotations

import numpy as np
import pytest

from repro.imaging.geometry import resized, rotated, shifted
from repro.imaging.peaks import centre_of_mass


def images_of(n=2, height=6, width=8):
    """Return random images, ``(n, height, width)``, from 0 to 1."""
    return np.random.default_rng(0).random((n, height, width)).astype(np.float32)


def spot(x, y, n=33, width=2.0):
    """Return a round spot of sum 1, ``x`` and ``y`` from the centre [pixels]."""
    away = np.arange(n) - (n - 1) / 2
    shape = np.exp(-((away[:, None] - x) ** 2 + (away - y) ** 2) / (2 * width**2))
    return (shape / shape.sum()).astype(np.float32)


# ---- resizing


def test_a_whole_fraction_of_the_size_averages_over_blocks():
    images = images_of(3, 12, 20)
    blocks = images.reshape(3, 4, 3, 5, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(resized(images, 4, 5), blocks, rtol=1e-6)
    assert resized(images, 4, 5).dtype == np.float32


@pytest.mark.parametrize(("height", "width"), [(54, 72), (7, 11), (1, 1), (210, 1)])
def test_a_smaller_image_keeps_the_mean_and_what_is_even(height, width):
    images = images_of(2, 210, 280)
    smaller = resized(images, height, width)
    assert smaller.shape == (2, height, width)
    np.testing.assert_allclose(smaller.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(resized(np.ones((1, 210, 280)), height, width), 1, rtol=1e-6)


def test_fine_stripes_vanish_and_do_not_come_back_as_broad_ones():
    stripes = np.tile([0.0, 1.0], 140)[None, None].repeat(210, axis=1)
    assert np.ptp(resized(stripes, 54, 72)) < 0.3
    assert np.ptp(resized(stripes, 105, 140)) < 1e-6


def test_a_larger_image_is_linear_between_the_old_pixels():
    ramp = np.broadcast_to(np.arange(8.0), (1, 6, 8))
    larger = resized(ramp, 12, 16)
    expected = np.tile(np.arange(14) / 2 + 0.25, (12, 1))
    np.testing.assert_allclose(larger[0, :, 1:-1], expected, rtol=1e-6)
    assert larger.min() >= 0
    assert larger.max() <= 7


def test_the_same_size_gives_the_same_numbers():
    images = images_of().astype(np.float32)
    np.testing.assert_array_equal(resized(images, 6, 8), images)


# ---- shifting


@pytest.mark.parametrize("columns", [0, 1, -3])
def test_a_shift_by_whole_columns_moves_them_and_holds_the_edge(columns):
    images = images_of()
    moved = shifted(images, np.full(2, columns / 8))
    expected = images[:, :, np.clip(np.arange(8) + columns, 0, 7)]
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_a_shift_by_half_a_column_is_the_mean_of_two():
    images = images_of()
    moved = shifted(images, np.full(2, 0.5 / 8))
    np.testing.assert_allclose(moved[..., :-1], (images[..., :-1] + images[..., 1:]) / 2, rtol=1e-6)


def test_each_image_is_shifted_by_its_own_share():
    images, shifts = images_of(3), np.array([0.1, -0.2, 0.0])
    alone = [shifted(images[[i]], shifts[[i]])[0] for i in range(3)]
    np.testing.assert_array_equal(shifted(images, shifts), alone)


# ---- rotation


def test_a_rotation_by_nothing_changes_nothing():
    patterns = images_of(3, 9, 9)
    np.testing.assert_array_equal(rotated(patterns, 0), patterns)


@pytest.mark.parametrize("turns", [-1, 1, 2])
def test_quarter_turns_move_bins_as_numpy_does(turns):
    patterns = images_of(3, 9, 9)
    expected = np.rot90(patterns, turns, axes=(-2, -1))
    np.testing.assert_allclose(rotated(patterns, 90 * turns), expected, atol=1e-8)


def test_a_rotation_is_from_the_rows_towards_the_columns():
    np.testing.assert_allclose(centre_of_mass(rotated(spot(8, 0), 90)), [0, 8], atol=1e-3)


@pytest.mark.parametrize("degrees", [-3.0, 1.5, 3.0, 20.0])
def test_a_spot_moves_by_the_angle_and_keeps_its_electrons(degrees):
    turned = rotated(spot(8, 3), degrees)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    expected = [8 * cosine - 3 * sine, 8 * sine + 3 * cosine]
    np.testing.assert_allclose(centre_of_mass(turned), expected, atol=0.01)
    assert turned.sum() == pytest.approx(1, abs=1e-3)


def test_patterns_of_a_line_turn_together_and_apart_alike():
    stack = np.stack([[spot(8, 3), spot(-2, 5)], [spot(0, 0), spot(1, -7)]])
    together = rotated(stack, 2.0)
    np.testing.assert_array_equal(together[1, 1], rotated(stack[1, 1], 2.0))


def test_each_image_turns_by_its_own_angle():
    stack, degrees = images_of(4, 9, 12).reshape(2, 2, 9, 12), np.array([30.0, -100.0])
    alone = [rotated(images, angle) for images, angle in zip(stack, degrees, strict=True)]
    np.testing.assert_array_equal(rotated(stack, degrees), alone)
