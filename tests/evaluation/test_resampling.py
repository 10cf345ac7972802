import numpy as np
import pytest

from repro.errors import ReproError
from repro.evaluation.resampling import N_RESAMPLES, Resampling, average

RNG = np.random.default_rng(0)


def test_the_first_value_is_the_statistic_of_the_samples_as_they_are():
    truth = RNG.normal(size=(300, 2))
    predicted = truth + 0.3 * RNG.normal(size=truth.shape)
    films = Resampling("film", np.arange(300))
    assert films.mean(truth[:, 0]).value == pytest.approx(truth[:, 0].mean())
    found = films.r_squared(truth, predicted)
    left = np.square(predicted - truth).sum(axis=0)
    expected = 1 - left / np.square(truth - truth.mean(axis=0)).sum(axis=0)
    assert [score.value for score in found] == pytest.approx(expected.tolist())
    assert {len(score.values) for score in found} == {1 + N_RESAMPLES}


def r_squared(truth, predicted):
    columns = np.transpose([truth]), np.transpose([predicted])
    return Resampling("film", np.arange(len(truth))).r_squared(*columns)[0].value


def test_r_squared_is_one_zero_and_negative_where_it_should_be():
    truth = RNG.normal(size=50)
    assert r_squared(truth, truth) == 1
    assert r_squared(truth, np.full(50, truth.mean())) == pytest.approx(0)
    assert r_squared(truth, -truth) < 0


def test_r_squared_punishes_an_offset_that_correlation_would_not_see():
    truth = np.array([1.0, 2.0, 3.0])
    assert r_squared(truth, truth + 1) == pytest.approx(1 - 3 / 2)


def test_r_squared_of_a_constant_truth_is_undefined_not_zero_or_minus_infinity():
    assert np.isnan(r_squared(np.full(5, 3.905), RNG.normal(size=5)))


@pytest.mark.parametrize(
    ("truth", "predicted"), [((4, 1), (4,)), ((4, 1), (1, 1)), ((4, 1), (4, 2)), ((4,), (4,))]
)
def test_shapes_that_would_broadcast_are_refused(truth, predicted):
    with pytest.raises(ReproError, match="one shape"):
        Resampling("film", np.arange(4)).r_squared(np.ones(truth), np.ones(predicted))
    with pytest.raises(ReproError, match="3 values were given of 4"):
        Resampling("film", np.arange(4)).mean(np.ones(3))


def test_the_interval_of_a_mean_agrees_with_theory():
    values = RNG.normal(size=1000)
    low, high = Resampling("film", np.arange(1000)).mean(values).interval
    assert (high - low) / 2 == pytest.approx(1.96 / 1000**0.5, rel=0.2)


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
