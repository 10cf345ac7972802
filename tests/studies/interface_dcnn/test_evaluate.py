"""The numbers that claims are judged by are what their names say."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from bench import check_metrics, evaluated, trained_of, values
from scipy.spatial.distance import cdist
from scipy.special import softmax

from repro.imaging.counting import NOISE_FREE
from repro.runs.run import chosen
from repro.studies.interface_dcnn import evaluate
from repro.studies.interface_dcnn.baselines import FEATURES
from repro.studies.interface_dcnn.evaluate import Bench
from repro.studies.interface_dcnn.recipe import CLASS_TASK, POOLING, questions, tasks
from repro.study import get_study

pytestmark = pytest.mark.slow

NAME = "interface_dcnn"


class Truth:
    """A network that knows every example, and answers as the one most like what it sees."""

    def __init__(self, question, examples):
        inputs, answers = question.load(examples)
        self.known = inputs.reshape(len(inputs), -1)
        is_number = question.n_outputs == 1
        self.answers = answers[:, None] if is_number else np.eye(question.n_outputs)[answers]

    def predict(self, inputs, batch_size, verbose):
        distances = cdist(inputs.reshape(len(inputs), -1), self.known)
        return self.answers[distances.argmin(axis=1)]


@pytest.fixture(scope="module")
def knowing(columns):
    """Return networks of the published variant that know all answers."""
    everything, models = np.arange(38), {}
    for task, question in questions("faithful", columns).items():
        examples = question.examples(everything)
        if task in (CLASS_TASK, *POOLING):
            examples = columns.lines(everything, flat_too=True)
        models[task] = Truth(question, examples)
    return models


@pytest.fixture(scope="module")
def curves(columns):
    losses = np.linspace(0.3, 0.1, len(questions("faithful", columns))) * np.log(11)
    names = questions("faithful", columns)
    return {
        name: {"loss": 30 * [2.4] + 5 * [loss]} for name, loss in zip(names, losses, strict=True)
    }


@pytest.fixture(scope="module")
def evaluation(dataset, knowing, curves):
    """Return what is found of networks that know all answers."""
    return evaluated(NAME, trained_of(NAME, "faithful", dataset, knowing, curves))


class Guess:
    """A network that answers anything, but always the same to the same patterns."""

    def __init__(self, n_outputs):
        self.n_outputs = n_outputs

    def predict(self, inputs, batch_size, verbose):
        patterns = inputs["patterns"].reshape(len(inputs["patterns"]), -1)
        draws = np.random.default_rng(0)
        said = patterns @ draws.normal(size=(patterns.shape[1], self.n_outputs))
        return softmax(said / patterns.shape[1] ** 0.5, axis=1)


@pytest.fixture(scope="module")
def guessing(columns):
    """Return networks of our variant that know nothing."""
    asked = questions("improved", columns)
    return {task: Guess(question.n_outputs) for task, question in asked.items()}


def own(evaluation):
    """Return the networks' values, without the baselines'."""
    return {
        name: metric.value
        for name, metric in evaluation.metrics.items()
        if name.split("/")[0] not in FEATURES
    }


# ---- the published variant


def test_networks_that_know_the_truth_are_always_right(evaluation):
    measured = own(evaluation)
    clear = [name for name in measured if "accuracy" in name and "dose" not in name]
    assert {name: measured[name] for name in clear} == dict.fromkeys(clear, 1.0)
    assert {"class/accuracy/40_A", "class/accuracy/every_line", "class/accuracy/nearly_flat"} <= {
        *clear
    }
    assert {"step/accuracy/80_A", "step/accuracy/unseen_depth", "step_fraction/accuracy"} <= {
        *clear
    }
    assert measured["class/accuracy/dose_1e+06"] == 1
    assert measured["step/within_one"] == 1
    assert measured["class/calibration_error"] == measured["step/calibration_error"] == 0
    assert measured["step_fraction/rmse"] == 0


def without_sizes(metric):
    """Return a metric's name without the thickness, which differs between data sets."""
    return re.sub(r"\d+(?=_A|/)", "N", metric)


CLAIMS = {claim.id: claim for claim in get_study(NAME).claims.claims}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_networks_that_a_protocol_names_give_the_claims_metrics(
    claim, dataset, knowing, curves, evaluation
):
    # A verdict would else leave out what moved the number; or a run of these alone give none.
    named = {place.split(".")[1] for place in claim.protocol if place.startswith("networks.")}
    whole = trained_of(NAME, "faithful", dataset, knowing, curves)
    tasks = list(whole.tasks.values())
    alone = {task.name: task for task in chosen(tasks, sorted(named - {"*"}))}
    models = {name: knowing[name] for name in alone}
    measured = evaluated(NAME, replace(whole, tasks=alone, models=models)).metrics
    places = {claim.place_of(name)[1] for name in claim.metrics}
    assert {without_sizes(p) for p in places} <= {without_sizes(name) for name in measured}
    for name, metric in measured.items():
        assert metric.value == evaluation.metrics[name].value, name


def test_a_class_is_never_off_its_position_by_more_than_half_a_class(evaluation):
    assert 0 < own(evaluation)["step/rmse"] <= 0.05


def test_confusion_of_networks_that_know_the_truth_is_diagonal_and_counts_every_example(
    evaluation, columns, dataset
):
    test = dataset.rows("test")
    labels = columns.line_labels(columns.lines(test))
    expected = np.diag(np.bincount(labels))
    np.testing.assert_array_equal(evaluation.arrays["class_confusion"], expected)
    for place, name in enumerate(columns.thickness_names):
        labels = columns.step_labels(columns.steps(test, [place]))
        expected = np.diag(np.bincount(labels, minlength=11))
        np.testing.assert_array_equal(evaluation.arrays[f"step_confusion_{name}"], expected)


def test_what_is_left_of_the_loss_is_told_in_units_of_guessing(evaluation, curves):
    measured = own(evaluation)
    for task in ("step_40", "step_80", "ablation_single_line_80", "ablation_all_thicknesses"):
        left = curves[task]["loss"][-1] / np.log(11)
        assert measured[f"{task}/loss_left"] == pytest.approx(left)
    fall = 2.4 - curves["step_40"]["loss"][-1]
    assert measured["step_40/still_falling"] == pytest.approx(fall / np.log(11))
    assert evaluate.levelled_off("step_40", np.ones(29)) == {}, "too few epochs to tell"


def test_baselines_are_measured_at_every_dose(evaluation):
    for method in FEATURES:
        for kind in ("class", "step"):
            names = [f"{method}/{kind}/accuracy{evaluate.dose_name(d)}" for d in evaluate.DOSES]
            assert all(0 <= evaluation.metrics[name].value <= 1 for name in names)
            table = evaluation.arrays[f"{method}_{kind}_accuracy"]
            assert table.shape == (len(evaluate.DOSES), 2)


def test_claims_find_their_metrics_and_metrics_say_what_they_are(evaluation):
    def better(name):
        return "higher" if "accuracy" in name or "within" in name else "lower"

    check_metrics(NAME, evaluation, better)


def test_pictures_show_a_step_and_an_intermixed_sample_of_the_test_split(evaluation, dataset):
    test = dataset.rows("test")
    for name, is_intermixed in (("step", 0), ("mixed", 1)):
        rows = test[dataset.array("is_intermixed")[test] == is_intermixed]
        structures = dataset.array("exchanged")[rows].tolist()
        assert evaluation.arrays[f"{name}_exchanged"].tolist() in structures


# ---- noise


def test_the_same_seed_gives_the_same_numbers_and_another_other_noise(dataset, guessing):
    for stage in (evaluate.class_stage, evaluate.step_stage):
        first, again, other = (
            values(stage(Bench(trained_of(NAME, "improved", dataset, guessing, seed=seed)))[0])
            for seed in (0, 0, 1)
        )
        # Of a split without the like, a share is not a number.
        np.testing.assert_equal(first, again)
        differing = {name for name in first if first[name] != other[name]}
        assert all("dose" in name for name in differing if np.isfinite(first[name]))
        if stage is evaluate.class_stage:
            assert any("calibration" in name for name in differing)


def test_doses_do_not_alter_what_is_measured_without_noise(dataset, guessing, monkeypatch):
    bench = Bench(trained_of(NAME, "improved", dataset, guessing))
    stages = evaluate.class_stage, evaluate.step_stage
    before = [values(stage(bench)[0]) for stage in stages]
    monkeypatch.setattr(evaluate, "DOSES", (NOISE_FREE, 30.0))
    after = [values(stage(bench)[0]) for stage in stages]
    for many, few in zip(before, after, strict=True):
        clear = [name for name in many if "dose" not in name]
        np.testing.assert_equal([few[name] for name in clear], [many[name] for name in clear])
        assert any("dose_3e+01" in name for name in few)


def test_noise_is_the_same_for_the_same_purpose_and_differs_between_purposes(dataset, guessing):
    bench = Bench(trained_of(NAME, "improved", dataset, guessing))
    patterns = bench.columns.line_patterns(np.arange(2))
    one, again, other = (bench.noisy(patterns, purpose, 1e4) for purpose in ("a", "a", "b"))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(bench.noisy(patterns, "a", NOISE_FREE), patterns)


# ---- parts


def test_a_network_is_asked_about_the_examples_in_their_order(dataset):
    networks = {task.name: task.build_model() for task in tasks("improved", "smoke", dataset)}
    bench = Bench(trained_of(NAME, "improved", dataset, networks))
    examples = bench.columns.steps(bench.rows["test"], [0, 1])
    inputs, _ = bench.questions["step"].load(examples[::-1])
    found, expected = bench.ask("step", examples), np.asarray(networks["step"](inputs))[::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert bench.ask("step", examples[:0]).shape == (0, 11)


def test_structures_are_unseen_if_their_depth_is_not_in_training(dataset, guessing):
    bench = Bench(trained_of(NAME, "improved", dataset, guessing))
    depths, mixed = dataset.array("step_depth"), dataset.array("is_intermixed") == 1
    known = {depths[row] for row in dataset.rows("train") if not mixed[row]}
    samples = np.arange(38)
    expected = [mixed[sample] or depths[sample] not in known for sample in samples]
    np.testing.assert_array_equal(bench.unseen(samples), expected)
    assert not bench.unseen(dataset.rows("train")[~mixed[:20]]).any()


def test_doses_are_named_by_their_electrons_and_no_noise_by_nothing():
    assert [evaluate.dose_name(dose) for dose in (NOISE_FREE, 1e5)] == ["", "/dose_1e+05"]
