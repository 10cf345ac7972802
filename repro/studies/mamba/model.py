"""Networks from log intensity to the field of the film.

`faithful_unet` is the published network, one for the real and one for the imaginary part.
`improved_network` is ours: rods as channels, both parts at once, and the measured modulus put back
between its stages, since |F_bulk + U| is known at every point and only the phase is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from repro.studies.mamba.simulate import (
    BRAGG,
    DISTINCT_OF_ROD,
    DISTINCT_RODS,
    N_L,
    N_RODS,
    bulk_field,
)

PUBLISHED_WIDTHS = (128, 256, 512)

N_DISTINCT = len(DISTINCT_RODS)


def faithful_unet(widths: tuple[int, int, int] = PUBLISHED_WIDTHS) -> keras.Model:
    """Return the published 1-D U-Net on the flattened rods, ``(3840, 1)`` to ``(3840, 1)``.

    Five pairs of convolutions, two poolings, two upsamplings, ReLU, a linear 1 × 1 head.

    Parameters
    ----------
    widths : tuple of int
        Channels at full, half and quarter length; the paper's are 128, 256, 512.
    """

    def pair(x, width):
        for _ in range(2):
            x = layers.Conv1D(width, 3, padding="same", activation="relu")(x)
        return x

    def up(x, skip, width):
        x = layers.UpSampling1D(2)(x)
        x = layers.Conv1D(width, 2, padding="same", activation="relu")(x)
        return pair(layers.Concatenate()([skip, x]), width)

    full, half, quarter = widths
    inputs = layers.Input((N_RODS * N_L, 1), name="log_intensity")
    skip_full = pair(inputs, full)
    skip_half = pair(layers.MaxPooling1D(2)(skip_full), half)
    x = pair(layers.MaxPooling1D(2)(skip_half), quarter)
    x = up(up(x, skip_half, half), skip_full, full)
    return keras.Model(inputs, layers.Conv1D(1, 1, dtype="float32", name="field")(x))


@dataclass(frozen=True)
class FieldScale:
    """The constants that turn normalised data back into electrons.

    Parameters
    ----------
    log_intensity_mean, log_intensity_deviation : float
        Of the training split.
    field_mean, field_deviation : numpy.ndarray
        ``(2, 16, 240)``, real then imaginary part [electrons].
    """

    log_intensity_mean: float
    log_intensity_deviation: float
    field_mean: np.ndarray
    field_deviation: np.ndarray


class RodConstants(layers.Layer):
    """A layer with fixed arrays per (l, distinct rod), kept with the weights, in float32.

    Parameters
    ----------
    constants : dict of numpy.ndarray, optional
        Values for `NAMES`, each ``(240, 10)``; without them, zeros to be loaded from a file.
    """

    NAMES: tuple[str, ...] = ()

    def __init__(self, constants: dict[str, np.ndarray] | None = None, **keywords):
        keywords["dtype"] = "float32"
        super().__init__(trainable=False, **keywords)
        for name in self.NAMES:
            variable = self.add_weight(
                shape=(N_L, N_DISTINCT), initializer="zeros", trainable=False, name=name
            )
            if constants is not None:
                variable.assign(constants[name])
            setattr(self, name, variable)

    def get_config(self):
        """Return the configuration; the arrays travel with the weights."""
        config = super().get_config()
        config.pop("trainable", None)
        return config


@keras.saving.register_keras_serializable(package="repro.mamba")
class MeasuredModulus(RodConstants):
    """From normalised log intensity to network input and modulus.

    ``(batch, 240, 16)`` to features ``(batch, 240, 20)`` and |F_bulk + U| ``(batch, 240, 10)``
    [electrons], 0 at the Bragg points. The features are the log intensity and |F| - |F_bulk| in
    units of the field's deviation: near a Bragg point that is the part of U along F_bulk.
    """

    NAMES = ("log_mean", "log_deviation", "bulk_modulus", "feature_deviation", "is_measured")

    def call(self, log_intensity):  # noqa: D102
        log_intensity = ops.take(log_intensity, DISTINCT_RODS, axis=-1)
        modulus = ops.exp(0.5 * (log_intensity * self.log_deviation + self.log_mean))
        modulus = modulus * self.is_measured
        excess = (modulus - self.bulk_modulus) / self.feature_deviation
        return ops.concatenate([log_intensity * self.is_measured, excess], axis=-1), modulus


@keras.saving.register_keras_serializable(package="repro.mamba")
class ModulusCorrection(RodConstants):
    """The step that takes a field estimate to the nearest one with the measured modulus.

    Field ``(batch, 240, 20)``, z-scored, 10 rods real then imaginary, and modulus
    ``(batch, 240, 10)`` to the correction ``(batch, 240, 20)``; 0 where nothing is measured.
    """

    NAMES = (
        "real_mean",
        "real_deviation",
        "imag_mean",
        "imag_deviation",
        "bulk_real",
        "bulk_imag",
    )
    LARGEST_FACTOR = 20.0  # a vanishing estimate has no direction: do not let its step explode

    def call(self, field, modulus):  # noqa: D102
        real = field[..., :N_DISTINCT] * self.real_deviation + self.real_mean + self.bulk_real
        imag = field[..., N_DISTINCT:] * self.imag_deviation + self.imag_mean + self.bulk_imag
        estimated = ops.sqrt(real * real + imag * imag + 1e-2)
        factor = ops.clip(modulus / estimated - 1, -1, self.LARGEST_FACTOR)
        factor = ops.where(modulus > 0, factor, ops.zeros_like(factor))
        return ops.concatenate(
            [factor * real / self.real_deviation, factor * imag / self.imag_deviation], axis=-1
        )


@keras.saving.register_keras_serializable(package="repro.mamba")
class AllRods(layers.Layer):
    """From the 10 distinct rods, real and imaginary, to all 16: ``(..., 20)`` to ``(..., 32)``."""

    def __init__(self, **keywords):
        keywords["dtype"] = "float32"
        super().__init__(**keywords)

    def call(self, field):  # noqa: D102
        both = np.concatenate([DISTINCT_OF_ROD, DISTINCT_OF_ROD + N_DISTINCT])
        return ops.take(field, both, axis=-1)


def improved_network(scale: FieldScale, width: int = 64, n_stages: int = 2) -> keras.Model:
    """Return our network, ``(240, 16)`` to ``(240, 32)``: 16 real parts, then 16 imaginary ones.

    Each stage is a U-Net over l that corrects the field estimate, followed by a learned fraction
    of the step to the measured modulus. The next stage sees the estimate and the step that is left.

    Parameters
    ----------
    scale : FieldScale
        Normalisation of the training split.
    width : int
        Channels at full length; twice and four times as many at half and quarter length.
    n_stages : int
        How often field and modulus are reconciled.
    """
    inputs = layers.Input((N_L, N_RODS), name="log_intensity")
    features, modulus = MeasuredModulus(_modulus_constants(scale), name="modulus")(inputs)
    correction_constants = _correction_constants(scale)
    field, seen = None, features
    for stage in range(n_stages):
        hidden = unet_over_l(seen, width)
        change = _head(hidden, "field", stage, kernel_initializer="glorot_uniform")
        field = change if field is None else layers.Add(dtype="float32")([field, change])
        step = ModulusCorrection(correction_constants, name=f"step_{stage}")(field, modulus)
        fraction = _head(hidden, "fraction", stage, activation="sigmoid")
        taken = layers.Multiply(dtype="float32")([fraction, step])
        field = layers.Add(dtype="float32")([field, taken])
        if stage < n_stages - 1:
            left = ModulusCorrection(correction_constants, name=f"left_{stage}")(field, modulus)
            seen = layers.Concatenate(dtype="float32")([features, field, left])
    return keras.Model(inputs, AllRods(name="field")(field))


def unet_over_l(x, width: int):
    """Return features ``(batch, 240, width)``: residual U-Net whose deepest level sees every l."""
    full = residual(layers.Conv1D(width, 5, padding="same")(x))
    half = residual(layers.Conv1D(2 * width, 2, strides=2)(full))
    x = layers.Conv1D(4 * width, 2, strides=2)(half)
    for _ in range(2):
        x = mix_along_l(residual(x))
    half = residual(layers.Add()([half, _twice_as_long(x)]))
    full = residual(layers.Add()([full, _twice_as_long(half)]))
    return layers.Activation("relu")(full)


def residual(x):
    """Add two convolutions of x to x; they start as nothing."""
    width = x.shape[-1]
    y = layers.Activation("relu")(x)
    y = layers.Conv1D(width, 3, padding="same", kernel_initializer="he_normal")(y)
    y = layers.Activation("relu")(y)
    y = layers.Conv1D(width, 3, padding="same", kernel_initializer="zeros")(y)
    return layers.Add()([x, y])


def mix_along_l(x):
    """Add a dense map over the positions of every channel: an atom's height acts on every l."""
    length, width = x.shape[1:]
    y = layers.Permute((2, 1))(layers.Activation("relu")(x))
    y = layers.Permute((2, 1))(layers.Dense(length)(y))
    y = layers.Conv1D(width, 1, kernel_initializer="zeros")(layers.Activation("relu")(y))
    return layers.Add()([x, y])


def _twice_as_long(x):
    length, width = x.shape[1:]
    return layers.Reshape((2 * length, width // 2))(layers.Conv1D(width, 1)(x))


def _head(hidden, name: str, stage: int, **keywords):
    head = layers.Conv1D(2 * N_DISTINCT, 1, dtype="float32", name=f"{name}_{stage}", **keywords)
    return head(hidden)


def _by_l(array: np.ndarray) -> np.ndarray:
    """From ``(16, 240)`` to ``(240, 10)``."""
    return np.ascontiguousarray(array[DISTINCT_RODS].T, dtype=np.float32)


def _modulus_constants(scale: FieldScale) -> dict[str, np.ndarray]:
    ones = np.ones((N_RODS, N_L))
    measured = ones * ~BRAGG
    return {
        "log_mean": _by_l(ones * scale.log_intensity_mean),
        "log_deviation": _by_l(ones * scale.log_intensity_deviation),
        "bulk_modulus": _by_l(np.abs(bulk_field())),
        "feature_deviation": _by_l(scale.field_deviation.mean(axis=0)),
        "is_measured": _by_l(measured),
    }


def _correction_constants(scale: FieldScale) -> dict[str, np.ndarray]:
    bulk = bulk_field()
    return {
        "real_mean": _by_l(scale.field_mean[0]),
        "real_deviation": _by_l(scale.field_deviation[0]),
        "imag_mean": _by_l(scale.field_mean[1]),
        "imag_deviation": _by_l(scale.field_deviation[1]),
        "bulk_real": _by_l(bulk.real),
        "bulk_imag": _by_l(bulk.imag),
    }
