"""A learning rate that changes from step to step."""

from __future__ import annotations

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="repro")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises in a line, then stays or falls to 0 along half a cosine.

    Parameters
    ----------
    learning_rate : float
        The highest learning rate [1], reached by step ``warmup_steps - 1``.
    total_steps : int
        Steps of the whole training [1]; at this step a cosine has fallen to 0.
    warmup_steps : int
        Steps of the rise [1]; the first step already learns.
    cosine : bool
        Fall after the rise.
    """

    def __init__(self, learning_rate: float, total_steps: int, warmup_steps: int, cosine: bool):
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.cosine = cosine

    def __call__(self, step):
        """Return the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        rate = ops.minimum((step + 1) / max(self.warmup_steps, 1), 1.0)
        if self.cosine:
            fallen = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
            rate = rate * 0.5 * (1 + ops.cos(math.pi * ops.clip(fallen, 0.0, 1.0)))
        return self.learning_rate * rate

    def get_config(self) -> dict:
        """Return the arguments that make an equal schedule."""
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "cosine": self.cosine,
        }
