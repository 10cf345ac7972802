"""Neighbours make a grain's strain more precise, and leave boundaries and slopes where they are."""

from __future__ import annotations

import numpy as np
import pytest

from repro.studies.strain_ae.lattice import SIXTH
from repro.studies.strain_ae.neighbours import with_neighbours

N = 32
DEVIATIONS = np.broadcast_to([1e-3, 2e-3, 1e-3, 5e-4], (N, N, 4))
NOISE = DEVIATIONS * np.random.default_rng(0).standard_normal((N, N, 4))


def test_noise_alone_is_averaged_as_if_every_neighbour_counted():
    # The propagation condition, by which the threshold was chosen.
    smooth, stated = with_neighbours(NOISE, DEVIATIONS)
    rms = np.sqrt(np.mean((smooth / DEVIATIONS) ** 2))
    place = np.arange(-4, 5)
    near = np.clip(1 - (place[:, None] ** 2 + place**2) / 16, 0, None)
    everyone = np.sqrt((near**2).sum()) / near.sum()
    assert everyone < rms < 1.1 * everyone
    assert np.std(smooth / stated) == pytest.approx(1, abs=0.06)


def test_a_boundary_stays_where_it_is():
    true = np.zeros((N, N, 4))
    true[:, N // 2 :] = [0.01, 0, -0.01, 0.1]
    smooth, _ = with_neighbours(true + NOISE, DEVIATIONS)
    errors = (smooth - true) / DEVIATIONS
    at_the_boundary = errors[:, N // 2 - 1 : N // 2 + 1]
    assert np.sqrt(np.mean(at_the_boundary**2)) < 0.35
    assert np.abs(errors).max() < 2


def test_a_smooth_field_keeps_its_slope():
    true = np.zeros((N, N, 4))
    true[..., 0] = 5e-4 * np.arange(N)  # half a standard deviation a position
    true[..., 3] = 1e-4 * np.arange(N)[:, None]
    smooth, _ = with_neighbours(true + NOISE, DEVIATIONS)
    inner = slice(4, -4), slice(4, -4)
    for component in (0, 3):
        is_true, found = (f[inner][..., component].ravel() for f in (true, smooth))
        slope = np.polyfit(is_true, found, 1)[0]
        assert slope == pytest.approx(1, abs=0.02)
    single, averaged = (np.std((f - true)[..., 0]) for f in (true + NOISE, smooth))
    assert averaged < 0.7 * single


def test_rotations_on_both_sides_of_the_wrap_are_neighbours():
    turned = NOISE.copy()
    turned[..., 3] += SIXTH / 2
    wrapped = turned.copy()
    wrapped[..., 3] -= SIXTH * (wrapped[..., 3] > SIXTH / 2)
    smooth, _ = with_neighbours(wrapped, DEVIATIONS)
    expected, _ = with_neighbours(turned, DEVIATIONS)
    apart = (smooth - expected)[..., 3]
    np.testing.assert_allclose(np.sin(6 * apart), 0, atol=1e-9)


def test_gaps_stay_empty_and_teach_no_neighbour():
    found = NOISE.copy()
    found[10:14, 10:14] = np.nan
    smooth, stated = with_neighbours(found, DEVIATIONS)
    gap = np.isnan(found)
    np.testing.assert_array_equal(np.isnan(smooth), gap)
    np.testing.assert_array_equal(np.isnan(stated), gap)
    assert np.abs(smooth[~gap]).max() < 5 * DEVIATIONS.max()
