import copy
import shutil
import subprocess

import pytest
import yaml

from repro.datasets.spec import load_spec

GENERATORS = """
import time

import numpy as np

from repro.errors import ReproError
from repro.seeds import uniform_rows


def numbers(start, stop, seed, parameters):
    n, fault = stop - start, parameters["fault"]
    time.sleep(parameters["delay"])
    if fault == "refuse":
        raise ReproError("The generator refuses these parameters.")
    arrays = {
        "x": uniform_rows(seed, "x", start, stop, parameters["width"]).astype(np.float32),
        "level": 5 + uniform_rows(seed, "level", start, stop, 1)[:, 0],
        "constant": np.full((n, 3), 0.1),
        "index": np.arange(start, stop),
    }
    if fault == "nan" and start <= 13 < stop:
        arrays["level"][13 - start] = np.nan
    if fault == "shape":
        arrays["x"] = arrays["x"][:, :-1]
    if fault == "dtype":
        arrays["x"] = arrays["x"].astype(np.float64)
    if fault == "short":
        arrays = {name: array[:-1] for name, array in arrays.items()}
    if fault == "missing":
        del arrays["index"]
    if fault == "extra":
        arrays["surplus"] = np.zeros(n)
    return arrays
"""


def parameter(value, unit=""):
    return {"value": value, "unit": unit, "source": "chosen here", "about": "a toy's parameter"}


def variable(shape, dtype, normalise=None):
    about = {"unit": "Å", "about": "a toy's variable"}
    return {"shape": shape, "dtype": dtype, "normalise": normalise, **about}


TOY = {
    "name": "toy",
    "version": 1,
    "title": "A toy",
    "study": "toy",
    "kind": "simulated",
    "licence": "CC0-1.0",
    "about": "Random numbers.",
    "generator": "toy_generators:numbers",
    "seed": 0,
    "shard_size": 5,
    "parameters": {
        "width": parameter(4),
        "delay": parameter(0.0, "s"),
        "fault": parameter("none"),
        "flag": parameter(False),
        "range": parameter([0.0, 1.0]),
    },
    "experiments": {"plain": {}, "wide": {"width": 7}},
    "presets": {
        "tiny": {"train": 12, "validation": 3, "test": 2},
        "small": {"train": 130, "validation": 10, "test": 10},
    },
    "variables": {
        "x": variable(["width"], "float32", "per_point"),
        "level": variable([], "float64", "global"),
        "constant": variable([3], "float64", "per_point"),
        "index": variable([], "int64"),
    },
    "limitations": ["Means nothing."],
    "deviations": [],
}


@pytest.fixture(scope="session")
def generators_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators")
    (folder / "toy_generators.py").write_text(GENERATORS)
    return folder


@pytest.fixture
def toy_content():
    return copy.deepcopy(TOY)


@pytest.fixture
def load_toy(tmp_path, monkeypatch, generators_folder):
    """A function that writes a toy's data spec to a folder of its own and loads it."""
    folder = tmp_path / "data_specs"
    folder.mkdir()
    monkeypatch.setenv("REPRO_DATA_SPECS", str(folder))
    monkeypatch.syspath_prepend(generators_folder)

    def load(content=TOY):
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        (folder / "toy.yaml").write_text(text, encoding="utf-8")
        return load_spec("toy")

    return load


@pytest.fixture
def toy(load_toy):
    return load_toy()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1.5 MB, real, so that writing to it truly fails."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(folder)]
    if not mount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
