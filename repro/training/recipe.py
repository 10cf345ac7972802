"""How a network is trained: optimizer, learning rate, batch size, epochs, precision.

A recipe can be written and checked without Keras, which is imported where it is first used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from repro.errors import ReproError
from repro.training.precision import check_precision
from repro.training.schedules import LossWeights, RateByEpochOrNone

if TYPE_CHECKING:
    import keras

    from repro.training.learning_rate import Schedule

CHOICES = {
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("constant", "cosine"),
    "keep": ("best", "best_training", "last"),
    "scaling": ("none", "linear"),
    "compression": ("none", "float16", "bfloat16"),
}
OWN_LOSS = "none"  # the terms that the network adds by add_loss are all there is
# A field younger than the first runs is no part of their identity, unless it is used.
YOUNGER = {"left out at its default": True}


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
        Which weights come out: of the epoch with the lowest validation loss (``"best"``), with
        the lowest training loss (``"best_training"``), or of the ``"last"``.
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
    beta_1, beta_2, epsilon : float
        Constants of Adam and AdamW [1]. PyTorch's epsilon is 1e-8.
    rate_by_epoch : Triangle, StepDecay, Adaptive or None
        How the learning rate changes from epoch to epoch, instead of from step to step: neither
        with ``schedule`` nor with ``warmup_steps``.
    loss_weights : tuple of Ramp or Staircase
        How the weights of terms that the network adds to its loss change from epoch to epoch.

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
    beta_1: float = field(default=0.9, metadata=YOUNGER)
    beta_2: float = field(default=0.999, metadata=YOUNGER)
    epsilon: float = field(default=1e-7, metadata=YOUNGER)
    rate_by_epoch: RateByEpochOrNone = field(default=None, metadata=YOUNGER)
    loss_weights: LossWeights = field(default=(), metadata=YOUNGER)

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
        for name in ("learning_rate", "clip_norm", "epsilon"):
            self._above_zero(name)
        for name in ("beta_1", "beta_2"):
            self._share(name)
        self._check_schedules()

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not least <= value < math.inf:
            raise ReproError(f"The recipe's {name} is {value}: it must be at least {least}.")

    def _above_zero(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not 0 < value < math.inf:
            raise ReproError(f"The recipe's {name} is {value}: it must be above 0.")

    def _share(self, name: str) -> None:
        value = getattr(self, name)
        if not 0 <= value < 1:
            raise ReproError(f"The recipe's {name} is {value}: it must be from 0 to below 1.")

    def _check_schedules(self) -> None:
        if self.rate_by_epoch and (self.schedule != "constant" or self.warmup_steps):
            raise ReproError(
                "The recipe changes the learning rate by epoch and by step: leave out "
                "rate_by_epoch, or schedule and warmup_steps."
            )
        terms = [weight.term for weight in self.loss_weights]
        if len(set(terms)) < len(terms):
            raise ReproError(
                f"The recipe's loss_weights name a term twice ({', '.join(terms)}): give each once."
            )

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `described` gave, perhaps by way of JSON.

        Raises
        ------
        pydantic.ValidationError
            If a field has a value of another type.
        """
        return TypeAdapter(cls).validate_python(dict(described))

    def described(self) -> dict[str, Any]:
        """Return the recipe as JSON values, without younger fields that are not used.

        It is part of a run's identity: a field that is added later must not change that of the
        runs that came before.
        """
        unused = {f.name for f in fields(self) if f.metadata and getattr(self, f.name) == f.default}
        return {name: value for name, value in asdict(self).items() if name not in unused}

    def changed(self, changes: Mapping[str, Any]) -> Recipe:
        """Return the recipe with some fields changed; texts are read as the field's type.

        Raises
        ------
        ReproError
            If a field is unknown, or its value does not fit.
        """
        known = [f.name for f in fields(self)]
        for name in changes:
            if name not in known:
                raise ReproError(f"--set recipe.{name}: a recipe has only {', '.join(known)}.")
        try:
            return Recipe.of({**asdict(self), **changes})
        except ValidationError as error:
            first = error.errors()[0]
            name, *within = map(str, first["loc"])
            complaint = ": ".join([*within, first["msg"].removeprefix("Value error, ")])
            raise ReproError(f"--set recipe.{name}={changes[name]}: {complaint}.") from None

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
        """Return the loss, or None if the network brings its own.

        Raises
        ------
        ReproError
            If Keras knows no such loss.
        """
        import keras

        if self.loss == OWN_LOSS:
            return None
        try:
            return keras.saving.get_registered_object(self.loss) or keras.losses.get(self.loss)
        except ValueError:
            raise ReproError(
                f"The recipe's loss '{self.loss}' is not known: give Keras's name of a loss, such "
                f"as mae or mse, or '{OWN_LOSS}' if the network adds its own."
            ) from None

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
        import keras

        arguments = {
            "learning_rate": self._learning_rate(self.epochs * steps_per_epoch),
            "weight_decay": self.weight_decay or None,
            "global_clipnorm": self.clip_norm,
        }
        if self.optimizer == "sgd":
            return keras.optimizers.SGD(**arguments)
        constants = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        if self.optimizer == "adam":
            return keras.optimizers.Adam(**arguments, **constants)
        arguments["weight_decay"] = self.weight_decay  # AdamW refuses None
        return keras.optimizers.AdamW(**arguments, **constants)

    def _learning_rate(self, total_steps: int) -> float | Schedule:
        if self.warmup_steps >= total_steps:
            raise ReproError(
                f"The recipe warms up for {self.warmup_steps} steps, but the whole training has "
                f"{total_steps}: lower warmup_steps or train longer."
            )
        if self.schedule == "constant" and not self.warmup_steps:
            return self.learning_rate
        from repro.training.learning_rate import Schedule

        cosine = self.schedule == "cosine"
        return Schedule(self.learning_rate, total_steps, self.warmup_steps, cosine)


def check_changes(changes: Mapping[str, Any]) -> None:
    """Refuse changes that no recipe can take, before the data set and Keras are loaded.

    Raises
    ------
    ReproError
        If a field is unknown, or its value does not fit.
    """
    Recipe(epochs=1, batch_size=1, learning_rate=1.0).changed(changes)


def is_compiled(jit_compile: bool = False) -> bool:
    """Tell whether a step is compiled: where it was asked for, and always under JAX.

    Keras would run JAX one operation at a time without it.
    """
    import keras

    return jit_compile or keras.config.backend() == "jax"
