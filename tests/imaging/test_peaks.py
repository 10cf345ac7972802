"""Peaks are found where they were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from repro.imaging.peaks import centre_of_mass, parabola_offset


def offset_of(values):
    first, second, third = values
    return parabola_offset(np.array([first - third]), np.array([first - 2 * second + third]))[0]


@pytest.mark.parametrize("top", [-0.5, -0.2, 0.0, 0.4])
@pytest.mark.parametrize("height", [0.01, 3.0])
def test_the_top_of_a_parabola_is_found(top, height):
    assert offset_of(5 - height * (np.arange(-1, 2) - top) ** 2) == pytest.approx(top, abs=1e-9)


@pytest.mark.parametrize(("values", "offset"), [((3, 2, 0.9), -0.5), ((0.9, 2, 3), 0.5)])
def test_a_peak_beyond_the_neighbours_is_taken_half_a_pixel_away(values, offset):
    assert offset_of(values) == offset


@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, 1.0, 4.0)])
def test_values_without_a_maximum_have_no_offset(values):
    assert offset_of(values) == 0


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, -2), (-4, 5)])
def test_the_centre_of_mass_goes_with_a_shifted_spot(x, y):
    images = np.zeros((1, 2, 17, 19), np.float32)
    images[0, 0, 8, 9] = 1
    images[0, 1, 7 + x : 10 + x, 8 + y : 11 + y] = 5
    np.testing.assert_allclose(centre_of_mass(images), [[[0, 0], [x, y]]], atol=1e-6)


def test_a_dark_image_has_its_centre_of_mass_in_the_middle():
    assert not centre_of_mass(np.zeros((1, 2, 4, 4), np.float32)).any()
