import numpy as np
import pytest
from scipy import stats

from repro.evaluation.metrics import (
    calibration_error,
    confusion,
    coverage,
    higher,
    lower,
    mean,
    neither,
    root_mean_square,
    share,
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


def test_interval_over_seeds_is_students():
    values = [0.121, 0.124, 0.126]
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert student_t_interval(values) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [0.124]])
def test_no_interval_without_two_seeds(values):
    assert student_t_interval(values) is None


def test_equal_seeds_give_an_interval_of_no_width():
    assert student_t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
