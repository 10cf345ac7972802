import os
import subprocess
import sys

import keras
import pytest

from repro.datasets.build import build
from repro.errors import ReproError
from repro.study import get_study
from repro.training.precision import precision

pytestmark = pytest.mark.slow

FEW = {"train": 64, "validation": 8, "test": 2}


@pytest.fixture(scope="module")
def few_films(tmp_path_factory):
    """A data set of a few films."""
    spec = get_study("mamba").data_spec.resolve("smoke", None, FEW)
    return build(spec, tmp_path_factory.mktemp("films") / "data.h5")


def start_training(data, out, backend):
    settings = [f"{split}={n}" for split, n in FEW.items()]
    settings += ["recipe.epochs=1", "recipe.batch_size=8"]
    command = [sys.executable, "-m", "repro", "train", "mamba", "--preset", "smoke"]
    command += ["--deterministic", "--threads", "2", "--quiet", "--data", data, "--out", out]
    command += [word for setting in settings for word in ("--set", setting)]
    return subprocess.Popen(
        command,
        env={**os.environ, "KERAS_BACKEND": backend},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_deterministic_trainings_end_in_the_same_bits(backend, few_films, tmp_path):
    # At the same time, so that each disturbs the order in which the other's threads run.
    trainings = {out: start_training(few_films, tmp_path / out, backend) for out in "ab"}
    errors = [training.communicate()[1] for training in trainings.values()]
    assert [training.returncode for training in trainings.values()] == [0, 0], errors
    kept = [sorted((tmp_path / out).glob("*/networks/*/best.weights.h5")) for out in trainings]
    assert len(kept[0]) == len(kept[1]) == 2
    for one, other in zip(*kept, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.parent.name


def test_unknown_precision_is_refused_with_the_known_ones():
    with (
        pytest.raises(ReproError, match="'float64' is not known: choose one of float32, mixed_b"),
        precision("float64"),
    ):
        pass


def fail_under(name):
    with precision(name):
        assert keras.config.dtype_policy().name == name
        raise KeyError(name)


def test_policy_of_before_comes_back_even_after_an_error():
    with pytest.raises(KeyError):
        fail_under("mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
