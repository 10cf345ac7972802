"""CC-ST-AE, the cycle-consistent spatial transforming autoencoder.

An encoder finds scale, shear and rotation of a pattern; a decoder holds the base, the pattern that
all others are transformed copies of. A pattern that is transformed must equal the base, and the
base transformed back must equal the pattern. No label takes part.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from repro.layers.normalised import normalised_convolution
from repro.layers.pytorch import convolution, dense, pytorch_initializers
from repro.layers.sampling import AffineSampler, Resize, compose, inverse
from repro.studies.strain_ae.patches import centres, cut, firsts, half_side, inside, led_to, through

N_LATENT = 20
CODE = "code"  # the layer that it comes out of
COARSE = 5  # pixels along each side of the encoder's last map and the decoder's first
N_RAW = 5  # two scales, rotation, shear, and the masks' intensity, 1 in all published settings
SCALE_LIMIT, SHEAR_LIMIT, RESIDUAL_LIMIT = 0.05, 0.1, 0.1  # [1], [1], [rad]
LARGEST_STRETCH = 1 + SCALE_LIMIT + SHEAR_LIMIT  # of anything by scale and shear
PARAMETERS = ("scale_x", "scale_y", "shear", "rotation")


@dataclass(frozen=True)
class Architecture:
    """The network's size.

    Parameters
    ----------
    n_pixels : int
        Pixels along each side of the patterns: five times the product of `pools`.
    pools : tuple of int
        Windows of the encoder's poolings; in reverse order the decoder's enlargements.
    width : int
        Channels of every convolution.
    n_bases : int
        Bases that patterns are sorted into.
    """

    n_pixels: int
    pools: tuple[int, ...]
    width: int = 128
    n_bases: int = 1


PUBLISHED = Architecture(n_pixels=200, pools=(5, 4, 2))


# ---- encoder and decoder


def encoder(images, architecture: Architecture):
    """Return the code of images, ``(n, 20)`` of ``(n, n_pixels, n_pixels, 1)``."""
    x = convolution(images, architecture.width, 3, padding="same")
    for window in architecture.pools:
        x = normalised_convolution(_residual_block(x))
        x = layers.MaxPooling2D(window)(x)
    x = layers.Flatten()(convolution(x, 1, 3, padding="same"))
    return dense(x, N_LATENT, name=CODE)


def decoder(architecture: Architecture, n_inputs: int | None = None) -> keras.Model:
    """Return the network from a choice ``(n, n_bases)`` to its base, as large as the patterns.

    A plain autoencoder's is from a code, ``(n, n_inputs)``.
    """
    choice = keras.Input((n_inputs or architecture.n_bases,))
    x = layers.Reshape((COARSE, COARSE, 1))(dense(choice, COARSE**2))
    x = normalised_convolution(
        _residual_block(convolution(x, architecture.width, 3, padding="same"))
    )
    size = COARSE
    for factor in reversed(architecture.pools):
        size *= factor
        x = Resize((size, size), align_corners=True)(x)
        x = normalised_convolution(_residual_block(x))
    x = layers.LeakyReLU(0.001, dtype="float32")(convolution(x, 1, 3, padding="same"))
    return keras.Model(choice, x, name="decoder")


def _residual_block(x):
    """Three convolutions, added to what comes in after the last activation."""
    y = x
    for _ in range(2):
        y = convolution(y, x.shape[-1], 3, padding="same", activation="relu")
    return layers.Add()([normalised_convolution(y), x])


@keras.saving.register_keras_serializable(package="repro.strain_ae")
class HardChoice(layers.Layer):
    """The largest of scores as 1, the others as 0; gradients pass as through a softmax alone."""

    def call(self, scores):
        """Return a choice of the shape of the scores, ``(n, n_choices)``."""
        n = scores.shape[-1]
        exponentials = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
        probabilities = exponentials / ops.sum(exponentials, axis=-1, keepdims=True)
        hard = ops.one_hot(ops.argmax(probabilities, axis=-1), n, dtype=probabilities.dtype)
        return probabilities + ops.stop_gradient(hard - probabilities)


@keras.saving.register_keras_serializable(package="repro.strain_ae")
class Once(layers.Layer):
    """The first of a batch: what is the same for all need not be computed for each."""

    def call(self, inputs):
        """Return ``(1, ...)`` of ``(n, ...)``."""
        return inputs[:1]

    def compute_output_shape(self, shape):
        """Return the shape of what comes out."""
        return (1, *shape[1:])


# ---- scale, shear and rotation


@keras.saving.register_keras_serializable(package="repro.strain_ae")
class AffineParameters(layers.Layer):
    """Scale, shear and rotation from the encoder's raw numbers, each within its limits.

    Without a prior the rotation is the raw number. With one it is the prior and at most 0.1 rad to
    either side.

    Parameters
    ----------
    is_rectified : bool
        Whether a raw number below 0 is the rotation 0, as published: patterns all of which are
        there never leave it.
    """

    def __init__(self, is_rectified: bool = True, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        self.is_rectified = is_rectified

    def call(self, raw, prior=None):
        """Return `PARAMETERS`, ``(n, 4)``.

        Parameters
        ----------
        raw : tensor
            ``(n, 5)``: two scales, rotation, shear, and one without effect.
        prior : tensor, optional
            Rotation found before, ``(n, 1)`` [rad].
        """
        scales = 1 + SCALE_LIMIT * ops.tanh(raw[:, 0:2])
        shear = SHEAR_LIMIT * ops.tanh(raw[:, 3:4])
        if prior is None:
            rotation = ops.relu(raw[:, 2:3]) if self.is_rectified else raw[:, 2:3]
        else:
            rotation = prior + RESIDUAL_LIMIT * ops.tanh(raw[:, 2:3])
        return ops.concatenate([scales, shear, rotation], axis=1)

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "is_rectified": self.is_rectified}


def stretch_map(parameters):
    """Return the maps of scale and shear, ``(n, 2, 3)``, x along the columns first."""
    x, y, shear = (parameters[:, i] for i in range(3))
    return _linear_map(x, shear, shear, y)


def rotation_map(parameters):
    """Return the maps of the rotation, ``(n, 2, 3)``."""
    cosine, sine = ops.cos(parameters[:, 3]), ops.sin(parameters[:, 3])
    return _linear_map(cosine, -sine, sine, cosine)


def _linear_map(a, b, c, d):
    nothing = ops.zeros_like(a)
    rows = [ops.stack([a, b, nothing], axis=-1), ops.stack([c, d, nothing], axis=-1)]
    return ops.stack(rows, axis=-2)


# ---- the cycle and its loss


@dataclass(frozen=True)
class CycleSettings:
    """What the loss is made of.

    Parameters
    ----------
    enlargement : int
        How many times finer than the patterns the grid is on which they are compared; 1 samples
        linearly, more cubically.
    asymmetry : float
        What the square of an error counts more where the model is above the data; 1 for alike.
    base_weight : float
        Weight of the base's sum of absolute values.
    scale_weight, shear_weight : float
        Weights of scale and shear beyond their free ranges.
    free_scale, free_shear : float
        Departure of a scale from 1, and shear, that cost nothing.
    n_masks : int
        Masks over which errors are averaged.
    divisor : float
        What the loss is divided by.
    composed : bool
        Sample once, by scale, shear and rotation together, instead of once for each.
    disc_radius : float, optional
        That of the masks [pixels of the grid], if these are discs on different spots: the base
        transformed back is then compared under masks that are transformed alike, and nothing is
        sampled elsewhere. By default masks stay where they are, and may be anything.
    both_ways : bool
        Compare patterns transformed into the base too, not only the base transformed back.
    """

    enlargement: int
    asymmetry: float
    base_weight: float
    scale_weight: float
    shear_weight: float
    free_scale: float = 0.03
    free_shear: float = 0.03
    n_masks: int = 1
    divisor: float = 1.0
    composed: bool = False
    disc_radius: float | None = None
    both_ways: bool = True


MASKS = "masks"
MOST_SQUARED, MOST_ABSOLUTE = 1.5, 3.0  # beyond, absolute errors; beyond, no gradient of the data


@keras.saving.register_keras_serializable(package="repro.strain_ae")
class CycleLoss(layers.Layer):
    """Adds to the loss how far patterns and base, each transformed into the other, are apart.

    Parameters
    ----------
    settings : CycleSettings or dict
        What the loss is made of.
    """

    def __init__(self, settings: CycleSettings | dict, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        is_read = isinstance(settings, dict)
        self.settings = CycleSettings(**settings) if is_read else settings
        kind = "bilinear" if self.settings.enlargement == 1 else "bicubic"
        self.sample = AffineSampler(kind, dtype="float32")

    def build(self, parameters_shape, images_shape, base_shape):
        """Make the masks, which are no weights; all is looked at until they are set."""
        size = images_shape[1] * self.settings.enlargement
        self.size = (size, size)
        self.enlarge = Resize(self.size, "bicubic", dtype="float32")
        self.masks = self.add_weight(
            name=MASKS,
            shape=(self.settings.n_masks, *self.size),
            initializer="ones",
            trainable=False,
            autocast=False,
        )

    def call(self, parameters, images, base):
        """Return the parameters as they are, and add the loss.

        Parameters
        ----------
        parameters : tensor
            `PARAMETERS`, ``(n, 4)``.
        images : tensor
            Patterns, ``(n, n_pixels, n_pixels, 1)``.
        base : tensor
            ``(n, n_pixels, n_pixels, 1)``, or ``(1, ...)`` if it is the same for all.
        """
        if self.settings.enlargement > 1:
            images, base = self.enlarge(images), self.enlarge(base)
        everywhere = self.settings.disc_radius is None
        errors = self.errors_everywhere if everywhere else self.errors_at_discs
        there, back = errors(images, base, *self.maps(parameters))
        pairs = [there, back] if self.settings.both_ways else [back]
        loss = self.guarded(pairs, self.penalties(parameters, base))
        self.add_loss(loss / self.settings.divisor)
        return parameters

    def errors_everywhere(self, images, base, to_base, to_images):
        """Return errors in both directions, ``(n, 1, size, size)``, with their masks."""
        there = self.warped(images, to_base) - base
        back = images - self.warped(ops.broadcast_to(base, ops.shape(images)), to_images)
        return [(error[:, None, :, :, 0], self.masks[None]) for error in (there, back)]

    def errors_at_discs(self, images, base, to_base, to_images):
        """Return errors in both directions with their masks, each ``(n, n_masks, side, side)``."""
        radius, size = self.settings.disc_radius, self.size[0]
        middles, looks = centres(self.masks), ops.max(self.masks, axis=0)[None, :, :, None]
        half = half_side(radius)
        still = firsts(middles, half)
        there = self.around(images, to_base, still, half) - cut(base, still, half)
        moved_half = half_side(LARGEST_STRETCH * radius)
        moved = firsts(led_to(middles, to_images, size), moved_half)
        back = cut(images, moved, moved_half) - self.around(base, to_images, moved, moved_half)
        return [(there, cut(looks, still, half)), (back, self.moved(looks, to_images, moved))]

    def around(self, images, maps, first, half: int):
        """Return patches of images sampled through one map after the other."""
        kind, radius = self.sample.interpolation, self.settings.disc_radius
        return through(images, maps, first, half, kind, LARGEST_STRETCH * radius)

    def moved(self, looks, maps, first):
        """Return patches of what is looked at, each as its pattern transforms it, of 0 and 1."""
        radius = LARGEST_STRETCH * self.settings.disc_radius
        half = half_side(radius)
        looked = through(looks, maps, first, half, "bilinear", radius)
        hard = ops.cast((looked > 0.5) & inside(first, half, self.size[0]), "float32")
        return ops.stop_gradient(hard)

    def maps(self, parameters):
        """Return maps that take patterns to the base, one after the other, and those back."""
        stretch, rotation = stretch_map(parameters), rotation_map(parameters)
        if self.settings.composed:
            both = compose(stretch, rotation)
            return [both], [inverse(both)]
        return [stretch, rotation], [inverse(rotation), inverse(stretch)]

    def warped(self, images, maps):
        """Return images sampled through one map after the other."""
        for matrices in maps:
            images = self.sample(images, matrices)
        return images

    def guarded(self, pairs, free):
        """Return the loss with the published rails against errors that are too large."""
        squared = sum(self.mean_under(self.squared(error), masks) for error, masks in pairs) + free
        absolute = sum(self.mean_under(ops.abs(error), masks) for error, masks in pairs) + free - 1
        n = self.settings.n_masks
        large = ops.where(absolute > MOST_ABSOLUTE * n, free + MOST_ABSOLUTE, absolute)
        return ops.where(squared > MOST_SQUARED * n, large, squared)

    def squared(self, error):
        """Return squared errors, data less model, heavier where the model is above the data."""
        weight = ops.where(error > 0, 1.0, self.settings.asymmetry)
        return weight * ops.square(error)

    def mean_under(self, errors, masks):
        """Return the sum over masks of the mean under each, averaged over patterns."""
        counted = ops.sum(masks, axis=(2, 3))
        under = ops.sum(errors * masks, axis=(2, 3)) / ops.maximum(counted, 1)
        return ops.sum(ops.mean(under, axis=0))

    def penalties(self, parameters, base):
        """Return what base, scale and shear cost, once for each mask."""
        s = self.settings
        scales = ops.relu(ops.abs(parameters[:, :2] - 1) - s.free_scale)
        shears = ops.relu(ops.abs(parameters[:, 2]) - s.free_shear)
        size = ops.sum(ops.abs(base)) / ops.cast(ops.shape(base)[0], "float32")
        cost = s.base_weight * size
        cost = cost + s.scale_weight * ops.sum(ops.mean(scales, axis=0))
        return s.n_masks * (cost + s.shear_weight * ops.mean(shears))

    def compute_output_shape(self, parameters_shape, images_shape, base_shape):
        """Return the shape of the parameters."""
        return parameters_shape

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "settings": vars(self.settings)}


def cycle_network(
    architecture: Architecture,
    settings: CycleSettings,
    has_prior: bool,
    saturation: float | None = None,
    is_rectified: bool = True,
) -> keras.Model:
    """Return the network from patterns to `PARAMETERS`, ``(n, 4)``, with its loss.

    Parameters
    ----------
    architecture : Architecture
        Its size.
    settings : CycleSettings
        Its loss.
    has_prior : bool
        Whether rotations that were found before go in too: the second stage.
    saturation : float, optional
        Intensity that the encoder sees as 1/2, and any brighter one as less than 1. By default it
        sees intensities as they are: the direct beam, hundreds of times as bright as the discs,
        then sets the scale on which images are normalised, and codes of different patterns are
        nearly the same.
    is_rectified : bool
        As in `AffineParameters`.
    """
    size = architecture.n_pixels
    inputs = {"patterns": keras.Input((size, size, 1), name="patterns")}
    if has_prior:
        inputs["prior"] = keras.Input((1,), name="prior")
    seen = inputs["patterns"]
    if saturation is not None:
        seen = seen / (ops.abs(seen) + saturation)
    code = encoder(seen, architecture)
    choice = HardChoice(name="choice")(_scores(code, architecture.n_bases))
    raw = dense(layers.Concatenate()([code, choice]), N_RAW, dtype="float32")
    read = AffineParameters(is_rectified, name="parameters")
    found = read(raw, *([inputs["prior"]] if has_prior else []))
    base = decoder(architecture)(Once()(choice) if architecture.n_bases == 1 else choice)
    answer = CycleLoss(settings, name="cycle")(found, inputs["patterns"], base)
    return keras.Model(inputs, answer)


def _scores(code, n_bases: int):
    """Return what bases are chosen by, ``(n, n_bases)``; with one there is nothing to learn."""
    score = layers.Dense(n_bases, **pytorch_initializers(N_LATENT))
    normalise = layers.LayerNormalization(epsilon=1e-5)
    scores = normalise(score(code))
    score.trainable = normalise.trainable = n_bases > 1
    return scores


def plain_network(architecture: Architecture, looks: np.ndarray) -> keras.Model:
    """Return an autoencoder with the same encoder and decoder, which transforms nothing.

    Parameters
    ----------
    architecture : Architecture
        Its size.
    looks : numpy.ndarray
        Which pixels of the pattern it must return, ``(n_pixels, n_pixels)`` of 0 and 1; the others
        are 0.
    """
    patterns = keras.Input((architecture.n_pixels, architecture.n_pixels, 1))
    code = encoder(patterns, architecture)
    return keras.Model(patterns, decoder(architecture, N_LATENT)(code) * looks[None, :, :, None])


def code_network(network: keras.Model) -> keras.Model:
    """Return the encoder of a network, which turns what it takes into codes ``(n, 20)``."""
    return keras.Model(network.inputs, network.get_layer(CODE).output)


def choosing_network(network: keras.Model) -> keras.Model:
    """Return the part of a `cycle_network` that chooses a base, ``(n, n_bases)``."""
    return keras.Model(network.inputs, network.get_layer("choice").output)


def finding_network(network: keras.Model) -> keras.Model:
    """Return the part of a `cycle_network` that finds `PARAMETERS`, without base and loss."""
    return keras.Model(network.inputs, network.get_layer("parameters").output)


def base_of(network: keras.Model, number: int = 0):
    """Return a base that a `cycle_network` has learned, ``(n_pixels, n_pixels)`` array."""
    learned = network.get_layer("decoder")
    choice = ops.one_hot([number], learned.input_shape[-1])
    return ops.convert_to_numpy(learned(choice))[0, :, :, 0]
