"""How the two networks are trained: one finds the background, the other what is above it."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from repro.studies.decays.model import background_network, time_network

from repro.datasets.batches import gather
from repro.study import Task
from repro.training.recipe import Recipe
from repro.training.schedules import Ramp, Triangle

FIRST = Recipe(epochs=3, batch_size=8, learning_rate=1e-2)
SECOND = Recipe(
    epochs=4,
    batch_size=8,
    learning_rate=1e-2,
    keep="best_training",
    epsilon=1e-8,
    rate_by_epoch=Triangle(lowest=0.1, half_period=2),
    loss_weights=(Ramp("activity", 0.0, 1e-3, first_epoch=1, last_epoch=3),),
)


def tasks(variant, preset, dataset):
    """Return the two tasks, the second without its examples."""
    signal = dataset.array("signal")
    first = gather(signal, dataset.array("background"))
    n_times = signal.shape[1]
    return [
        Task("background", partial(background_network, n_times), first, FIRST),
        Task(
            "time_constant",
            partial(time_network, n_times),
            None,
            SECOND,
            needs=("background",),
            given=partial(above_background, dataset),
        ),
    ]


def above_background(dataset, task, networks):
    """Return the second task, which sees signals less the background that the first finds."""
    signal = dataset.array("signal")
    found = networks["background"].predict(signal, batch_size=len(signal), verbose=0)
    examples = Masked(signal - found, np.asarray(dataset.array("time_constant")))
    return replace(task, load=examples.load, renew=examples.renew)


@dataclass(frozen=True)
class Masked:
    """Signals, of which the network sees the times that it makes most of."""

    signal: np.ndarray
    time_constant: np.ndarray

    def load(self, rows, arrays=None):
        """Return signals and time constants; all times outside training."""
        mask = arrays["mask"] if arrays else 1
        return self.signal[rows] * mask, self.time_constant[rows]

    def renew(self, model, epochs, arrays):
        """Leave out the time whose weights are smallest; none before the first epoch."""
        mask = np.ones(self.signal.shape[1], np.float32)
        if epochs:
            weights = np.abs(np.asarray(model.get_weights()[0])).sum(axis=1)
            mask[weights.argmin()] = 0
        return {"mask": mask}
