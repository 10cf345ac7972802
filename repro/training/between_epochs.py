"""What changes between the epochs of a training: learning rate, loss weights, renewed arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from repro.datasets.batches import Batches
from repro.errors import ReproError
from repro.training.recipe import Recipe
from repro.training.state import Row
from repro.training.world import World

NamedArrays = Mapping[str, np.ndarray]
# Takes the network as it stands, the epochs it was trained (0 at first) and the arrays of the
# epoch before (none at first); returns the arrays of the next epoch.
Renew = Callable[[keras.Model, int, NamedArrays], NamedArrays]


class BetweenEpochs:
    """Makes a training ready for its next epoch.

    Parameters
    ----------
    model : keras.Model
        The compiled network.
    recipe : Recipe
        Its learning rate and loss weights by epoch.
    renew : callable or None
        Finds arrays anew. They go to ``load`` as its last argument, and to those variables of the
        network that are not trained and have an array's name, such as masks of its loss.
    batches : sequence of Batches
        What the arrays go to.
    world : World
        The processes that train together: the leading one renews for all.

    Raises
    ------
    ReproError
        If the network lacks a term whose weight changes.
    """

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        renew: Renew | None,
        batches: Sequence[Batches],
        world: World,
    ):
        self._model, self._recipe, self._renew = model, recipe, renew
        self._batches, self._world = batches, world
        self._terms = {w.term: _term(model, w.term) for w in recipe.loss_weights}

    @property
    def alters_the_network(self) -> bool:
        """Whether the next epoch needs another learning rate, other loss weights or arrays."""
        changing = self._recipe.rate_by_epoch, self._recipe.loss_weights, self._renew
        return any(map(bool, changing))

    def prepare(self, history: Sequence[Row], arrays: NamedArrays, begun: bool) -> NamedArrays:
        """Make ready for the epoch after those of a history; return the arrays that it uses.

        Parameters
        ----------
        history : sequence of dict
            A row for every epoch that is through.
        arrays : mapping
            Those of the epoch before, or of this one if it has begun.
        begun : bool
            Whether a part of the epoch is through, so that its arrays stay.
        """
        if self._recipe.rate_by_epoch is not None:
            factor = self._recipe.rate_by_epoch.factor([row["loss"] for row in history])
            self._model.optimizer.learning_rate = self._recipe.learning_rate * factor
        for weight in self._recipe.loss_weights:
            self._terms[weight.term].assign(weight.weight(len(history) + 1))
        if self._renew is None:
            return {}
        if not begun:
            arrays = self._world.lead(lambda: self._renewed(len(history), arrays))
        self._hand_out(arrays)
        return arrays

    def _renewed(self, epochs: int, arrays: NamedArrays) -> NamedArrays:
        renewed = self._renew(self._model, epochs, arrays)
        return {name: np.asarray(array) for name, array in renewed.items()}

    def _hand_out(self, arrays: NamedArrays) -> None:
        for variable in self._model.non_trainable_variables:
            if variable.name in arrays:
                variable.assign(arrays[variable.name])
        for batches in self._batches:
            batches.arrays = arrays


def _term(model: keras.Model, name: str) -> keras.Variable:
    """Return the weight of a term that a network adds to its loss."""
    weights = [v for v in model.non_trainable_variables if v.name == name and v.shape == ()]
    if len(weights) != 1:
        raise ReproError(
            f"The recipe changes the weight of the loss term '{name}', but the network has "
            f"{len(weights)} of that name: give it one LossTerm('{name}')."
        )
    return weights[0]
