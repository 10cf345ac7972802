import pytest

from repro.datasets.build import build
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset
from repro.studies.interface_dcnn.examples import Columns

# Two thicknesses of 10 and 20 cells; depths of 11, 13 ... cells are the centre of no class.
SMALL = {
    "train": 20,
    "validation": 6,
    "test": 12,
    "unseen_from": 26,
    "n_x": 64,
    "n_y": 56,
    "semiangle": 25.0,
    "n_cells": 20,
    "thicknesses": [39.05, 78.1],
    "n_lines": 3,
    "n_positions": 5,
    "n_passes": 1,
    "n_configurations": 1,
}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A built data set of 38 samples at two thicknesses, coarse but true to its spec."""
    spec = load_spec("interface_dcnn").resolve("smoke", None, SMALL)
    return Dataset.open(build(spec, tmp_path_factory.mktemp("small") / "set.h5"))


@pytest.fixture(scope="session")
def columns(dataset):
    return Columns(dataset, 16)
