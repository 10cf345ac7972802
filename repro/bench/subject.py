"""A network made ready to be timed: compiled, with its batches and its cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from repro.bench.flops import Cost, network_cost
from repro.bench.networks import Network
from repro.bench.timing import MOST_STEPS, Epoch
from repro.datasets.batches import Batches, gather
from repro.errors import ReproError
from repro.training.fit import compiled
from repro.training.recipe import Recipe
from repro.training.steps import STEPS_PER_SCAN, Steps, steps_of
from repro.training.ways import SCAN, check_way

EPOCH_BYTES = 2**30  # most that the samples of an epoch take
SCHEDULED_STEPS = 10**6  # an epoch's, by the schedule of the learning rate
READY, WHOLE = "ready", "whole"


class Subject:
    """A network that is timed in one precision.

    Parameters
    ----------
    network : Network
        What is timed.
    policy : str
        Keras dtype policy.
    way : str, optional
        How training steps are taken; by default as in a training.
    """

    def __init__(self, network: Network, policy: str, way: str | None = None):
        self.network, self.policy = network, policy
        self.way = check_way(way)

    @property
    def recipe(self) -> Recipe:
        """How the network is trained."""
        return self.network.task.recipe

    @cached_property
    def model(self) -> keras.Model:
        """The network, compiled as for its training."""
        recipe = replace(self.recipe, precision=self.policy)
        return compiled(self.network.task.build_model, recipe, 0, SCHEDULED_STEPS)

    def forget_model(self) -> None:
        """Build the network anew when it is next asked for: a failed step may have spoilt it."""
        vars(self).pop("model", None)

    @cached_property
    def example(self) -> tuple[Any, Any]:
        """Input and target of one example."""
        return self.network.task.load(self.network.examples[:1])

    @cached_property
    def cost(self) -> Cost | None:
        """What a sample costs; None where a layer's cost is not known."""
        try:
            return network_cost(self.model, self.example[0])
        except ReproError:
            return None

    @contextmanager
    def programs(self, phase: str, batch: int) -> Iterator[dict[str, Epoch]]:
        """Give what is timed of a phase, by name; each takes a number of steps."""
        if phase == "infer":
            x, _ = self._held(batch)
            yield {READY: lambda n: self._answers(x, n)}
        elif phase == "data":
            whole = self._whole_batches(batch)
            yield {WHOLE: lambda n: (1 for _ in whole.shares(0, 1, len(whole) - n))}
        else:
            ready, whole = self._ready_batches(batch), self._whole_batches(batch)
            steps = steps_of(self.model, way=self.way)
            yield {
                READY: lambda n: _trained(steps, ready, n),
                WHOLE: lambda n: _trained(steps, whole, n),
            }
            steps.settle()

    def most_steps(self, batch: int) -> int:
        """Return how many steps an epoch may have for its samples to fit in memory."""
        sample = sum(array.nbytes for array in keras.tree.flatten(self.example))
        return max(1, min(MOST_STEPS, EPOCH_BYTES // (batch * sample)))

    def steps_at_once(self, phase: str, batch: int) -> int:
        """Return the fewest steps that can be timed: those of one call of the device."""
        is_scan = phase == "train" and self.way == SCAN
        return min(STEPS_PER_SCAN, self.most_steps(batch)) if is_scan else 1

    def _answers(self, x: Any, n_steps: int) -> Iterator[int]:
        for _ in range(n_steps):
            self.model.predict_on_batch(x)
            yield 1

    def _held(self, batch: int) -> tuple[Any, Any]:
        """Return input and target of a batch, in memory."""
        known = self.network.task.load(self.network.examples[:batch])
        places = np.arange(batch) % len(keras.tree.flatten(known)[0])
        return keras.tree.map_structure(lambda array: array[places], known)

    def _ready_batches(self, batch: int) -> Batches:
        """Return batches that take no work."""
        rows = np.resize(np.arange(batch), batch * self.most_steps(batch))
        return Batches(gather(*self._held(batch)), rows, batch, seed=0)

    def _whole_batches(self, batch: int) -> Batches:
        """Return batches as a training makes them."""
        task = self.network.task
        rows = np.resize(self.network.examples, batch * self.most_steps(batch))
        return Batches(task.load, rows, batch, seed=0, augmented=task.augmented)


def _trained(steps: Steps, batches: Batches, n_steps: int) -> Iterator[int]:
    # The last batches of an epoch, and not another epoch: samples on the device keep their
    # number, so that the program that takes them is compiled once.
    return (len(losses) for losses, _ in steps.train(batches, len(batches) - n_steps))
