"""From the weights of a translator in PyTorch to those of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from keras import layers

from repro.errors import ReproError

if TYPE_CHECKING:
    import keras

# The blocks in the order in which the authors' network has them.
BLOCKS = (
    *("image_encoder", "stoichiometry_encoder", "shared_encoder"),
    *("shared_decoder", "image_decoder", "stoichiometry_decoder"),
)


def set_weights(translator: keras.Model, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Give a translator the weights of its likeness in PyTorch.

    Layers are met in their order, whatever PyTorch calls them: its weight first, then its bias.

    Parameters
    ----------
    translator : keras.Model
        As `published_translator` returns it.
    tensors : mapping
        A state dict, in its order.
    source : str
        Where it comes from, for messages.

    Raises
    ------
    ReproError
        Naming the first tensor that is missing, too many, of another shape or not finite.
    """
    given = iter(tensors.items())
    for block in BLOCKS:
        for number, layer in enumerate(_with_weights(translator, block), start=1):
            place = f"layer {number} of the {block.replace('_', ' ')}"
            layer.set_weights(
                [
                    _checked(next(given, None), shape, convert, f"{source}: {place}")
                    for shape, convert in _wanted(translator.get_layer(block), layer)
                ]
            )
    left = next(given, None)
    if left is not None:
        raise ReproError(
            f"{source} goes on with {left[0]!r} after the last layer of the published translator: "
            "give its weights alone."
        )


def _with_weights(translator: keras.Model, block: str) -> Iterator[layers.Layer]:
    return (layer for layer in translator.get_layer(block).layers if layer.weights)


def _wanted(
    block: keras.Model, layer: layers.Layer
) -> Iterator[tuple[tuple[int, ...], Callable[[np.ndarray], np.ndarray]]]:
    """Return of a layer's kernel and bias PyTorch's shape, and what makes ours of it.

    PyTorch has outputs before inputs, of a transposed convolution inputs before outputs, and
    channels before pixels, also where an image is a row of numbers.
    """
    before, after = _neighbours(block, layer)
    for weights in layer.weights:
        shape = tuple(weights.shape)
        if len(shape) == 4:
            height, width, *channels = shape
            yield (*channels[::-1], height, width), _convolution
        elif isinstance(before, layers.Flatten) and len(shape) == 2:
            yield shape[::-1], partial(_dense, pixels=before.input.shape[1:], axis=0)
        elif isinstance(after, layers.Reshape):
            yield shape[::-1], partial(_dense, pixels=after.target_shape, axis=-1)
        else:
            yield shape[::-1], np.transpose


def _neighbours(block: keras.Model, layer: layers.Layer) -> tuple[layers.Layer | None, ...]:
    padded = [None, *block.layers, None]
    place = padded.index(layer)
    return padded[place - 1], padded[place + 1]


def _convolution(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(2, 3, 1, 0)


def _dense(weights: np.ndarray, pixels: tuple[int, int, int], axis: int) -> np.ndarray:
    """Return a dense layer's kernel or bias, whose one axis is an image's pixels, as ours."""
    height, width, channels = pixels
    order = np.arange(height * width * channels).reshape(channels, height, width)
    return np.take(weights.T, order.transpose(1, 2, 0).ravel(), axis=axis)


def _checked(
    given: tuple[str, np.ndarray] | None,
    shape: tuple[int, ...],
    convert: Callable[[np.ndarray], np.ndarray],
    place: str,
) -> np.ndarray:
    if given is None:
        raise ReproError(f"{place} is missing: give all weights of the published translator.")
    name, tensor = given
    if tensor.shape != shape:
        raise ReproError(
            f"{place} does not fit: {name!r} is of the shape {tensor.shape}, the published "
            f"translator has {shape}."
        )
    with np.errstate(over="ignore"):
        weights = tensor.astype(np.float32, copy=False)
    if not np.isfinite(weights).all():
        raise ReproError(f"{place} is useless: {name!r} has a number that is not finite.")
    return convert(weights)
