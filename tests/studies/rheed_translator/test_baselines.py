"""Simple models are exact where their assumption holds, and take any number of films."""

from __future__ import annotations

import numpy as np
import pytest

from repro.studies.rheed_translator import baselines
from repro.studies.rheed_translator.baselines import DRAW, READ

pytestmark = pytest.mark.slow

CONTENTS = np.array([33.0, 40.0, 41.0, 52.0, 54.0, 55.0, 61.0, 70.0])
NEW = np.array([35.0, 44.0, 47.5, 58.0, 69.0])


def streaks(contents, place=0.5, height=48, width=160):
    """Return images whose second order falls in a line with the Sr content, nothing else."""
    x = (np.arange(width) + 0.5) / width - place
    second = 0.4 - 0.005 * contents[:, None]
    rows = sum(
        strength * (np.exp(-(((x - order * 0.17) / 0.012) ** 2)))
        for order, strength in ((-2, second), (-1, 0.3), (0, 1.0), (1, 0.3), (2, second))
    )
    return np.repeat(rows[:, None], height, axis=1).astype(np.float32)


def along_a_line(contents, height=34, width=45):
    """Return images that change in a line with the Sr content."""
    first, last = np.random.default_rng(0).random((2, height, width))
    share = ((contents - 30) / 40)[:, None, None]
    return first + share * (last - first)


def test_the_mean_is_that_of_the_training_films():
    images, asked = streaks(CONTENTS), streaks(NEW)
    found = baselines.mean_content(images, CONTENTS, asked)
    np.testing.assert_allclose(found, np.full(5, CONTENTS.mean()))
    drawn = baselines.mean_image(images, CONTENTS, NEW)
    np.testing.assert_allclose(drawn, np.repeat(images.mean(axis=0)[None], 5, axis=0))


def test_one_ratio_finds_a_law_that_is_linear_in_the_second_order():
    found = baselines.one_ratio(streaks(CONTENTS), CONTENTS, streaks(NEW))
    np.testing.assert_allclose(found, NEW, atol=0.05)


def test_one_ratio_is_not_misled_by_exposure_or_by_where_the_pattern_stands():
    asked = 0.3 * streaks(NEW, place=0.5 + 0.025)  # four whole pixels
    found = baselines.one_ratio(streaks(CONTENTS), CONTENTS, asked)
    np.testing.assert_allclose(found, NEW, atol=0.05)


def test_principal_components_find_a_law_that_is_linear_in_the_image():
    found = baselines.components(along_a_line(CONTENTS), CONTENTS, along_a_line(NEW))
    np.testing.assert_allclose(found, NEW, atol=0.05)


def test_principal_components_find_nothing_where_nothing_is():
    draws = np.random.default_rng(0)
    images, asked = draws.random((2, 24, 34, 45))
    contents = draws.uniform(33, 70, 24)
    found = baselines.components(images, contents, asked)
    assert found.std() < contents.std() / 2, "the penalty is too weak"


def test_the_nearest_film_to_a_training_film_is_itself():
    images = streaks(CONTENTS)
    order = np.array([3, 0, 7])
    found = baselines.nearest_film(images, CONTENTS, images[order] + 1e-4)
    np.testing.assert_array_equal(found, CONTENTS[order])


@pytest.mark.parametrize("contents", [np.arange(30.0, 71.0, 5.0), np.arange(70.0, 29.0, -4.0)])
def test_between_films_images_that_are_linear_in_sr_content_are_drawn_exactly(contents):
    drawn = baselines.between_nearest(along_a_line(contents), contents, NEW)
    np.testing.assert_allclose(drawn, along_a_line(NEW), atol=1e-9)


def test_a_training_film_is_drawn_as_it_is():
    images = along_a_line(CONTENTS)
    drawn = baselines.between_nearest(images, CONTENTS, CONTENTS[::-1])
    np.testing.assert_allclose(drawn, images[::-1], atol=1e-12)


def test_outside_all_films_the_two_outermost_count_by_how_near_they_are():
    images = along_a_line(CONTENTS)
    edge, next_one = np.sort(CONTENTS)[:2]
    drawn = baselines.between_nearest(images, CONTENTS, np.array([edge - 10, edge]))
    share = 10 / (10 + next_one - edge + 10)
    rows = np.argsort(CONTENTS)[:2]
    expected = images[rows[0]] + share * (images[rows[1]] - images[rows[0]])
    np.testing.assert_allclose(drawn, [expected, images[rows[0]]])


def test_two_films_of_the_same_sr_content_divide_by_nothing():
    contents = np.array([50.0, 50.0, 50.0])
    images = np.stack([np.full((4, 5), value) for value in (0.2, 0.4, 0.6)])
    drawn = baselines.between_nearest(images, contents, np.array([40.0, 50.0, 60.0]))
    assert ((drawn >= 0.2) & (drawn <= 0.6)).all()


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("name", [*READ, *DRAW])
def test_every_model_answers_from_as_few_films_as_an_archive_may_have(name, n):
    contents = np.array([40.0, 60.0, 45.0, 55.0, 50.0])[:n]
    images = streaks(contents)
    if name in READ:
        found = READ[name](images, contents, streaks(NEW))
        assert found.shape == NEW.shape
    else:
        found = DRAW[name](images, contents, NEW)
        assert found.shape == (len(NEW), *images.shape[1:])
    assert np.isfinite(found).all()
