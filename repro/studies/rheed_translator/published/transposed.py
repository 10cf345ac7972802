"""The transposed convolution of the published translator, fast under JAX too."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

KERNEL = 4


def _taps() -> np.ndarray:
    """Return which place of the kernel a neighbour is met by, ``(2 pixels, 3 neighbours, 4)``.

    A transposed convolution of stride 2, less one pixel at either end, is the adjoint of a
    convolution padded by one. Of the two pixels that come of one, the first sees it and the one
    before, the second it and the one after.
    """
    taps = np.zeros((2, 3, KERNEL), dtype=np.float32)
    taps[(0, 0, 1, 1), (0, 1, 1, 2), (3, 1, 2, 0)] = 1
    return taps


def transposed_convolution(inputs, kernel):
    """Return a transposed convolution that doubles height and width, without bias.

    It is a convolution at the size of the input, whose channels are the four pixels that come of
    each pixel.

    Parameters
    ----------
    inputs : tensor
        ``(n, height, width, channels)``.
    kernel : tensor
        ``(4, 4, filters, channels)``, as Keras's `Conv2DTranspose` has it.

    Returns
    -------
    tensor
        ``(n, 2 height, 2 width, filters)``.
    """
    (height, width, n_channels), filters = inputs.shape[1:], kernel.shape[2]
    taps = ops.cast(_taps(), inputs.dtype)
    kernel = ops.einsum("adk,bel,klfc->decabf", taps, taps, kernel)
    kernel = ops.reshape(kernel, (3, 3, n_channels, 4 * filters))
    pixels = ops.conv(inputs, kernel, padding="same")
    pixels = ops.reshape(pixels, (-1, height, width, 2, 2, filters))
    in_rows = ops.transpose(pixels, (0, 1, 3, 2, 4, 5))
    return ops.reshape(in_rows, (-1, 2 * height, 2 * width, filters))


@keras.saving.register_keras_serializable(package="repro.rheed_translator")
class Conv2DTranspose(layers.Conv2DTranspose):
    """Keras's transposed convolution of width 4 that doubles height and width.

    Under JAX it is `transposed_convolution`: XLA has no kernel of its own for the gradient of
    Keras's, which on a GPU took most of the published translator's step (the benchmark
    `test_transposed_convolutions_against_those_of_keras` measures both). TensorFlow has one, and
    is faster with Keras's.

    Parameters
    ----------
    filters : int
        Channels that come out.
    """

    def __init__(self, filters: int, **keywords):
        fixed = {"kernel_size": KERNEL, "strides": 2, "padding": "same"}
        super().__init__(filters, **{**keywords, **fixed})

    def call(self, inputs):
        """Return ``(n, 2 height, 2 width, filters)`` of ``(n, height, width, channels)``."""
        if keras.config.backend() != "jax":
            return super().call(inputs)
        outputs = transposed_convolution(inputs, self.kernel)
        return self.activation(outputs + self.bias if self.use_bias else outputs)
