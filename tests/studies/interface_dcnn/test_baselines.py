"""Baselines are as strong as they can be, and quantities are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from repro.studies.interface_dcnn import baselines
from repro.studies.interface_dcnn.baselines import Examples, fit

N_BINS = 16


def toy(n=80, seed=0):
    """Return noisy patterns of two positions whose right half grows with an answer from 0 to 1."""
    draws = np.random.default_rng(seed)
    answers = draws.random(n)
    patterns = 1 + 0.05 * draws.random((n, 2, N_BINS, N_BINS))
    patterns[:, :, N_BINS // 2 :] += answers[:, None, None, None]
    return patterns.astype(np.float32), answers


@pytest.mark.parametrize("method", ["linear", "total_intensity", "centre_of_mass"])
def test_a_class_that_shows_is_told(method):
    patterns, answers = toy()
    labels = (answers > 0.5).astype(int)
    told_apart = np.abs(answers - 0.5) > 0.05
    train = Examples(patterns[told_apart], labels[told_apart], np.flatnonzero(told_apart) // 2)
    predict = fit(baselines.FEATURES[method], train, is_number=False)
    new, truth = toy(seed=1)
    clear = np.abs(truth - 0.5) > 0.05
    np.testing.assert_array_equal(predict(new[clear]), truth[clear] > 0.5)


@pytest.mark.parametrize("method", list(baselines.FEATURES))
def test_a_number_that_patterns_grow_with_is_found(method):
    patterns, answers = toy()
    predict = fit(
        baselines.FEATURES[method], Examples(patterns, answers, np.arange(80) // 2), is_number=True
    )
    new, truth = toy(seed=1)
    assert np.sqrt(np.mean((predict(new) - truth) ** 2)) < 0.05


def test_nothing_is_found_where_nothing_is():
    draws = np.random.default_rng(0)
    answers = draws.random(80)
    patterns = 1 + draws.random((80, 2, N_BINS, N_BINS)).astype(np.float32)
    train = Examples(patterns, answers, np.arange(80))
    found = fit(baselines.all_bins, train, is_number=True)(patterns[::-1] + 1)
    # Too weak a regularisation would learn the training answers by heart.
    assert found.std() < answers.std() / 2


def test_a_sample_is_never_learnt_from_and_judged_by_at_once():
    samples = np.random.default_rng(0).integers(12, size=90)
    folds = list(baselines._folds(samples))
    assert len(folds) == 5
    for kept, left_out in folds:
        assert not set(samples[kept]) & set(samples[left_out])
        assert len(kept) + len(left_out) == 90
    assert sorted(np.concatenate([left_out for _, left_out in folds])) == list(range(90))


def test_fewer_samples_than_folds_make_fewer_folds():
    assert len(list(baselines._folds(np.array([4, 4, 7, 9])))) == 3


def test_total_intensity_is_the_sum_of_the_bins():
    patterns = np.random.default_rng(0).random((3, 2, 5, 5))
    expected = [[pattern.sum() for pattern in line] for line in patterns]
    np.testing.assert_allclose(baselines.total_intensity(patterns), expected)


def test_mean_k_has_all_positions_along_x_then_along_y():
    patterns = np.zeros((1, 2, 17, 17), np.float32)
    patterns[0, 0, 8, 8] = patterns[0, 1, 10, 5] = 1
    np.testing.assert_array_equal(baselines.mean_k(patterns), [[0, 2, 0, -3]])


def test_each_ring_is_the_mean_of_its_own_bins():
    away = np.arange(32) - 15.5
    ring = np.minimum(np.hypot(away[:, None], away) // 2, 7)
    patterns = np.stack([[ring], [np.ones_like(ring)], [ring == 3]])
    expected = [np.arange(8), np.ones(8), np.arange(8) == 3]
    np.testing.assert_allclose(baselines.radial_means(patterns), expected)


def test_positions_keep_their_place_in_every_quantity():
    patterns = np.random.default_rng(0).random((4, 3, N_BINS, N_BINS))
    for name in ("total_intensity", "centre_of_mass", "radial_means"):
        quantity = baselines.FEATURES[name]
        whole = quantity(patterns)
        apart = [quantity(patterns[:, [place]]) for place in range(3)]
        if name == "centre_of_mass":
            apart = [part[:, [axis]] for axis in (0, 1) for part in apart]
        np.testing.assert_allclose(whole, np.concatenate(apart, axis=1), err_msg=name)
