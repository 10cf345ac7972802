"""Which examples a network of a study learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from repro.datasets.build import build
from repro.datasets.store import Dataset
from repro.study import get_study


@pytest.fixture
def dataset(springs, tmp_path):
    few = {"train": 5, "validation": 2, "test": 3}
    spec = get_study(springs).data_spec.resolve("smoke", None, few)
    return Dataset.open(build(spec, tmp_path / "springs.h5"))


def test_held_out_samples_validate_a_network_that_never_sees_them(springs, dataset):
    (task,) = get_study(springs).tasks("faithful", "smoke", dataset)
    assert [list(part) for part in task.examples_of(dataset)] == [[0, 1, 2, 3, 4], [5, 6]]
    fold = replace(task, held_out=(1, 3))
    assert [list(part) for part in fold.examples_of(dataset)] == [[0, 2, 4], [1, 3]]
    twice = replace(fold, examples=lambda rows: np.repeat(10 * rows, 2))
    assert [list(part) for part in twice.examples_of(dataset)] == [
        [0, 0, 20, 20, 40, 40],
        [10, 10, 30, 30],
    ]
