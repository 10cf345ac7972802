"""The library that networks run on, and the settings that every network is built under."""

from __future__ import annotations

import os
from importlib.util import find_spec

from repro.errors import NotPossibleHere, ReproError

BACKENDS = ("tensorflow", "jax")
DATA_FORMAT, FLOATX, EPSILON = "channels_last", "float32", 1e-7  # Keras's own defaults


def check_backend() -> None:
    """Refuse a backend that is not known, not installed, or without the device it is to use.

    Raises
    ------
    ReproError
        If networks cannot run on it.
    NotPossibleHere
        If this machine lacks it or its device.
    """
    name = os.environ["KERAS_BACKEND"]
    if name not in BACKENDS:
        raise ReproError(f"KERAS_BACKEND={name}: networks run on {' or '.join(BACKENDS)} only.")
    if find_spec(name) is None:
        raise NotPossibleHere(
            f"KERAS_BACKEND={name}, but {name} is not installed here: install it, or set another."
        )
    if name == "jax" and not os.environ.get("JAX_PLATFORMS", "cpu").startswith("cpu"):
        _check_platform()


def _check_platform() -> None:
    """Refuse a platform that JAX does not find: in the midst of a step it fails in riddles."""
    import jax

    try:
        jax.devices()
    except Exception as error:  # not always one with a message
        raise NotPossibleHere(
            f"JAX_PLATFORMS={os.environ['JAX_PLATFORMS']}, but JAX finds no such device here: "
            "unset it, or choose another."
        ) from error


def settle_keras() -> None:
    """Put Keras's settings to its defaults, whatever the user's keras.json says.

    A network of other data format, type or epsilon is another network, and no hash would say so.
    """
    import keras

    keras.config.set_image_data_format(DATA_FORMAT)
    keras.config.set_floatx(FLOATX)
    keras.config.set_epsilon(EPSILON)
