"""Terms of a network's own loss whose weights a recipe can change from epoch to epoch."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="repro")
class LossTerm(keras.layers.Layer):
    """Adds a weighted term to the loss of the network that it is in.

    The weight counts among the network's variables that are not trained.

    Parameters
    ----------
    term : str
        The term's name, by which ``Recipe.loss_weights`` finds it.
    weight : float
        Its weight unless the recipe says otherwise [1].
    """

    def __init__(self, term: str, weight: float = 1.0, **options):
        super().__init__(autocast=False, **options)  # the term keeps its digits under any precision
        self.term, self.initial_weight = term, weight
        self.weight = self.add_weight(
            name=term,
            shape=(),
            initializer=keras.initializers.Constant(weight),
            dtype="float32",
            trainable=False,
            autocast=False,
        )

    def call(self, inputs, value):
        """Return the inputs as they are, and add the weighted mean of ``value`` to the loss."""
        self.add_loss(self.weight * ops.mean(ops.cast(value, "float32")))
        return inputs

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "term": self.term, "weight": self.initial_weight}
