"""The features of the Gaussian process give the textbook's process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from repro.studies.rheed_translator.kernels import LINE_VARIANCE, Process, every_choice


@pytest.fixture
def process():
    random = np.random.default_rng(1)
    inputs = random.normal(size=(14, 3))
    smooth = np.sin(inputs[:, 1:2]) + 0.2 * random.normal(size=(14, 1))
    return Process(inputs, 0.5 * inputs[:, :1] + smooth, lines=(0, 1), variance=4.0, length=1.2)


def covariance(process, one, other):
    """Return the textbook's covariance over the noise's variance."""
    apart = np.square(one[:, None] - other[None]).mean(axis=2)
    columns = list(process.lines)
    lines = 1 + one[:, columns] @ other[:, columns].T
    return process.variance * np.exp(-apart / 2 / process.length**2) + LINE_VARIANCE * lines


def textbook(process, new):
    """Return mean and deviation of new samples, equations 2.23 and 2.24 of the book."""
    known = covariance(process, process.inputs, process.inputs) + np.eye(len(process.inputs))
    between = covariance(process, new, process.inputs)
    mean = between @ np.linalg.solve(known, process.targets)
    variance = covariance(process, new, new) - between @ np.linalg.solve(known, between.T)
    return mean, process.noise * np.sqrt(1 + np.diag(variance))[:, None]


def test_mean_and_deviation_are_those_of_the_textbook(process):
    new = np.random.default_rng(2).normal(size=(9, 3))
    mean, deviation = textbook(process, new)
    np.testing.assert_allclose(process.mean(new), mean, rtol=0.01, atol=0.01)
    np.testing.assert_allclose(process.deviation(new), deviation, rtol=0.01)


def test_far_from_all_samples_the_mean_is_a_line_and_the_deviation_grows(process):
    away = np.array([[0.0, 40.0, 0.0], [0.0, 50.0, 0.0], [0.0, 60.0, 0.0]])
    mean = process.mean(away)[:, 0]
    assert mean[2] - mean[1] == pytest.approx(mean[1] - mean[0], rel=1e-6)
    deviation = process.deviation(np.concatenate([process.inputs[:1], away[:1]]))
    assert deviation[1] > 2 * deviation[0]


def test_errors_of_left_out_samples_are_those_of_leaving_them_out(process):
    errors, deviations = process.left_out()
    for i in range(len(process.inputs)):
        rest = replace(
            process,
            inputs=np.delete(process.inputs, i, axis=0),
            targets=np.delete(process.targets, i, axis=0),
        )
        mean, deviation = textbook(rest, process.inputs[i : i + 1])
        np.testing.assert_allclose(errors[i], process.targets[i] - mean[0], rtol=1e-6)
        # The noise is that of all samples.
        expected = deviation[0] / rest.noise * process.noise
        np.testing.assert_allclose(deviations[i], expected, rtol=1e-6)


def test_tensors_have_the_features_of_arrays(process):
    new = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
    tensors = process.features(ops.convert_to_tensor(new), ops)
    np.testing.assert_allclose(tensors, process.features(new), rtol=1e-3, atol=1e-3)
    deviation = process.deviation(ops.convert_to_tensor(new), ops)
    np.testing.assert_allclose(deviation, process.deviation(new), rtol=1e-3)


def test_the_chosen_process_predicts_left_out_samples_better_than_an_absurd_one(process):
    chosen = Process.of(process.inputs, process.targets, [(0, 1)])
    absurd = replace(process, variance=30.0, length=0.05)
    error, worse = (np.square(p.left_out()[0]).sum() for p in (chosen, absurd))
    assert error < 0.7 * worse


def test_every_choice_of_lines_is_tried_once():
    assert sorted(every_choice(2)) == [(), (0,), (0, 1), (1,)]


def test_the_lines_are_found_of_samples_that_follow_some():
    random = np.random.default_rng(6)
    inputs = random.normal(size=(40, 3))
    targets = 3 * inputs[:, 1:2] + np.sin(2 * inputs[:, :1]) + 0.05 * random.normal(size=(40, 1))
    assert Process.of(inputs, targets, every_choice(3)).lines == (1,)


def test_noise_of_the_samples_is_told_from_what_is_smooth():
    random = np.random.default_rng(4)
    inputs = random.normal(size=(60, 1))
    targets = np.sin(2 * inputs) + 0.1 * random.normal(size=(60, 1))
    assert Process.of(inputs, targets, [()]).noise == pytest.approx(0.1, rel=0.35)


def test_samples_that_coincide_do_no_harm():
    inputs = np.array([[0.0], [0.0], [1.0], [1.0], [2.0]])
    targets = np.array([[-1.0], [-0.8], [0.1], [-0.1], [1.8]])
    process = Process.of(inputs, targets, [(0,)])
    assert np.isfinite(process.mean(inputs)).all()
    assert np.abs(process.features(inputs)).max() < 100
