import numpy as np
import pytest

from repro.datasets.build import build
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset
from repro.runs.choices import Choices
from repro.runs.data import Given, import_archive, judged_by
from repro.runs.whole import prepare_and_train
from repro.study import get_study

N_TRAINING, N_VALIDATION, N_TEST = 12, 2, 4
COUNTS = {"train": N_TRAINING, "validation": N_VALIDATION, "test": N_TEST}


def save_archive(path, dataset, rows):
    """Write films of a data set as an archive of the published form."""
    images, contents = dataset.array("images")[rows], dataset.array("stoichiometry")[rows]
    np.savez(path, images=images, stoich=contents)
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Eighteen synthetic films without outliers, twelve of them to learn from."""
    spec = load_spec("rheed_translator").resolve("smoke", "typical", COUNTS)
    return Dataset.open(build(spec, tmp_path_factory.mktemp("films") / "set.h5"))


@pytest.fixture(scope="session")
def archives(dataset, tmp_path_factory):
    """Those films as two archives: ``grown``, the first twelve, and ``later``, the last eight."""
    folder = tmp_path_factory.mktemp("archives")
    parts = {"grown": np.arange(12), "later": np.arange(10, 18)}
    return {n: save_archive(folder / f"{n}.npz", dataset, rows) for n, rows in parts.items()}


@pytest.fixture(scope="session")
def measured(archives, tmp_path_factory):
    """The data set of the archive ``grown``: all of its films are learnt from."""
    out = tmp_path_factory.mktemp("measured") / "data.h5"
    study = get_study("rheed_translator")
    return import_archive(Given.of(study, archives["grown"]), out, Choices(study=study.name))


@pytest.fixture(scope="session")
def judged(measured, archives, tmp_path_factory):
    """The same, judged by the films of ``later`` that ``grown`` lacks."""
    folder = tmp_path_factory.mktemp("judged")
    given = Given.of(get_study("rheed_translator"), archives["later"])
    return judged_by(given, measured, folder / "judged.h5")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of our translator on nine synthetic films, seeds 3 and 4."""
    folder = tmp_path_factory.mktemp("work") / "runs" / "rheed_translator-improved-smoke"
    settings = {"train": "9", "validation": "1", "test": "2"}
    choices = Choices(study="rheed_translator", variant="improved", settings=settings)
    prepare_and_train(choices, [3, 4], folder)
    return folder
