"""Where patterns and base are compared."""

import numpy as np
import pytest

from repro.studies.strain_ae.masks import (
    RING_2,
    centres_of_mass,
    discs,
    orientation,
    ring,
    ring_2_centres,
)


def test_a_ring_looks_the_same_whatever_the_size_of_the_image():
    shares = [ring(size, 20, 85).mean() for size in (50, 100, 200)]
    area = np.pi * (85**2 - 20**2) / 200**2
    assert shares == pytest.approx([area] * 3, rel=0.01)


def test_discs_stand_on_the_second_ring_a_sixth_of_a_turn_apart():
    centres = ring_2_centres(0.2)
    assert np.hypot(*centres.T) == pytest.approx(RING_2)
    masks = discs(200, centres, 11)
    assert masks.sum(axis=(1, 2)) == pytest.approx(np.pi * 11**2, rel=0.03)
    assert masks.sum(axis=0).max() == 1, "they do not touch"


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0])
def test_the_base_tells_how_it_is_turned(angle):
    base = discs(100, ring_2_centres(angle), 3.7).sum(axis=0)
    found = orientation(base)
    assert np.sin(3 * (found - angle)) == pytest.approx(0, abs=0.02)


def test_masks_find_the_spots_within_them():
    true = ring_2_centres(0.5) + np.array([3.0, -2.0])
    base = discs(200, true, 3.7).sum(axis=0)
    found = centres_of_mass(base, discs(200, ring_2_centres(0.5), 11), 2.0)
    np.testing.assert_allclose(found, true, atol=0.1)


def test_a_mask_without_a_spot_stays_where_it_is():
    masks = discs(100, ring_2_centres(0.5), 11)
    found = centres_of_mass(np.ones((100, 100)), masks, 2.0)
    np.testing.assert_allclose(found, ring_2_centres(0.5), atol=0.5)
