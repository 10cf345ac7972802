"""Which examples a network of a study learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from repro.datasets.build import build
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.evaluation.metrics import Evaluation, lower
from repro.runs import record
from repro.study import get_study


@pytest.fixture
def dataset(springs, tmp_path):
    few = {"train": 5, "validation": 2, "test": 3}
    spec = get_study(springs).data_spec.resolve("smoke", None, few)
    return Dataset.open(build(spec, tmp_path / "springs.h5"))


def test_held_out_samples_validate_a_network_that_never_sees_them(springs, dataset):
    (task,) = get_study(springs).list_tasks("faithful", "smoke", dataset)
    assert [list(part) for part in task.examples_of(dataset)] == [[0, 1, 2, 3, 4], [5, 6]]
    fold = replace(task, held_out=(1, 3))
    assert [list(part) for part in fold.examples_of(dataset)] == [[0, 2, 4], [1, 3]]
    twice = replace(fold, examples=lambda rows: np.repeat(10 * rows, 2))
    assert [list(part) for part in twice.examples_of(dataset)] == [
        [0, 0, 20, 20, 40, 40],
        [10, 10, 30, 30],
    ]


def test_a_record_keeps_one_curve_and_entry_of_networks_that_hold_samples_out(springs, dataset):
    (task,) = get_study(springs).list_tasks("faithful", "smoke", dataset)
    folds = [replace(task, name=f"fold_{i}", held_out=(i,)) for i in range(3)]
    tasks = [task, *folds, replace(folds[0], name="other", recipe=replace(task.recipe, epochs=9))]
    models = {t.name: t.build_model() for t in tasks}
    assert list(record.network_entries(tasks, models)) == ["stiffness", "other"]
    curves = {t.name: {"0": {"epoch": [1.0], "loss": [0.5]}} for t in tasks}
    assert record.recorded_curves(tasks, curves) == {"stiffness": curves["stiffness"]}


def test_a_long_curve_is_thinned_and_keeps_its_ends_and_its_best_epoch():
    epochs = np.arange(1.0, 1001.0)
    losses = np.abs(epochs - 333) + 1
    columns = {"epoch": epochs.tolist(), "loss": losses.tolist(), "val_loss": losses.tolist()}
    kept = record.thinned(columns)
    assert len(kept["epoch"]) <= record.MOST_EPOCHS + 1
    assert {1.0, 333.0, 1000.0} <= set(kept["epoch"])
    assert kept["val_loss"] == [losses[int(e) - 1] for e in kept["epoch"]]
    short = {"epoch": [1.0, 2.0], "loss": [2.0, 1.0]}
    assert record.thinned(short) == short


def test_a_metric_that_has_no_value_for_one_seed_is_left_out_and_told():
    """A mean over the seeds that have one would be a mean over those that did well."""
    values = {0: (0.1, 60.0), 1: (0.2, np.nan), 2: (0.3, 70.0)}
    found = {
        seed: Evaluation(
            {"mae": lower(mae, "mean error"), "crossing": lower(at, "where curves cross", "°C")}
        ).defined()
        for seed, (mae, at) in values.items()
    }
    kept = record.recorded_metrics(found)
    assert {name: metric.values for name, metric in kept.items()} == {
        "mae": {"0": 0.1, "1": 0.2, "2": 0.3}
    }
    (told,) = record.what_is_left_out(found)
    assert "crossing (none for seed 1)" in told
    assert record.what_is_left_out({0: found[0], 2: found[2]}) == []
    with pytest.raises(ReproError, match="different metrics"):
        record.recorded_metrics({0: found[0], 1: Evaluation({"mae": found[1].metrics["mae"]})})
