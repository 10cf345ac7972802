"""A small training with dropout, for the tests and for processes that are killed.

``train_small.py FOLDER`` trains once in FOLDER/straight, and once in FOLDER/killed with a process
that is killed three times; ``train_small.py FOLDER interrupted`` is interrupted instead, once.
"""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

import repro.training.state as state_module
from repro.datasets.batches import Batches, gather
from repro.training.fit import fit
from repro.training.precision import enable_determinism
from repro.training.recipe import Recipe

KILLS = ((2, "batch"), (3, "weights"), (5, "state"))  # epoch, what it is in the middle of
RECIPE = Recipe(
    epochs=5,
    batch_size=16,
    learning_rate=0.02,
    optimizer="adamw",
    schedule="cosine",
    warmup_steps=7,
    weight_decay=0.01,
    clip_norm=1.0,
    loss="mse",
)


def data():
    x = np.random.default_rng(1).normal(size=(100, 8)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def build_model():
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )


def batches(load=None, n_train=64, n_validation=16):
    load = load or gather(*data())
    rows = np.arange(n_train + n_validation)
    return (
        Batches(load, rows[:n_train], 16, seed=0),
        Batches(load, rows[n_train:], 16, seed=None),
    )


def train(folder, recipe=RECIPE, load=None, seed=0, configuration=None, **options):
    configuration = configuration or {"task": "small"}
    train, validation = batches(load)
    return fit(
        build_model, recipe, train, validation, folder, seed, configuration, quiet=True, **options
    )


def train_uneven(folder, load=None):
    """Train with a smaller last batch."""
    train, validation = batches(load, n_train=70, n_validation=21)
    fit(build_model, RECIPE, train, validation, folder, 0, {}, quiet=True)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def load_and_die(epoch):
    plain = gather(*data())
    train, _ = batches(plain, n_train=70)
    train.epoch = epoch - 1
    doomed = train[2][0]

    def load(rows):
        x, y = plain(rows)
        if np.array_equal(x, doomed):
            kill()
        return x, y

    return load


def write_and_die(epoch, half_written):
    savez = np.savez

    def savez_and_die(file, **members):
        if f'"epoch": {epoch},' not in members["history"].item():
            return savez(file, **members)
        if half_written:
            file.write(b"PK half a state")
            file.flush()
        return kill()

    state_module.np.savez = savez_and_die


def train_killed(folder, epoch, during):
    if during == "batch":
        train_uneven(folder, load_and_die(epoch))
    else:
        write_and_die(epoch, half_written=during == "state")
        train_uneven(folder)


def in_child(function, *arguments):
    """Run a function in a process of its own; return the signal that ended it."""
    child = os.fork()
    if not child:
        enable_determinism()
        function(*arguments)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def run_killed(folder):
    in_child(train_uneven, folder / "straight")
    for epoch, during in KILLS:
        ended_by = in_child(train_killed, folder / "killed", epoch, during)
        n_epochs = len(state_module.load_state(folder / "killed").history)
        print(epoch, during, ended_by, n_epochs)  # noqa: T201
    in_child(train_uneven, folder / "killed")


def run_interrupted(folder):
    def interrupt(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    enable_determinism()
    train(folder / "straight")
    try:
        train(folder / "killed", on_epoch=interrupt)
    except KeyboardInterrupt:
        train(folder / "killed")


if __name__ == "__main__":
    run = run_interrupted if "interrupted" in sys.argv else run_killed
    run(Path(sys.argv[1]))
