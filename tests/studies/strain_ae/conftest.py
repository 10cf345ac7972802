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
def scans_of(tmp_path_factory):
    """Return a function that returns the scans of another experiment, a few rows of each."""

    def make(experiment: str) -> Dataset:
        path = tmp_path_factory.mktemp(experiment) / "scans.h5"
        spec = get_study("strain_ae").data_spec.resolve("smoke", experiment, FEW)
        return Dataset.open(build(spec, path))

    return make


@pytest.fixture(scope="session")
def untrained(scans):
    """Return a function that returns a variant's networks as they start."""

    def make(variant: str, dataset: Dataset = scans) -> Trained:
        models, tasks = {}, {}
        for task in get_study("strain_ae").list_tasks(variant, "smoke", dataset):
            tasks[task.name] = task.resolved(models)
            models[task.name] = task.build_model()
        return Trained(variant, dataset, tasks, models, {}, 0)

    return make
