"""How the two networks are trained: one finds the background, the other what is above it."""

from dataclasses import replace
from functools import partial

from repro.studies.decays.model import build_model

from repro.datasets.batches import gather
from repro.study import Task
from repro.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=1e-2)


def tasks(variant, preset, dataset):
    """Return the two tasks, the second without its examples."""
    signal = dataset.array("signal")
    build = partial(build_model, signal.shape[1])
    first = Task("background", build, gather(signal, dataset.array("background")), RECIPE)
    second = Task(
        "time_constant", build, None, RECIPE,
        needs=("background",), given=partial(above_background, dataset),
    )  # fmt: skip
    return [first, second]


def above_background(dataset, task, networks):
    """Return the second task, which sees signals less the background that the first finds."""
    signal = dataset.array("signal")
    found = networks["background"].predict(signal, batch_size=len(signal), verbose=0)
    return replace(task, load=gather(signal - found, dataset.array("time_constant")))
