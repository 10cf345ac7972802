import numpy as np
import pytest
from scipy import stats

from repro.errors import ReproError
from repro.evaluation.metrics import (
    bootstrap_interval,
    calibration_error,
    confusion,
    coverage,
    higher,
    lower,
    mean,
    mean_absolute_error,
    neither,
    r_squared,
    root_mean_square,
    seeds_needed,
    share,
    student_t_half_width,
    student_t_interval,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("make", "better"), [(lower, "lower"), (higher, "higher")])
def test_a_metric_says_which_side_is_better_and_in_which_unit(make, better):
    metric = make(np.float32(0.5), "mean error", "Å")
    assert (metric.value, metric.unit, metric.better) == (0.5, "Å", better)
    assert neither(2, "count").better == "neither"


def test_a_share_counts_hits_and_of_nothing_is_not_a_number():
    assert share(np.array([True, False, True, True]), "right").value == 0.75
    assert share(np.array([]), "right").better == "higher"
    assert np.isnan([share(np.array([]), "right").value, mean([]), root_mean_square([])]).all()


def test_the_root_mean_square_counts_large_errors_more():
    assert root_mean_square(np.array([[3.0, -4.0], [0.0, 0.0]])) == 2.5


def test_an_interval_covers_its_ends():
    truth = np.arange(4.0)
    below, above = np.array([[1, 0, -0.1, 5], [1, 0, 5, -0.1]])
    assert coverage(truth, truth - below, truth + above) == 0.5


def test_confusion_counts_truth_in_rows_and_answers_in_columns():
    found = confusion(np.array([0, 0, 2, 1, 2]), np.array([0, 1, 2, 1, 0]), 3)
    np.testing.assert_array_equal(found, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


def test_who_is_sure_and_right_is_well_calibrated():
    labels = np.arange(100) % 2
    assert calibration_error(np.eye(2)[labels], labels) == 0


def test_who_is_sure_and_right_half_the_time_is_off_by_a_half():
    labels = np.arange(100) % 2
    assert calibration_error(np.eye(2)[np.zeros(100, int)], labels) == pytest.approx(0.5)


def test_who_is_as_sure_as_right_is_well_calibrated():
    labels = (np.arange(100) % 10 >= 7).astype(int)
    probabilities = np.tile([0.7, 0.3], (100, 1))
    assert calibration_error(probabilities, labels) == pytest.approx(0, abs=1e-9)


def test_too_sure_here_and_too_unsure_there_do_not_cancel():
    labels = np.repeat([0, 1, 0, 0], 25)
    probabilities = np.repeat([[0.95, 0.05], [0.55, 0.45]], 50, axis=0)
    expected = (abs(0.95 - 0.5) + abs(0.55 - 1)) / 2
    assert calibration_error(probabilities, labels) == pytest.approx(expected)


def test_mean_absolute_error_counts_every_element_alike():
    assert mean_absolute_error(np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2))) == 2.5


def test_mean_absolute_error_of_float32_is_summed_in_float64():
    ones = np.full(10**6, 0.1, np.float32)
    assert mean_absolute_error(ones, 0 * ones) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_r_squared_is_one_zero_and_negative_where_it_should_be():
    truth = RNG.normal(size=50)
    assert r_squared(truth, truth) == 1
    assert r_squared(truth, np.full(50, truth.mean())) == pytest.approx(0)
    assert r_squared(truth, -truth) < 0


def test_r_squared_punishes_an_offset_that_correlation_would_not_see():
    truth = np.array([0.0, 1.0, 2.0])
    assert r_squared(truth, truth + 1) == pytest.approx(1 - 3 / 2)


def test_r_squared_of_a_constant_truth_is_undefined_not_zero_or_minus_infinity():
    assert np.isnan(r_squared(np.full(5, 3.905), RNG.normal(size=5)))


@pytest.mark.parametrize("metric", [mean_absolute_error, r_squared])
@pytest.mark.parametrize(("truth", "predicted"), [((4,), (4, 1)), ((4,), (1,)), ((0,), (0,))])
def test_shapes_that_would_broadcast_or_are_empty_are_refused(metric, truth, predicted):
    with pytest.raises(ReproError, match="shape"):
        metric(np.ones(truth), np.ones(predicted))


def test_r_squared_takes_one_column_at_a_time():
    with pytest.raises(ReproError, match="one column"):
        r_squared(np.ones((4, 2)), np.ones((4, 2)))


def test_interval_over_seeds_is_students():
    values = [0.121, 0.124, 0.126]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert student_t_interval(values) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [0.124]])
def test_no_interval_without_two_seeds(values):
    assert student_t_interval(values) is None


def test_equal_seeds_give_an_interval_of_no_width():
    assert student_t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_seeds_needed_is_the_smallest_number_that_suffices():
    values, wanted = [0.121, 0.124, 0.127], 0.002
    n = seeds_needed(values, wanted)
    spread = np.std(values, ddof=1)
    assert student_t_half_width(spread, n) <= wanted < student_t_half_width(spread, n - 1)


def test_seeds_needed_gives_up_where_no_number_will_do():
    assert seeds_needed([0.1, 0.2], 0.0) is None


def test_bootstrap_of_a_mean_agrees_with_theory_and_repeats():
    sample = RNG.normal(size=400)
    low, high = bootstrap_interval(np.mean, sample, seed=0)
    half_width = 1.96 * sample.std() / 20
    assert low == pytest.approx(sample.mean() - half_width, abs=0.02)
    assert high == pytest.approx(sample.mean() + half_width, abs=0.02)
    assert (low, high) == bootstrap_interval(np.mean, sample, seed=0)
    assert (low, high) != bootstrap_interval(np.mean, sample, seed=1)


def test_bootstrap_resamples_truth_and_prediction_together():
    truth = RNG.normal(size=30)
    assert bootstrap_interval(r_squared, truth, truth, seed=0, n_resamples=50) == (1, 1)


def test_bootstrap_survives_the_constant_resamples_of_a_tiny_test_set():
    truth = np.array([0.0, 1.0, 2.0])
    low, high = bootstrap_interval(r_squared, truth, truth + 0.1, seed=0)
    assert np.isfinite([low, high]).all()


def test_bootstrap_says_so_when_the_statistic_is_never_defined():
    with pytest.raises(ReproError, match="undefined on every resample"):
        bootstrap_interval(r_squared, np.ones(3), np.ones(3), seed=0, n_resamples=5)


def test_bootstrap_refuses_arrays_of_different_length():
    with pytest.raises(ReproError, match="one length"):
        bootstrap_interval(r_squared, np.ones(3), np.ones(4), seed=0)
