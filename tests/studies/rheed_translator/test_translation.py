"""What goes into a translator and what comes out are the same quantities, on the same scales."""

from __future__ import annotations

import numpy as np
import pytest

from repro.studies.rheed_translator.published.translation import (
    EXPOSURE,
    NOISE,
    SHIFT,
    Corrected,
    Gated,
    Published,
    altered,
)
from repro.studies.rheed_translator.streaks import DARKEST, log_intensity, streak_centre

SIZE = (24, 32)
CONTENTS = np.array([35.0, 42.5, 50.0, 65.0])


class Echo:
    """A published translator that hands on what it is given, as a perfect one would."""

    def __call__(self, inputs, training):
        return {
            "image_to_image": inputs["image"],
            "stoichiometry_to_image": inputs["image"][::-1],
            "image_to_stoichiometry": inputs["stoichiometry"],
            "stoichiometry_to_stoichiometry": inputs["stoichiometry"][::-1],
            "image_code": np.zeros((len(inputs["image"]), 12)),
            "stoichiometry_code": np.ones((len(inputs["image"]), 12)),
        }


class Says:
    """A network that always gives the same answer."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, inputs, training):
        return self.answer


def bright(n=4, height=24, width=32):
    """Return images none of whose pixels is darker than the logarithm sees."""
    return np.random.default_rng(0).uniform(DARKEST, 1, (n, height, width)).astype(np.float32)


def streak(place, height=40, width=200):
    """Return an image of one streak."""
    x = (np.arange(width) + 0.5) / width
    row = 0.5 * np.exp(-(((x - place) / 0.03) ** 2))
    return np.tile(row, (1, height, 1)).astype(np.float32)


def seeds(n, first=0):
    return np.arange(first, first + n, dtype=np.uint64)


@pytest.mark.parametrize("kind", [Published, Corrected])
def test_what_a_network_is_given_comes_back_in_its_units_if_it_is_handed_on(kind):
    images = bright()
    translation = kind.of(images, CONTENTS, SIZE)
    said = translation.answers(Echo(), translation.inputs(images, CONTENTS))
    np.testing.assert_allclose(said.stoichiometry_of_image, CONTENTS, atol=1e-4)
    np.testing.assert_allclose(said.stoichiometry_of_stoichiometry, CONTENTS[::-1], atol=1e-4)
    np.testing.assert_allclose(said.image_of_image, images, atol=1e-5)
    np.testing.assert_allclose(said.image_of_stoichiometry, images[::-1], atol=1e-5)
    assert (said.image_code == 0).all()
    assert (said.stoichiometry_code == 1).all()
    assert np.isnan([said.low, said.high]).all(), "the published translator has no interval"


@pytest.mark.parametrize("kind", [Published, Corrected])
def test_intensities_come_back_from_the_scale_of_the_network(kind):
    images = bright()
    translation = kind.of(images, CONTENTS, SIZE)
    scaled = translation.to_network(images)
    assert -1e-6 <= scaled.min() < 0.1 < 0.9 < scaled.max() <= 1 + 1e-6
    np.testing.assert_allclose(translation.from_network(scaled), images, rtol=1e-4)


def test_the_published_scales_are_the_extremes_of_the_films():
    images = 0.2 + 0.6 * bright()
    inputs = Published.of(images, CONTENTS, SIZE).inputs(images, CONTENTS)
    for values in inputs.values():
        assert values.min() == pytest.approx(0, abs=1e-6)
        assert values.max() == pytest.approx(1, abs=1e-6)


def test_the_corrected_scale_is_logarithmic_and_the_same_for_all_films():
    one = Corrected.of(bright(), CONTENTS, SIZE)
    other = Corrected.of(0.3 * bright(), CONTENTS, SIZE)
    brightness = np.array([0.0, DARKEST, DARKEST**0.5, 1.0])
    np.testing.assert_allclose(one.to_network(brightness), [0, 0, 0.5, 1], atol=1e-9)
    np.testing.assert_array_equal(other.to_network(brightness), one.to_network(brightness))


@pytest.mark.parametrize("kind", [Published, Corrected])
@pytest.mark.parametrize("shape", [(12, 16), (24, 32), (50, 70)])
def test_images_of_any_size_are_taken(kind, shape):
    inputs = kind.of(bright(), CONTENTS, SIZE).inputs(bright(4, *shape), CONTENTS)
    assert inputs["image"].shape == (4, *SIZE, 1)
    assert inputs["stoichiometry"].shape == (4, 1)
    assert {values.dtype for values in inputs.values()} == {np.dtype("float32")}


def test_the_published_translator_sees_films_as_they_are():
    translation = Published.of(bright(), CONTENTS, SIZE)
    clear = translation.inputs(bright(), CONTENTS)
    np.testing.assert_equal(translation.augmented(bright(), CONTENTS, seeds(4)), clear)


def test_the_corrected_translator_sees_other_images_with_the_same_sr_content():
    translation, images = Corrected.of(bright(), CONTENTS, SIZE), bright()
    clear = translation.inputs(images, CONTENTS)
    given = translation.augmented(images, CONTENTS, seeds(4))
    np.testing.assert_array_equal(given["stoichiometry"], clear["stoichiometry"])
    assert not np.isclose(given["image"], clear["image"]).all(axis=(1, 2, 3)).any()
    assert {values.dtype for values in given.values()} == {np.dtype("float32")}


# ---- augmentation


def test_what_alters_a_film_depends_on_its_seed_alone():
    images = bright(3)
    together = altered(images, seeds(3, first=7))
    for i in range(3):
        alone = altered(images[i : i + 1], seeds(1, first=7 + i))
        np.testing.assert_array_equal(alone[0], together[i])
    same_film = altered(images[[0, 0]], seeds(2))
    assert not np.isclose(same_film[0], same_film[1]).all(), "two seeds alter alike"


def test_seeds_of_64_bits_are_taken():
    largest = np.array([2**64 - 1], dtype=np.uint64)
    assert np.isfinite(altered(bright(1), largest)).all()


def test_a_film_is_shifted_by_a_fiftieth_of_its_width_at_most_to_either_side():
    moved = np.array([streak_centre(altered(streak(0.5), seeds(1, i)))[0] - 0.5 for i in range(60)])
    assert np.abs(moved).max() < SHIFT + 0.005
    assert moved.min() < -SHIFT / 2
    assert moved.max() > SHIFT / 2
    assert SHIFT <= 0.02


def test_exposure_changes_by_a_tenth_at_most_and_noise_is_a_hundredth():
    grey = np.full((60, 40, 50), 0.5, dtype=np.float32)
    found = altered(grey, seeds(60))
    exposure = found.mean(axis=(1, 2)) / 0.5
    assert 1 - EXPOSURE - 0.01 < exposure.min() < 0.95 < 1.05 < exposure.max() < 1 + EXPOSURE + 0.01
    assert found.std(axis=(1, 2)) == pytest.approx(NOISE, rel=0.1)
    assert EXPOSURE <= 0.1
    assert NOISE <= 0.01


def test_intensities_stay_fractions_of_full_scale():
    found = altered(np.stack([np.zeros((20, 30)), np.ones((20, 30))]), seeds(2, first=3))
    assert 0 <= found.min() < found.max() <= 1


# ---- the gated CNN


def test_the_gated_cnn_answers_in_at_percent_and_sees_logarithms_film_by_film():
    gated, images = Gated(*SIZE), bright()
    np.testing.assert_allclose(
        gated.stoichiometry(Says(np.array([[0.4], [0.65]])), images[:2]), [40, 65]
    )
    np.testing.assert_allclose(gated.inputs(images)[..., 0], log_intensity(images), atol=1e-6)
    np.testing.assert_allclose(gated.inputs(images / 2), gated.inputs(images), atol=1e-5)
