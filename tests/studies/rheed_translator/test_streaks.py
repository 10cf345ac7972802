"""Streaks are found where they were drawn, and the ratios are those of the pattern alone."""

from __future__ import annotations

import numpy as np
import pytest

from repro.studies.rheed_translator.streaks import (
    HIGHEST_RATIO,
    LEAST_CONTRAST,
    STREAK_BAND,
    above_background,
    aligned,
    folded_profile,
    lateral_profile,
    log_intensity,
    order_ratios,
    spacings_beside,
    streak_centre,
    streak_ratios,
    streak_spacings,
    typical_spacing,
)

SPACING, FWHM = 0.17, 0.3  # share of the width, spacings
SIZES = [(48, 64), (105, 140), (210, 280), (540, 720)]


def pattern(ratios=(0.4, 0.15), fwhm=FWHM, centre=0.5, spacing=SPACING, size=(105, 140)):
    """Return one film of Gaussian streaks, bright at the top, ``(1, height, width)``."""
    height, width = size
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    lateral = np.zeros(width)
    for order in range(-2, 3):
        brightness = (1.0, *ratios)[abs(order)]
        distance = (x - centre) / spacing - order
        lateral += brightness * np.exp(-4 * np.log(2) * (distance / fwhm) ** 2)
    return (np.exp(-2 * y)[:, None] * lateral)[None]


def ratios_of(images):
    centre = streak_centre(images)
    return streak_ratios(images, centre, spacings_beside(SPACING, images, centre))


def spacings_of(images):
    return streak_spacings(images, streak_centre(images))


def streaks_of(images, centre=0.5):
    profile = lateral_profile(images, STREAK_BAND)
    return above_background(folded_profile(profile, np.array([centre]), np.array([SPACING])))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("centre", [0.42, 0.5, 0.5137])
def test_the_00_streak_is_found_within_a_fifth_of_a_pixel(size, centre):
    found = streak_centre(pattern(centre=centre, size=size))
    assert abs(found[0] - centre) < 0.2 / size[1]


@pytest.mark.parametrize("size", SIZES)
def test_the_spacing_of_each_image_is_found(size):
    drawn = [0.13, 0.153, 0.17, 0.2]
    images = np.concatenate([pattern(centre=0.48, spacing=s, size=size) for s in drawn])
    found, contrasts = spacings_of(images)
    np.testing.assert_allclose(found, drawn, atol=0.004)
    assert (contrasts > 2 * LEAST_CONTRAST).all()


def test_an_image_without_side_streaks_is_known_and_does_not_set_the_typical_spacing():
    images = np.concatenate([pattern(spacing=0.153), pattern((0, 0)), pattern((0, 0))])
    spacings, contrasts = spacings_of(images)
    assert (contrasts < LEAST_CONTRAST).tolist() == [False, True, True]
    assert typical_spacing(spacings, contrasts) == pytest.approx(0.153, abs=0.002)


@pytest.mark.parametrize("spacing", [0.15, 0.16, 0.18])  # 6 % and more
def test_another_magnification_leaves_the_ratios_alone(spacing):
    other = ratios_of(pattern(spacing=spacing, size=(210, 280)))
    np.testing.assert_allclose(other, ratios_of(pattern(size=(210, 280))), atol=0.02)


def test_films_before_one_camera_are_read_at_one_spacing():
    images = np.concatenate([pattern(spacing=s) for s in (0.166, 0.17, 0.175, 0.185)])
    found = spacings_beside(SPACING, images, streak_centre(images))
    assert found[:3].tolist() == [SPACING] * 3
    assert found[3] == pytest.approx(0.185, abs=0.002)


def test_the_row_band_of_a_profile_is_a_share_of_the_height():
    rows = np.repeat(np.arange(10.0)[:, None], 4, axis=1)[None]
    np.testing.assert_array_equal(lateral_profile(rows, (0.2, 0.5)), np.full((1, 4), 3.0))


@pytest.mark.parametrize("ratios", [(0.4, 0.2), (0.13, 0.03), (0.0, 0.0)])
@pytest.mark.parametrize("size", SIZES)
def test_the_ratios_that_a_pattern_was_drawn_with_are_read_from_it(ratios, size):
    found = order_ratios(streaks_of(pattern(ratios, size=size)))
    np.testing.assert_allclose(found[0], ratios, atol=0.01)


def test_another_exposure_and_an_even_background_leave_the_ratios_alone():
    image = pattern()
    np.testing.assert_allclose(ratios_of(0.3 * image), ratios_of(image), atol=1e-9)
    np.testing.assert_allclose(ratios_of(image + 0.2), ratios_of(image), atol=1e-9)


def test_a_background_that_falls_along_the_width_leaves_the_ratios_alone():
    image = pattern()
    slope = np.linspace(0.3, 0.1, image.shape[2])
    np.testing.assert_allclose(ratios_of(image + slope), ratios_of(image), atol=0.02)


def test_a_mirrored_image_has_the_same_ratios():
    image = pattern(centre=0.46)
    np.testing.assert_allclose(ratios_of(image[:, :, ::-1]), ratios_of(image), atol=1e-9)


@pytest.mark.parametrize("centre", [0.4, 0.437, 0.55])
def test_a_shift_leaves_the_ratios_alone(centre):
    np.testing.assert_allclose(ratios_of(pattern(centre=centre)), ratios_of(pattern()), atol=0.01)


@pytest.mark.parametrize("size", SIZES)
def test_the_size_of_the_image_leaves_the_ratios_alone(size):
    large = ratios_of(pattern(size=(540, 720)))
    np.testing.assert_allclose(ratios_of(pattern(size=size)), large, atol=0.07)


def test_a_half_that_the_image_does_not_show_is_not_counted():
    centre = 0.25  # the second order on the left is outside
    found = order_ratios(streaks_of(pattern(centre=centre), centre))
    np.testing.assert_allclose(found[0], (0.4, 0.15), atol=0.02)


def test_films_do_not_mix():
    one, other = pattern((0.4, 0.2), centre=0.45), pattern((0.1, 0.05), centre=0.53)
    together = ratios_of(np.concatenate([one, other]))
    np.testing.assert_allclose(together, np.concatenate([ratios_of(one), ratios_of(other)]))


@pytest.mark.parametrize("centre", [0.42, 0.51, 0.56])
def test_aligned_patterns_do_not_depend_on_where_the_pattern_was(centre):
    images = np.concatenate([pattern(centre=centre), pattern(centre=0.5)])
    moved, still = aligned(images, streak_centre(images), 48, 64)
    np.testing.assert_allclose(moved, still, atol=0.02)
    assert streak_centre(moved[None])[0] == pytest.approx(0.5, abs=0.2 / 64)


def test_what_is_moved_in_from_outside_the_image_is_its_outermost_column():
    image = np.tile(np.arange(8.0), (1, 4, 1))
    moved = aligned(image, np.array([0.75]), 4, 8)
    np.testing.assert_allclose(moved[0, 0], [2, 3, 4, 5, 6, 7, 7, 7])


def test_the_logarithm_of_the_intensity_does_not_depend_on_exposure():
    image = pattern()
    values = log_intensity(image)
    assert values.min() == 0
    assert values.max() == pytest.approx(1)
    np.testing.assert_allclose(log_intensity(255 * image), values, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_an_even_image_gives_numbers_all_the_same(value):
    image = np.full((1, 48, 64), value)
    assert np.isfinite(log_intensity(image)).all()
    assert np.isfinite(ratios_of(image)).all()


def test_noise_gives_ratios_within_their_bounds():
    noise = np.random.default_rng(0).random((50, 48, 64))
    found = ratios_of(noise)
    assert np.isfinite(found).all()
    assert found.max() <= HIGHEST_RATIO
