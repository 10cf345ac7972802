"""Layers whose first weights are drawn as PyTorch draws them.

PyTorch draws the kernels and biases of dense and convolutional layers uniformly within
1 / √n, n being the number of values that an output adds up. Keras's Glorot kernels are wider or
narrower, and its biases start at 0.
"""

from __future__ import annotations

import keras
from keras import layers


def pytorch_initializers(n_inputs: int) -> dict[str, keras.initializers.Initializer]:
    """Return the initialisers of a layer, as keywords for its kernel and its bias.

    Parameters
    ----------
    n_inputs : int
        Values that an output adds up: the inputs of a dense layer; kernel size times input channels
        of a convolution; kernel size times *output* channels of a transposed convolution.
    """
    bound = n_inputs**-0.5
    return {
        f"{part}_initializer": keras.initializers.RandomUniform(-bound, bound)
        for part in ("kernel", "bias")
    }


def dense(x, n_outputs: int, **keywords):
    """Apply a new dense layer; keywords as `keras.layers.Dense` takes them."""
    return layers.Dense(n_outputs, **{**pytorch_initializers(x.shape[-1]), **keywords})(x)


def convolution(x, filters: int, kernel: int, **keywords):
    """Apply a new convolution with a square kernel; keywords as `keras.layers.Conv2D` takes them.

    Of an even size and with strides, Keras's ``padding="same"`` pads the end only, where PyTorch
    pads both sides alike: put a `keras.layers.ZeroPadding2D` before it.
    """
    start = pytorch_initializers(kernel**2 * x.shape[-1])
    return layers.Conv2D(filters, kernel, **{**start, **keywords})(x)
