import numpy as np
import pytest

from repro.evaluation.metrics import r_squared
from repro.evaluation.resampling import N_RESAMPLES, Resampling, average

RNG = np.random.default_rng(0)


def test_the_first_value_is_the_statistic_of_the_samples_as_they_are():
    truth = RNG.normal(size=(300, 2))
    predicted = truth + 0.3 * RNG.normal(size=truth.shape)
    films = Resampling("film", np.arange(300))
    assert films.mean(truth[:, 0]).value == pytest.approx(truth[:, 0].mean())
    found = films.r_squared(truth, predicted)
    for column, score in enumerate(found):
        assert score.value == pytest.approx(r_squared(truth[:, column], predicted[:, column]))
        assert len(score.values) == 1 + N_RESAMPLES


def test_the_spread_over_resamples_is_the_standard_error_of_a_mean():
    values = RNG.normal(size=2000)
    resampled = Resampling("film", np.arange(2000)).mean(values)
    assert resampled.values[1:].std() == pytest.approx(1 / 2000**0.5, rel=0.2)


def test_samples_of_one_unit_are_drawn_together():
    # Ten lines of a column that all err alike are one test, not ten.
    of_column = RNG.normal(size=100)
    lines, columns = np.repeat(of_column, 10), np.repeat(np.arange(100), 10)
    by_column = Resampling("column", columns).mean(lines)
    by_line = Resampling("line", np.arange(1000)).mean(lines)
    assert by_column.n_units == 100
    ratio = by_column.values[1:].std() / by_line.values[1:].std()
    assert ratio == pytest.approx(10**0.5, rel=0.25)


def test_metrics_of_one_split_share_their_draws_so_that_differences_are_paired():
    values = RNG.normal(size=200)
    one, other = (Resampling("film", np.arange(200)).mean(values + shift) for shift in (0, 1))
    assert np.ptp((other - one).values) == pytest.approx(0, abs=1e-12)
    assert (other - one).value == pytest.approx(1)


def test_a_part_of_the_samples_keeps_the_draws_of_its_units():
    columns = np.array([3, 5, 9, 11])
    every = Resampling("column", columns)
    part = every.only(np.array([9, 9, 3]))
    assert part.n_units == 2
    assert part.mean(np.array([1.0, 1.0, 1.0])).value == 1.0
    sums = part.sums(np.array([1.0, 2.0, 10.0]))
    assert np.array_equal(sums, 3 * every.counts[:, 2] + 10 * every.counts[:, 0])


def test_what_is_absent_or_constant_does_not_count():
    truth = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [9.0, 1.0]])
    present = np.array([[True, True]] * 3 + [[False, True]])
    scores = Resampling("film", np.arange(4)).r_squared(truth, truth, present)
    assert scores[0].value == 1.0
    assert np.isnan(scores[1].value)
    absent = np.where(present, truth, np.nan)
    again = Resampling("film", np.arange(4)).r_squared(absent, absent, present)
    assert again[0].value == 1.0


def test_the_mean_of_statistics_is_taken_resample_by_resample():
    films = Resampling("film", np.arange(50))
    one, other = films.mean(RNG.normal(size=50)), films.share(RNG.random(50) < 0.5)
    both = average([one, other])
    assert np.allclose(both.values, (one.values + other.values) / 2)
    assert other.is_share
    assert not (one - other).is_share
