"""Networks from a line profile of diffraction patterns to the structure of the interface.

`published_network` is the paper's, as far as its text goes: several 3-D convolutions without
pooling between them, dropout of 15 % on each layer, one average pooling, two dense layers, softmax.
`improved_network` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from repro.errors import ReproError
from repro.layers.counted import Counted
from repro.training.dropout import Dropout

DROPOUT = 0.15  # paper: on each layer


@dataclass(frozen=True)
class Architecture:
    """All that the text leaves open of the published network.

    Parameters
    ----------
    n_convolutions : int
        3-D convolutions ("several"): as many as let 16 bins shrink to a size that pools evenly.
    n_filters : int
        Filters of each.
    kernel : int
        Width of the kernels along all three axes; no padding, so that edges add nothing.
    pool : tuple of int
        Window of the average pooling, positions, k_x, k_y; positions along the line are kept.
    dense : tuple of int
        Widths of the two dense layers before the softmax.
    pooling : str
        What follows each convolution: ``"none"``, or the paper's failed alternatives, ``"max"`` or
        ``"average"`` pooling by two. The convolutions are padded then, since else nothing would be
        left.
    """

    n_convolutions: int = 3
    n_filters: int = 16
    kernel: int = 3
    pool: tuple[int, int, int] = (1, 4, 4)
    dense: tuple[int, int] = (128, 64)
    pooling: Literal["none", "max", "average"] = "none"


def published_network(
    shape: tuple[int, int, int, int], n_outputs: int, architecture: Architecture
) -> keras.Model:
    """Return the published 3-D CNN.

    Parameters
    ----------
    shape : tuple of int
        Of an example: positions, k_x, k_y, 1.
    n_outputs : int
        Classes of the softmax; 1 makes a regression with a linear output.
    architecture : Architecture
        What the text leaves open.

    Raises
    ------
    ReproError
        If nothing of the patterns would be left after the convolutions.
    """
    inputs = layers.Input(shape, name="patterns")
    x = inputs
    pooled = {"max": layers.MaxPooling3D, "average": layers.AveragePooling3D}
    padding = "same" if architecture.pooling in pooled else "valid"
    for _ in range(architecture.n_convolutions):
        if padding == "valid" and min(x.shape[1:-1]) < architecture.kernel:
            raise ReproError(
                f"Patterns of the shape {shape[:-1]} are too small for "
                f"{architecture.n_convolutions} convolutions of width {architecture.kernel}."
            )
        x = layers.Conv3D(
            architecture.n_filters, architecture.kernel, padding=padding, activation="relu"
        )(x)
        if architecture.pooling in pooled:
            x = pooled[architecture.pooling](2, padding="same", dtype="float32")(x)
        x = Dropout(DROPOUT)(x)
    pool = [
        min(window, size) for window, size in zip(architecture.pool, x.shape[1:-1], strict=True)
    ]
    # In float32, since TensorFlow pools no float16 volumes on a processor.
    x = layers.Flatten()(layers.AveragePooling3D(pool, dtype="float32")(x))
    for width in architecture.dense:
        x = Dropout(DROPOUT)(layers.Dense(width, activation="relu")(x))
    activation = "softmax" if n_outputs > 1 else "linear"
    return keras.Model(
        inputs, layers.Dense(n_outputs, activation=activation, dtype="float32", name="answer")(x)
    )


@keras.saving.register_keras_serializable(package="repro.interface_dcnn")
class ByThickness(Counted):
    """Scale and shift every channel by an amount that depends on the thickness."""

    def build(self, shapes):
        """Make the weights; at first they change nothing."""
        n_channels = shapes[0][-1]
        self.slope = self.add_weight(shape=(2, n_channels), initializer="zeros", name="slope")

    def call(self, inputs):
        """Return channels ``(n, ..., n_channels)`` scaled by the thickness ``(n, 1)``."""
        x, thickness = inputs
        shape = (-1, *[1] * (len(x.shape) - 2), x.shape[-1])
        gain, shift = (ops.reshape(thickness * self.slope[i], shape) for i in range(2))
        return x * (1 + gain) + shift

    def flops(self, inputs, output):
        """Return nothing, as for a normalisation, which scales and shifts likewise."""
        return 0


def improved_network(shape: tuple[int, int, int, int], n_outputs: int, width: int) -> keras.Model:
    """Return our network: strided convolutions that know the thickness, one for all of them.

    Parameters
    ----------
    shape : tuple of int
        Of an example: positions, k_x, k_y, lines.
    n_outputs : int
        Classes of the softmax.
    width : int
        Filters of the first convolution; the second has twice as many.
    """
    patterns = layers.Input(shape, name="patterns")
    thickness = layers.Input((1,), name="thickness")
    x = patterns
    for filters in (width, 2 * width):
        x = layers.Conv3D(filters, 3, strides=(1, 2, 2), padding="same")(x)
        x = layers.Activation("gelu")(ByThickness()([x, thickness]))
        x = Dropout(DROPOUT)(x)
    x = Dropout(2 * DROPOUT)(layers.Flatten()(x))
    x = Dropout(DROPOUT)(layers.Dense(64, activation="gelu")(x))
    answer = layers.Dense(n_outputs, activation="softmax", dtype="float32", name="answer")(x)
    return keras.Model({"patterns": patterns, "thickness": thickness}, answer)
