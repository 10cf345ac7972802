"""What a recipe changes from epoch to epoch: the learning rate, and the weights of loss terms.

Each schedule is a function of the epochs that are through and of nothing else, so that a resumed
training needs no memory of its own for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from repro.errors import ReproError

KNOWN_FIELDS_ONLY = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Triangle:
    """A learning rate that rises and falls in straight lines, again and again.

    It is lowest in the first epoch. PyTorch's ``CyclicLR`` in mode ``triangular``, stepped once an
    epoch, with ``base_lr = lowest * max_lr`` and ``step_size_up = half_period``.

    Parameters
    ----------
    lowest : float
        The lowest rate as a share of the recipe's, which is the highest [1].
    half_period : int
        Epochs from the lowest to the highest rate [1].
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    lowest: float
    half_period: int
    kind: Literal["triangle"] = "triangle"

    def __post_init__(self):
        _require(0 < self.lowest <= 1, "triangle's lowest", self.lowest, "above 0 and at most 1")
        _require(self.half_period >= 1, "triangle's half_period", self.half_period, "at least 1")

    def factor(self, losses: Sequence[float]) -> float:
        """Return what the recipe's rate is multiplied by after epochs with these losses."""
        climbed = 1 - abs(1 - (len(losses) / self.half_period) % 2)
        return self.lowest + (1 - self.lowest) * climbed


@dataclass(frozen=True)
class StepDecay:
    """A learning rate that is multiplied by a factor every so many epochs.

    Parameters
    ----------
    multiplier : float
        The factor [1].
    every : int
        Epochs between two steps [1].
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    multiplier: float
    every: int
    kind: Literal["step_decay"] = "step_decay"

    def __post_init__(self):
        _require(self.multiplier > 0, "step_decay's multiplier", self.multiplier, "above 0")
        _require(self.every >= 1, "step_decay's every", self.every, "at least 1")

    def factor(self, losses: Sequence[float]) -> float:
        """Return what the recipe's rate is multiplied by after epochs with these losses."""
        return self.multiplier ** (len(losses) // self.every)


@dataclass(frozen=True)
class Adaptive:
    """A learning rate that rises after an epoch with the best training loss yet, and else falls.

    Parameters
    ----------
    rise, fall : float
        What it is multiplied by [1].
    first_epoch : int
        The first epoch, from 1, whose loss counts; those before only set the best loss.
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    rise: float = 1.2
    fall: float = 0.8
    first_epoch: int = 1
    kind: Literal["adaptive"] = "adaptive"

    def __post_init__(self):
        _require(self.rise >= 1, "adaptive's rise", self.rise, "at least 1")
        _require(0 < self.fall <= 1, "adaptive's fall", self.fall, "above 0 and at most 1")
        _require(self.first_epoch >= 1, "adaptive's first_epoch", self.first_epoch, "at least 1")

    def factor(self, losses: Sequence[float]) -> float:
        """Return what the recipe's rate is multiplied by after epochs with these losses."""
        factor, best = 1.0, math.inf
        for epoch, loss in enumerate(losses, start=1):
            if epoch >= self.first_epoch:
                factor *= self.rise if loss < best else self.fall
            best = min(best, loss)
        return factor


@dataclass(frozen=True)
class Ramp:
    """The weight of a loss term that changes in a straight line, and is constant before and after.

    Parameters
    ----------
    term : str
        The term, as the network's `repro.training.loss_term.LossTerm` names it.
    first, last : float
        The weight up to the first and from the last of these epochs on [1].
    first_epoch, last_epoch : int
        Where the line begins and ends, from 1.
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    term: str
    first: float
    last: float
    first_epoch: int
    last_epoch: int
    kind: Literal["ramp"] = "ramp"

    def __post_init__(self):
        epochs = f"{self.first_epoch} to {self.last_epoch}"
        _require(1 <= self.first_epoch < self.last_epoch, "ramp's epochs", epochs, "from 1 on")

    def weight(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 1."""
        through = (epoch - self.first_epoch) / (self.last_epoch - self.first_epoch)
        through = min(max(through, 0.0), 1.0)
        return self.first * (1 - through) + self.last * through


@dataclass(frozen=True)
class Staircase:
    """The weight of a loss term that is 0 at first, and then grows by equal steps without end.

    Parameters
    ----------
    term : str
        The term, as the network's `repro.training.loss_term.LossTerm` names it.
    step : float
        What each step adds [1].
    first_epoch : int
        The epoch of the first step, from 1.
    every : int
        Epochs between two steps [1].
    """

    __pydantic_config__ = KNOWN_FIELDS_ONLY

    term: str
    step: float
    first_epoch: int
    every: int
    kind: Literal["staircase"] = "staircase"

    def __post_init__(self):
        _require(self.first_epoch >= 1, "staircase's first_epoch", self.first_epoch, "at least 1")
        _require(self.every >= 1, "staircase's every", self.every, "at least 1")

    def weight(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 1."""
        return self.step * max(0, (epoch - self.first_epoch) // self.every + 1)


def _require(met: bool, name: str, value: Any, limit: str) -> None:
    if not met:
        raise ReproError(f"The {name} is {value}: it must be {limit}.")


def _read(value: Any) -> Any:
    """Read the JSON of a text; the command line has nothing else."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('write it in JSON, such as {"kind": "adaptive"}') from None


RateByEpoch = Annotated[Triangle | StepDecay | Adaptive, Field(discriminator="kind")]
LossWeight = Annotated[Ramp | Staircase, Field(discriminator="kind")]
RateByEpochOrNone = Annotated[RateByEpoch | None, BeforeValidator(_read)]
LossWeights = Annotated[tuple[LossWeight, ...], BeforeValidator(_read)]
