"""A network of two layers."""

import keras


def build_model(n_loads: int, width: int) -> keras.Model:
    """Return the network, ``(n, n_loads)`` to ``(n, 1)``."""
    inputs = keras.Input((n_loads,))
    hidden = keras.layers.Dense(width, "tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(hidden), name="springs")
