"""A few small frames, and untrained networks of every variant."""

import keras
import pytest

from repro.datasets.build import build
from repro.datasets.store import Dataset
from repro.study import Trained, get_study


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    """Return a function that builds the smallest data set of an experiment, once."""
    folder, made = tmp_path_factory.mktemp("domain_ae"), {}

    def make(experiment: str = "gas") -> Dataset:
        if experiment not in made:
            spec = get_study("domain_ae").data_spec.resolve("smoke", experiment)
            made[experiment] = Dataset.open(build(spec, folder / f"{experiment}.h5"))
        return made[experiment]

    return make


@pytest.fixture(scope="session")
def untrained(series):
    """Return a function that returns a variant's networks as they start."""

    def make(variant: str, experiment: str = "gas") -> Trained:
        keras.utils.set_random_seed(0)
        dataset, models, tasks = series(experiment), {}, {}
        for task in get_study("domain_ae").list_tasks(variant, "smoke", dataset):
            tasks[task.name] = task.resolved(models)
            models[task.name] = tasks[task.name].build_model()
        return Trained(variant, dataset, tasks, models, {}, 0)

    return make
