"""A few rows of every scan, and untrained networks of every variant."""

import pytest

from repro.datasets.build import build
from repro.datasets.store import Dataset
from repro.study import Trained, get_study

FEW = {"n_rows": "6", "n_columns": "6", "train": "6", "validation": "6", "test": "18"}


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Dataset:
    """All five scans, of six rows with six positions each."""
    path = tmp_path_factory.mktemp("strain_ae") / "scans.h5"
    return Dataset.open(build(get_study("strain_ae").data_spec.resolve("smoke", None, FEW), path))


@pytest.fixture(scope="session")
def untrained(scans):
    """Return a function that returns a variant's networks as they start."""

    def make(variant: str) -> Trained:
        models, tasks = {}, {}
        for task in get_study("strain_ae").list_tasks(variant, "smoke", scans):
            tasks[task.name] = task.resolved(models)
            models[task.name] = task.build_model()
        return Trained(variant, scans, tasks, models, {}, 0)

    return make
