"""Trainings are the published ones, and what a task loads is what its network is asked."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from repro.studies.interface_dcnn.recipe import (
    ALL_THICKNESSES,
    CLASS_TASK,
    POOLING,
    SINGLE_LINE,
    questions,
    tasks,
)

VARIANTS = ("faithful", "improved")
BY_THICKNESS = ["step_40", "step_80", "step_fraction_40", "step_fraction_80"]


def named(variant, preset, dataset):
    return {task.name: task for task in tasks(variant, preset, dataset)}


def test_the_published_variant_has_a_network_for_each_thickness_and_each_failed_alternative(
    dataset,
):
    lines = [f"{SINGLE_LINE}_40", f"{SINGLE_LINE}_80"]
    expected = [CLASS_TASK, *BY_THICKNESS, *POOLING, ALL_THICKNESSES, *lines]
    assert list(named("faithful", "smoke", dataset)) == expected


@pytest.mark.parametrize(("preset", "epochs"), [("paper", {300}), ("desk", {50, 120})])
def test_the_published_training_is_plain_gradient_descent(dataset, preset, epochs):
    recipes = [task.recipe for task in tasks("faithful", preset, dataset)]
    assert {recipe.epochs for recipe in recipes} == epochs
    for recipe in recipes:
        optimizer = recipe.build_optimizer(10)
        assert isinstance(optimizer, keras.optimizers.SGD)
        assert optimizer.momentum == 0
        assert float(optimizer.learning_rate) == pytest.approx(0.01)
        assert optimizer.weight_decay is None
        assert recipe.schedule == "constant"


def test_our_variant_has_one_network_a_question_for_all_thicknesses(dataset, columns):
    ours = named("improved", "smoke", dataset)
    assert list(ours) == [CLASS_TASK, "step"]
    rows = dataset.rows("train")
    for name, places in ((CLASS_TASK, columns.line_places), ("step", columns.step_places)):
        examples = ours[name].examples(rows)
        np.testing.assert_array_equal(np.unique(places(examples)[1]), [0, 1])
        given = ours[name].load(examples)[0]["thickness"]
        np.testing.assert_array_equal(given, columns.thickness_input(places(examples)[1]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_network_takes_what_its_task_loads(dataset, variant):
    for task in tasks(variant, "smoke", dataset):
        examples = task.examples(dataset.rows("train"))[:3]
        inputs, answers = task.load(examples)
        network = task.build_model()
        loss = task.recipe.build_loss()(answers, network(inputs))
        assert np.isfinite(loss).all(), task.name
        shapes = {tensor.name: tensor.shape[1:] for tensor in network.inputs}
        loaded = inputs if isinstance(inputs, dict) else {"patterns": inputs}
        assert {name: array.shape[1:] for name, array in loaded.items()} == shapes, task.name


@pytest.mark.parametrize("variant", VARIANTS)
def test_examples_are_altered_in_training_and_answers_are_not(dataset, variant):
    for task in tasks(variant, "smoke", dataset):
        examples = task.examples(dataset.rows("train"))[:4]
        seeds = np.arange(4, dtype=np.uint64)
        (clear, answers), (altered, same) = task.load(examples), task.augmented(examples, seeds)
        np.testing.assert_array_equal(same, answers, err_msg=task.name)
        if variant == "improved":
            np.testing.assert_array_equal(altered["thickness"], clear["thickness"])
            clear, altered = clear["patterns"], altered["patterns"]
        assert clear.shape == altered.shape
        assert not np.isclose(clear, altered).all(axis=(1, 2, 3, 4)).any(), task.name


def test_networks_are_asked_for_what_their_names_say(dataset, columns):
    asked, rows = questions("faithful", columns), dataset.rows("train")
    for name in (*BY_THICKNESS, ALL_THICKNESSES):
        examples = asked[name].examples(rows)
        np.testing.assert_array_equal(
            asked[name].answers(examples),
            columns.step_fractions(examples)
            if "fraction" in name
            else columns.step_labels(examples),
        )
        wanted = [0, 1] if name == ALL_THICKNESSES else [int(name.endswith("80"))]
        assert sorted(set(columns.step_places(examples)[1])) == wanted, name
    single = asked[f"{SINGLE_LINE}_80"]
    lines = single.examples(rows)
    np.testing.assert_array_equal(single.patterns(lines), columns.line_patterns(lines))


def test_inputs_are_scaled_by_the_training_examples_alone(dataset, columns):
    question = questions("faithful", columns)[CLASS_TASK]
    inputs, _ = question.load(question.examples(dataset.rows("train")))
    assert np.mean(inputs) == pytest.approx(0, abs=1e-4)
    assert np.sqrt(np.mean(inputs**2)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("ablation_max_pooling", "MaxPooling3D"),
        ("ablation_average_pooling", "AveragePooling3D"),
    ],
)
def test_only_the_network_differs_between_trainings_with_and_without_pooling(dataset, name, layer):
    by_name = named("faithful", "smoke", dataset)
    published, pooled = by_name[CLASS_TASK], by_name[name]
    assert published.recipe == pooled.recipe
    examples = published.examples(dataset.rows("train"))
    np.testing.assert_array_equal(pooled.examples(dataset.rows("train")), examples)
    layers = [
        [type(layer).__name__ for layer in t.build_model().layers] for t in (published, pooled)
    ]
    counts = [names.count(layer) for names in layers]
    assert counts[1] - counts[0] == 2, "one after each convolution"
