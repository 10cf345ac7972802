"""A network of two layers."""

import keras


def build_model(n_inputs: int) -> keras.Model:
    """Return the network, ``(n, n_inputs)`` to ``(n, 1)``."""
    inputs = keras.Input((n_inputs,))
    hidden = keras.layers.Dense(8, "tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(hidden), name="decays")
