"""Counts scatter as Poisson numbers do."""

from __future__ import annotations

import numpy as np
import pytest

from repro.imaging.counting import NOISE_FREE, counted


@pytest.mark.parametrize("electrons", [0.2, 5.0, 400.0])
def test_counts_scatter_like_counts(electrons):
    n, dose = 200_000, 1e4
    patterns = np.full(n, electrons / dose, np.float32)
    counts = counted(patterns, dose, np.random.default_rng(0)) * dose
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)
    # Five standard errors of the mean and of the variance of Poisson numbers.
    assert abs(counts.mean() - electrons) < 5 * np.sqrt(electrons / n)
    assert abs(counts.var() - electrons) < 5 * np.sqrt((electrons + 2 * electrons**2) / n)


def test_free_of_noise_means_unchanged():
    patterns = np.random.default_rng(0).random((3, 4, 4))
    found = counted(patterns, NOISE_FREE, np.random.default_rng(0))
    np.testing.assert_array_equal(found, patterns)
