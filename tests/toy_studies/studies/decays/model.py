"""Networks of two layers."""

import keras
from keras import ops

from repro.training.loss_term import LossTerm


def background_network(n_times: int) -> keras.Model:
    """Return the first network, ``(n, n_times)`` to ``(n, 1)``."""
    inputs = keras.Input((n_times,))
    hidden = keras.layers.Dense(8, "tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(hidden), name="background")


def time_network(n_times: int) -> keras.Model:
    """Return the second network, of the same shape, whose hidden units cost something."""
    inputs = keras.Input((n_times,))
    hidden = keras.layers.Dense(8, "tanh")(inputs)
    hidden = LossTerm("activity", 0.0)(hidden, ops.square(hidden))
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(hidden), name="time")
