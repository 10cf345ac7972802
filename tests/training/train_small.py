"""A small training with dropout in a process of its own: FOLDER [KILL_EPOCH] [KILL_WHERE].

KILL_WHERE is ``batch`` (in the middle of the epoch), ``weights`` (after the best weights are
written, before the state is) or ``state`` (in the middle of writing the state).
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
from repro.training.recipe import Recipe

N_TRAIN, N_VALIDATION = 70, 21
RECIPE = Recipe(
    epochs=5, batch_size=16, learning_rate=0.02, optimizer="adamw", schedule="cosine",
    warmup_steps=7, weight_decay=0.01, clip_norm=1.0, loss="mse",
)  # fmt: skip


def data():
    draws = np.random.default_rng(1)
    x = draws.normal(size=(N_TRAIN + N_VALIDATION, 8)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def build_model():
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )


def batches(load=None, size=16, seed=0):
    load = load or gather(*data())
    rows = np.arange(N_TRAIN + N_VALIDATION)
    return Batches(load, rows[:N_TRAIN], size, seed), Batches(load, rows[N_TRAIN:], size, None)


def train(folder, recipe=RECIPE, load=None, seed=0, configuration=None, **options):
    return fit(
        build_model, recipe, *batches(load), folder, seed, configuration or {"task": "small"},
        quiet=True, **options,
    )  # fmt: skip


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def killing_load(kill_epoch):
    plain = gather(*data())
    third = batches(plain)[0]
    third.epoch = kill_epoch - 1
    doomed = third[2][0]

    def load(rows):
        x, y = plain(rows)
        if np.array_equal(x, doomed):
            kill()
        return x, y

    return load


def kill_in_state(kill_epoch, half_written):
    savez = np.savez

    def savez_and_die(file, **members):
        if f'"epoch": {kill_epoch},' not in members["history"].item():
            return savez(file, **members)
        if half_written:
            file.write(b"PK half a state")
            file.flush()
        return kill()

    state_module.np.savez = savez_and_die


def main(folder, kill_epoch=0, where="batch"):
    load = None
    if kill_epoch:
        if where == "batch":
            load = killing_load(kill_epoch)
        else:
            kill_in_state(kill_epoch, where == "state")
    train(Path(folder), load=load)


if __name__ == "__main__":
    main(sys.argv[1], *(int(n) for n in sys.argv[2:3]), *sys.argv[3:4])
