"""Convolutions whose every channel is normalised over the image, as autoencoders here have them."""

from __future__ import annotations

import keras
from keras import layers, ops

from repro.layers.pytorch import pytorch_initializers

EPSILON = 1e-5  # PyTorch's


def normalised_convolution(x):
    """Apply a new 3 x 3 convolution of as many channels, each normalised over the image, rectified.

    Parameters
    ----------
    x : tensor
        ``(n, height, width, channels)``.
    """
    n_channels = x.shape[-1]
    convolve = layers.Conv2D(n_channels, 3, padding="same", **pytorch_initializers(9 * n_channels))
    y = convolve(x)
    # What a bias adds the normalisation takes away: its gradient is rounding, of which Adam would
    # make steps of full size.
    convolve.bias.trainable = False
    return layers.Activation("relu")(ImageNormalization()(y))


@keras.saving.register_keras_serializable(package="repro")
class ImageNormalization(layers.LayerNormalization):
    """Each channel of each image brought to mean 0 and variance 1; with a gain and a shift a pixel.

    As PyTorch's ``LayerNorm((height, width))`` on channels. Keras's own layer takes the variance as
    a difference of squares, which loses digits far from 0, and its gradient passes the images
    through memory half as often again.
    """

    def __init__(self, **keywords):
        super().__init__(**{"axis": (1, 2), "epsilon": EPSILON, **keywords})

    def call(self, images):
        """Return ``(n, height, width, channels)`` of the same."""
        precise = images if self.compute_dtype == "float64" else ops.cast(images, "float32")
        gain, shift = (
            ops.convert_to_tensor(weight, dtype=precise.dtype)[None, :, :, None]
            for weight in (self.gamma, self.beta)
        )
        return ops.cast(normalised(precise, gain, shift, self.epsilon), self.compute_dtype)


def normalised(images, gain, shift, epsilon: float = EPSILON):
    """Return images of mean 0 and variance 1 in each channel, times a gain, plus a shift.

    Parameters
    ----------
    images : tensor
        ``(n, height, width, channels)``.
    gain, shift : tensor
        ``(1, height, width, 1)``.
    epsilon : float
        What the variance is raised by.
    """

    @ops.custom_gradient
    def normalise(images, gain, shift):
        # Twice, since the mean of nearly uniform images is rounded by more than they vary.
        centred = images - _mean(images)
        centred = centred - _mean(centred)
        rate = ops.rsqrt(_mean(ops.square(centred)) + epsilon)
        standard = centred * rate

        def gradient(*arguments, upstream=None):
            above = arguments[0] if upstream is None else upstream
            on_gain, on_standard = above * standard, above * gain
            beside = on_standard - standard * _mean(on_gain * gain)
            on_images = rate * (beside - _mean(beside))
            return on_images, _over_images(on_gain), _over_images(above)

        return standard * gain + shift, gradient

    return normalise(images, gain, shift)


def _mean(images):
    return ops.mean(images, axis=(1, 2), keepdims=True)


def _over_images(values):
    """Return sums over images and channels, ``(1, height, width, 1)``."""
    return ops.sum(ops.sum(values, axis=0, keepdims=True), axis=-1, keepdims=True)
