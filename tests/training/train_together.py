"""Trains small networks as one of several ranks; the tests start it with every launcher.

Called with a JSON of a folder, cases by name, and what goes wrong: ``{"rank": 1, "step": 7, "how":
"kill" | "stop" | "sleep" | "nan" | "error"}``, once, at the 7th batch that rank reads; or with
``"during": "validation" | "saving"`` as it validates, or has written half of its first state.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np

import repro.training.state as state_module
from repro.datasets.batches import Batches
from repro.errors import ReproError
from repro.training.distributed import join
from repro.training.dropout import Dropout
from repro.training.fit import fit
from repro.training.recipe import Recipe

# 65 samples in batches of 16: four whole ones and one of a single sample, five steps an epoch.
N_TRAIN, N_VALIDATION = 65, 21
NOTHING = MappingProxyType({})
PLAIN = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "loss": "mse"}


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_TRAIN + N_VALIDATION, 8)).astype("float32")
    return x, np.sin(x).sum(axis=1, keepdims=True)


def build_model(dropout=0.0, normalised=False):
    layers = [keras.Input((8,)), keras.layers.Dense(32, activation="relu")]
    layers += [Dropout(dropout)] if dropout else []
    layers += [keras.layers.BatchNormalization()] if normalised else []
    return keras.Sequential([*layers, keras.layers.Dense(1, dtype="float32")])


def go_wrong(how, marker):
    if marker.exists():
        return
    marker.touch()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "sleep":
        time.sleep(1000)
    if how == "error":
        raise ReproError("This rank was told to fail.")


def save_half(go):
    """Let the first state that is saved be cut off."""
    savez = np.savez

    def half(file, *arrays, **members):
        if "history" in members:
            file.write(b"PK half a state")
            file.flush()
            go()
        return savez(file, *arrays, **members)

    state_module.np.savez = half


def renewed_answers(model, epochs, arrays):
    return {"answers": 0.1 * model.predict(data()[0], verbose=0) + arrays.get("answers", 0)}


def train(folder, case, world, wrong, pause_s):
    case = dict(case)
    network = {name: case.pop(name) for name in ("dropout", "normalised") if name in case}
    renew = renewed_answers if case.pop("renewed", False) else None
    recipe = world.follow(Recipe.of(PLAIN | case))
    x, y = data()
    n_read = 0
    is_doomed = bool(wrong) and world.rank == wrong["rank"]
    during = wrong.get("during") if is_doomed else None

    def go():
        go_wrong(wrong["how"], folder.parent / "went wrong")

    if during == "saving":
        save_half(go)

    def load(rows, arrays=NOTHING):
        nonlocal n_read
        n_read += 1
        time.sleep(pause_s)
        targets = y[rows] + (arrays["answers"][rows] if arrays else 0)
        if is_doomed and n_read == wrong.get("step"):
            if wrong["how"] == "nan":
                targets = targets * np.nan
            else:
                go()
        return x[rows], targets

    train = Batches(load, np.arange(N_TRAIN), recipe.batch_size, seed=3)
    rows = np.arange(N_TRAIN, N_TRAIN + N_VALIDATION)

    def load_validation(rows, *_):
        if during == "validation":
            go()
        return x[rows], y[rows]

    validation = Batches(load_validation, rows, recipe.batch_size, seed=None)
    build = partial(build_model, **network)
    return fit(build, recipe, train, validation, folder, 0, {}, world=world, renew=renew)


def main(options):
    folder = Path(options["folder"])

    def work():
        world.agree(options.get("facts", {}).get(str(world.rank), {"code": "the same"}))
        for name, case in options["cases"].items():
            keras.utils.clear_session()
            model, _ = train(
                folder / name, case, world, options.get("wrong"), options.get("pause_s", 0)
            )
            kept = folder / f"{name}-rank-{world.rank}-of-{world.size}.npz"
            np.savez(kept, *model.get_weights())

    with join(options.get("timeout_s", 120)) as world:
        world.run(work)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except ReproError as error:
        sys.exit(f"error: {error}")
