"""Steps on the device against steps one by one, under JAX: the same course, resumed too.

Run as a script, ``test_steps.py FOLDER`` trains every case in every way in FOLDER/CASE/WAY.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import keras
import numpy as np
import pytest

from repro.datasets.batches import Batches
from repro.errors import NotPossibleHere, ReproError
from repro.training import steps as steps_module
from repro.training.fit import fit
from repro.training.loss_term import LossTerm
from repro.training.recipe import Recipe
from repro.training.schedules import Adaptive, Ramp
from repro.training.state import DONE, load_state
from repro.training.ways import ON_DEVICE, ONE_BY_ONE, SCAN, check_way

pytestmark = pytest.mark.slow

N_TRAIN, N_VALIDATION, BATCH = 44, 8, 8  # five whole batches and one of four
TIMES = {"seconds", "samples_per_second"}
RECIPE = Recipe(epochs=3, batch_size=BATCH, learning_rate=0.01, loss="mse")


def samples(shape=(8,)):
    x = np.random.default_rng(1).normal(size=(N_TRAIN + N_VALIDATION, *shape)).astype("float32")
    return x, np.sin(x).reshape(len(x), -1).sum(axis=1, keepdims=True)


def dense():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(1, dtype="float32"),
        ]
    )


def normalised():
    """A network with moving statistics, a regulariser and a term of its own."""
    x = keras.Input((8,))
    y = keras.layers.Dense(16, kernel_regularizer="l2")(x)
    y = keras.layers.BatchNormalization(momentum=0.9)(y)
    y = LossTerm("size")(y, y**2)
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Dropout(0.2)(y)))


def convolutional():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12, 2)),
            layers.Conv1D(4, 3, activation="relu", padding="same"),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )


def renewed(model, epochs, arrays):
    return {"answers": arrays.get("answers", 0) + 0.1 * model.predict(samples()[0], verbose=0)}


@dataclass(frozen=True)
class Case:
    build: Callable = dense
    changes: dict = field(default_factory=dict)
    shape: tuple = (8,)
    renew: Callable | None = None
    altered: bool = False

    @property
    def recipe(self):
        return replace(RECIPE, **self.changes)


DECAY = {"optimizer": "adamw", "weight_decay": 0.01, "clip_norm": 0.1}
CASES = {
    "dropout": Case(changes={**DECAY, "schedule": "cosine", "warmup_steps": 3}),
    "statistics": Case(
        normalised,
        {
            "optimizer": "sgd",
            "keep": "best_training",
            "loss_weights": (Ramp("size", 0.0, 0.1, 1, 3),),
            "rate_by_epoch": Adaptive(rise=1.5, fall=0.5),
        },
        renew=renewed,
    ),
    "convolution": Case(convolutional, shape=(12, 2)),
    "float16": Case(changes={"precision": "mixed_float16", "learning_rate": 1e-3}),
    "altered": Case(changes={"precision": "mixed_bfloat16"}, altered=True),
}
LOOPED = ("dropout", "statistics", "convolution")  # samples that stay on the device


def train(folder, case, way, on_epoch=None, load=None):
    x, y = samples(case.shape)
    # Overflows at first, so that the scale of the loss falls.
    y = 1e5 * y if case.recipe.precision == "mixed_float16" else y

    def plain(rows, arrays=None):
        return x[rows], y[rows] + (arrays["answers"][rows] if arrays else 0)

    def altered(rows, seeds):
        noise = [np.random.default_rng(seed).normal(size=case.shape) for seed in seeds]
        return (x[rows] + np.array(noise)).astype("float32"), y[rows]

    rows = np.arange(N_TRAIN + N_VALIDATION)
    training = Batches(
        load or plain, rows[:N_TRAIN], BATCH, seed=0, augmented=altered if case.altered else None
    )
    validation = Batches(plain, rows[N_TRAIN:], BATCH, seed=None)
    return fit(
        case.build, case.recipe, training, validation, folder, 0, {}, on_epoch, quiet=True,
        way=way, renew=case.renew,
    )  # fmt: skip


def stopped_after(epoch, folder, case, way):
    def stop(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder, case, way, on_epoch=stop)


def main(folder):
    for name, case in CASES.items():
        for way in (ONE_BY_ONE, ON_DEVICE, *[SCAN] * (name in LOOPED)):
            train(folder / name / way, case, way)
        stopped_after(2, folder / name / "resumed", case, ON_DEVICE)
        train(folder / name / "resumed", case, ON_DEVICE)
    stopped_after(1, folder / "changed", CASES["dropout"], ON_DEVICE)
    train(folder / "changed", CASES["dropout"], ONE_BY_ONE)
    said = {"nan": refusal_of_nan(folder / "nan"), **with_little_memory(folder)}
    print(json.dumps(said))  # noqa: T201


def refusal_of_nan(folder):
    """Return what is said when the answers become no number in the second epoch."""
    x, y = samples()
    reads = []

    def load(rows):
        reads.append(len(rows))
        return x[rows], np.where(len(reads) > 8, np.nan, y[rows])

    steps_module.RESIDENT_BYTES = 0  # so that samples are read batch by batch
    try:
        train(folder, CASES["dropout"], ON_DEVICE, load=load)
    except ReproError as error:
        return str(error), len(load_state(folder).history)
    raise AssertionError("a training went on with losses that are no numbers")


def with_little_memory(folder):
    """Train where a batch fits and all samples do not; return what is said where neither does."""
    steps_module.RESIDENT_BYTES = 4e9
    send = steps_module.send

    def full(*arguments, **how):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    steps_module.send = lambda arrays, split=False: send(arrays, split) if split else full()
    train(folder / "crowded", CASES["dropout"], ON_DEVICE)
    steps_module.send = full
    try:
        train(folder / "full", CASES["dropout"], ON_DEVICE)
    except NotPossibleHere as error:
        return {"full": str(error)}
    raise AssertionError("a batch fitted where nothing does")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of all trainings, and what the process that made them said."""
    folder = tmp_path_factory.mktemp("steps")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def timeless(history):
    return [{name: row[name] for name in row if name not in TIMES} for row in history]


def assert_equal(one, two):
    """Two trainings have the same history and state to the last bit."""
    one, two = load_state(one), load_state(two)
    assert timeless(one.history) == timeless(two.history)
    for a, b in zip([*one.model, *one.optimizer], [*two.model, *two.optimizer], strict=True):
        np.testing.assert_array_equal(a, b)


def assert_near(one, two, tolerance):
    one, two = load_state(one), load_state(two)
    for name in ("loss", "val_loss"):
        losses = [[row[name] for row in state.history] for state in (one, two)]
        np.testing.assert_allclose(*losses, rtol=tolerance)
    for a, b in zip([*one.model, *one.optimizer], [*two.model, *two.optimizer], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(a).max(), 1e-6))


@pytest.mark.parametrize("name", CASES)
def test_steps_on_the_device_are_those_taken_one_by_one(trained, name):
    folder = trained[0] / name
    assert_equal(folder / ONE_BY_ONE, folder / ON_DEVICE)


@pytest.mark.parametrize("name", LOOPED)
def test_a_loop_of_steps_on_the_device_ends_where_single_ones_do(trained, name):
    # XLA rounds convolutions otherwise within a loop.
    assert_near(trained[0] / name / ON_DEVICE, trained[0] / name / SCAN, 1e-5)


@pytest.mark.parametrize("name", CASES)
def test_resumed_on_the_device_equals_straight(trained, name):
    folder = trained[0] / name
    assert_equal(folder / ON_DEVICE, folder / "resumed")


def test_a_training_begun_on_the_device_goes_on_one_by_one(trained):
    assert_equal(trained[0] / "dropout" / ONE_BY_ONE, trained[0] / "changed")


def test_the_way_is_told_with_what_is_done(trained):
    for way in (ONE_BY_ONE, ON_DEVICE, SCAN):
        assert json.loads((trained[0] / "dropout" / way / DONE).read_text())["steps"] == way


def test_a_loss_that_is_no_number_stops_the_training_and_the_state_is_kept(trained):
    said, epochs = trained[1]["nan"]
    assert "became nan in epoch 2" in said
    assert epochs == 1


def test_samples_that_do_not_fit_on_the_device_go_there_batch_by_batch(trained):
    assert_equal(trained[0] / "dropout" / ON_DEVICE, trained[0] / "crowded")


def test_a_batch_that_does_not_fit_is_told_with_what_helps(trained):
    assert "batch of 8 in float32 does not fit" in trained[1]["full"]
    assert "recipe.batch_size" in trained[1]["full"]


@pytest.mark.parametrize("way", [ON_DEVICE, SCAN])
def test_steps_on_the_device_need_jax(way):
    with pytest.raises(ReproError, match="KERAS_BACKEND=jax"):
        check_way(way)


def test_an_unknown_way_is_refused_with_those_there_are():
    with pytest.raises(ReproError, match=r"'leaps'.*one_by_one, on_device, scan"):
        check_way("leaps")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
