"""How a network is trained: optimizer, learning rate, batch size, epochs, precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
from keras import ops

from repro.errors import ReproError
from repro.training.precision import check_precision

CHOICES = {
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("constant", "cosine"),
    "keep": ("best", "last"),
    "scaling": ("none", "linear"),
    "compression": ("none", "float16", "bfloat16"),
}
OWN_LOSS = "none"  # the terms that the network adds by add_loss are all there is


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the training split [1]; samples per step [1].
    learning_rate : float
        The highest learning rate [1].
    optimizer : str
        ``"adam"``, ``"adamw"`` or ``"sgd"`` (without momentum).
    schedule : str
        ``"constant"``, or ``"cosine"``: falls to 0 along half a cosine by the last step.
    warmup_steps : int
        Steps over which the learning rate first rises in a line [1].
    weight_decay : float
        Decoupled from the gradient, on every trainable variable [1].
    clip_norm : float or None
        Largest norm of the gradient of all variables together [1].
    precision : str
        ``"float32"``, ``"mixed_bfloat16"`` or ``"mixed_float16"``.
    jit_compile : bool
        Compile the step with XLA. Under JAX it always is.
    keep : str
        Which weights come out: of the epoch with the lowest validation loss (``"best"``), or of
        the ``"last"``.
    loss : str
        Keras's name of a loss, or ``"package>name"`` of a loss registered with Keras; computed in
        float32.
        ``"none"``: the network's own ``add_loss`` terms are all there is.
    scaling : str
        What several workers change. ``"none"``: nothing, they share out each batch. ``"linear"``:
        each takes a batch of ``batch_size``, and the learning rate is multiplied by their number;
        meant to go with ``warmup_steps`` (Goyal et al. 2017, arXiv:1706.02677).
    compression : str
        How gradients travel between workers: ``"none"`` (float32), ``"float16"`` or
        ``"bfloat16"``.

    Raises
    ------
    ReproError
        If a value is not known or not possible.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str = "adam"
    schedule: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    precision: str = "float32"
    jit_compile: bool = False
    keep: str = "best"
    loss: str = "mae"
    scaling: str = "none"
    compression: str = "none"

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ReproError(
                    f"The recipe's {name} '{getattr(self, name)}' is not known: "
                    f"choose one of {', '.join(choices)}."
                )
        check_precision(self.precision)
        for name in ("epochs", "batch_size"):
            self._at_least(name, 1)
        for name in ("warmup_steps", "weight_decay"):
            self._at_least(name, 0)
        for name in ("learning_rate", "clip_norm"):
            self._above_zero(name)
        _find_loss(self.loss)

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not least <= value < math.inf:
            raise ReproError(f"The recipe's {name} is {value}: it must be at least {least}.")

    def _above_zero(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not 0 < value < math.inf:
            raise ReproError(f"The recipe's {name} is {value}: it must be above 0.")

    def for_workers(self, workers: int) -> Recipe:
        """Return the recipe that a number of workers follow together.

        Raises
        ------
        ReproError
            If there are more workers than samples in a batch.
        """
        if self.scaling == "linear" and workers > 1:
            return replace(
                self,
                batch_size=self.batch_size * workers,
                learning_rate=self.learning_rate * workers,
            )
        if workers > self.batch_size:
            raise ReproError(
                f"{workers} workers cannot share batches of {self.batch_size} samples: start "
                "fewer, or choose a larger batch_size or scaling linear."
            )
        return self

    def build_loss(self) -> Callable | None:
        """Return the loss, or None if the network brings its own."""
        return _find_loss(self.loss)

    def build_optimizer(self, steps_per_epoch: int) -> keras.optimizers.Optimizer:
        """Return a new optimizer with the recipe's learning-rate schedule.

        Parameters
        ----------
        steps_per_epoch : int
            Batches per epoch [1].

        Raises
        ------
        ReproError
            If the warm-up is as long as the whole training.
        """
        build = {
            "adam": keras.optimizers.Adam,
            "adamw": keras.optimizers.AdamW,
            "sgd": keras.optimizers.SGD,
        }[self.optimizer]
        no_decay = 0.0 if self.optimizer == "adamw" else None  # AdamW refuses None
        return build(
            learning_rate=self._learning_rate(self.epochs * steps_per_epoch),
            weight_decay=self.weight_decay or no_decay,
            global_clipnorm=self.clip_norm,
        )

    def _learning_rate(self, total_steps: int) -> float | Schedule:
        if self.warmup_steps >= total_steps:
            raise ReproError(
                f"The recipe warms up for {self.warmup_steps} steps, but the whole training has "
                f"{total_steps}: lower warmup_steps or train longer."
            )
        if self.schedule == "constant" and not self.warmup_steps:
            return self.learning_rate
        cosine = self.schedule == "cosine"
        return Schedule(self.learning_rate, total_steps, self.warmup_steps, cosine)


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


def is_compiled(jit_compile: bool = False) -> bool:
    """Tell whether a step is compiled: where it was asked for, and always under JAX.

    Keras would run JAX one operation at a time without it.
    """
    return jit_compile or keras.config.backend() == "jax"


def _find_loss(name: str) -> Callable | None:
    if name == OWN_LOSS:
        return None
    try:
        return keras.saving.get_registered_object(name) or keras.losses.get(name)
    except ValueError:
        raise ReproError(
            f"The recipe's loss '{name}' is not known: give Keras's name of a loss, such as "
            f"mae or mse, or '{OWN_LOSS}' if the network adds its own."
        ) from None
