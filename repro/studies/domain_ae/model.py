"""The windowing autoencoder: eight features of a window's spectrum, and three sampling grids.

The grids are never sampled with: they are handed to the decoder as more numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from repro.layers.normalised import normalised_convolution
from repro.layers.pytorch import convolution, dense
from repro.layers.sampling import Resize
from repro.studies.domain_ae.tiles import Reading, Tile
from repro.training.loss_term import LossTerm

N_FEATURES = 8
GRID = 2  # points along each side of a sampling grid
SCALE_LIMIT = 0.1  # by which a grid can be stretched
THETA = 2  # which of the encoder's numbers is the angle of rotation [rad]
L1 = "l1"  # the term of the loss
TILE, CODE, LATENT = "tile", "code", "latent"  # layers


@dataclass(frozen=True)
class Architecture:
    """The network's size.

    Parameters
    ----------
    pools : tuple of int
        Windows of the encoder's poolings.
    seed_side : int
        Side of the decoder's first map.
    enlargements : tuple of int
        Factors by which the decoder enlarges it, up to the side of a tile.
    width : int
        Channels of every convolution.
    """

    pools: tuple[int, ...]
    seed_side: int
    enlargements: tuple[int, ...]
    width: int


@dataclass(frozen=True)
class Loss:
    """What the network is trained to.

    Parameters
    ----------
    is_broadcast : bool
        Whether every tile is compared with every reconstruction of the batch, as published.
    sums_l1 : bool
        Whether L1 is the sum over the batch, of features and grids, as published; else the mean
        over windows, of the features alone.
    follows_schedule : bool
        Whether the recipe sets the weight of L1.
    constant_l1 : float
        Its weight beside that, the same in every epoch [1].
    """

    is_broadcast: bool
    sums_l1: bool
    follows_schedule: bool = True
    constant_l1: float = 0.0


def network(
    reading: Reading, architecture: Architecture, loss: Loss, has_grids: bool = True
) -> keras.Model:
    """Return the autoencoder, from windows ``(n, window, window)`` to tiles like theirs.

    Parameters
    ----------
    reading : Reading
        How windows become tiles.
    architecture : Architecture
        Its size.
    loss : Loss
        Its loss, which it brings along.
    has_grids : bool
        Whether sampling grids are appended to the features; else zeros are.
    """
    windows = keras.Input((reading.window, reading.window))
    tile = Tile(reading, name=TILE)(windows)
    code = encoder(tile, architecture)
    latent = Latent(has_grids, name=LATENT)(code)
    found = decoder(latent, architecture)
    found = ReconstructionError(loss.is_broadcast, name="error")(found, tile)
    counted = ops.abs(latent) if loss.sums_l1 else latent[:, :1]
    penalty = ops.sum(counted) if loss.sums_l1 else ops.sum(counted, axis=(1, 2))
    if loss.constant_l1:
        found = AddedLoss(loss.constant_l1)(found, penalty)
    scheduled = penalty if loss.follows_schedule else ops.zeros_like(penalty)
    return keras.Model(windows, LossTerm(L1, 0.0)(found, scheduled))


def encoder(tile, architecture: Architecture):
    """Return the code of tiles, ``(n, 8)``: features before their rectifier, and affine numbers."""
    x = convolution(tile, architecture.width, 3, padding="same")
    for window in architecture.pools:
        x = layers.MaxPooling2D(window)(_block(x))
    x = layers.Flatten()(convolution(x, 1, 3, padding="same"))
    return dense(x, N_FEATURES, name=CODE)


def decoder(latent, architecture: Architecture):
    """Return reconstructed tiles ``(n, side, side, 1)`` of latents ``(n, k, 8)``."""
    side = architecture.seed_side
    x = layers.Reshape((side, side, 1))(dense(layers.Flatten()(latent), side**2))
    x = _block(convolution(x, architecture.width, 3, padding="same"))
    for factor in architecture.enlargements:
        side *= factor
        x = _block(Resize((side, side), align_corners=True)(x))
    x = convolution(x, 1, 3, padding="same")
    return layers.Activation("linear", dtype="float32")(x)


def _block(x):
    """Three convolutions, rectified and added to what comes in; then one more, rectified."""
    y = convolution(convolution(x, x.shape[-1], 3, padding="same"), x.shape[-1], 3, padding="same")
    return normalised_convolution(layers.Add()([normalised_convolution(y), x]))


@keras.saving.register_keras_serializable(package="repro.domain_ae")
class Latent(layers.Layer):
    """Features, and the grids of a rotation, a scaling and a shift read from the same numbers.

    Parameters
    ----------
    has_grids : bool
        Whether the grids are appended; else zeros stand in their places.
    """

    def __init__(self, has_grids: bool = True, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        self.has_grids = has_grids

    def call(self, code):
        """Return ``(n, 4, 8)`` of a code ``(n, 8)``: features, and grids as `grid` returns them."""
        rows = [ops.relu(code)]
        if not self.has_grids:
            rows += [ops.zeros_like(code)] * 3
        else:
            scale_x, scale_y = (1 + SCALE_LIMIT * ops.tanh(code[:, i]) for i in (0, 1))
            theta, right, down = (code[:, i] for i in (THETA, 3, 4))
            zero, one = ops.zeros_like(theta), ops.ones_like(theta)
            cosine, sine = ops.cos(theta), ops.sin(theta)
            rows += [
                grid((cosine, -sine, zero), (sine, cosine, zero)),
                grid((scale_x, zero, zero), (zero, scale_y, zero)),
                grid((one, zero, right), (zero, one, down)),
            ]
        return ops.stack(rows, axis=1)

    def compute_output_shape(self, shape):
        """Return the shape of what comes out."""
        return (shape[0], 4, N_FEATURES)

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "has_grids": self.has_grids}


def grid(x_row, y_row):
    """Return where a 2 x 2 grid is led by an affine map, ``(n, 8)``: x, y of each point in turn.

    Parameters
    ----------
    x_row, y_row : tuple of tensor
        The rows of the map: what x, y and 1 count in the new x and in the new y, ``(n,)`` each.
    """
    places = (np.arange(GRID) + 0.5) * (2 / GRID) - 1
    points = [(x, y) for y in places for x in places]
    led = [
        row[0] * np.float32(x) + row[1] * np.float32(y) + row[2]
        for x, y in points
        for row in (x_row, y_row)
    ]
    return ops.stack(led, axis=-1)


@keras.saving.register_keras_serializable(package="repro.domain_ae")
class ReconstructionError(layers.Layer):
    """Adds the mean square error of reconstructions to the loss.

    Parameters
    ----------
    is_broadcast : bool
        Compare every tile with every reconstruction of the batch. At best a reconstruction then
        departs from the mean tile by its own tile's departure over the batch's size.
    """

    def __init__(self, is_broadcast: bool, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        self.is_broadcast = is_broadcast

    def call(self, found, tile):
        """Return the reconstructions as they are."""
        self.add_loss(broadcast_error(tile, found) if self.is_broadcast else paired(tile, found))
        return found

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "is_broadcast": self.is_broadcast}


@keras.saving.register_keras_serializable(package="repro.domain_ae")
class AddedLoss(layers.Layer):
    """Adds a term to the loss with a weight that stays.

    Parameters
    ----------
    weight : float
        The weight [1].
    """

    def __init__(self, weight: float, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        self.weight = weight

    def call(self, inputs, value):
        """Return the inputs as they are."""
        self.add_loss(self.weight * ops.mean(value))
        return inputs

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "weight": self.weight}


def paired(tile, found):
    """Return the mean square difference of tiles and their own reconstructions."""
    return ops.mean((tile - found) ** 2)


def broadcast_error(tile, found):
    """Return the mean square difference of every tile and every reconstruction of a batch.

    It is the variance of the ones, that of the others, and the square difference of their means:
    no pair is formed.
    """
    middle, middle_found = (ops.mean(a, axis=0, keepdims=True) for a in (tile, found))
    spread, spread_found = ops.mean((tile - middle) ** 2), ops.mean((found - middle_found) ** 2)
    return spread + spread_found + ops.mean((middle - middle_found) ** 2)


def coding_network(model: keras.Model) -> keras.Model:
    """Return the part of a `network` that finds tile, code and latent of windows, by name."""
    outputs = {name: model.get_layer(name).output for name in (TILE, CODE, LATENT)}
    return keras.Model(model.input, outputs)
