"""Networks between a RHEED image and the Sr content of the film.

`published_translator` is the published network, with every path between the two modalities; it adds
its own loss, so that its recipe says ``loss="none"`` and the targets are not looked at. `path` and
`encoder` take a trained one apart. `gated_cnn` is the predecessor of Harris et al.
(arXiv:2501.18523), from image to Sr content alone.

Weights start as in PyTorch, which the authors used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import keras
from keras import layers, ops

from repro.errors import ReproError
from repro.layers.pytorch import convolution, dense, pytorch_initializers
from repro.studies.rheed_translator.published.transposed import KERNEL, Conv2DTranspose
from repro.training.dropout import Dropout

MODALITIES = ("image", "stoichiometry")
PATHS = tuple(f"{source}_to_{target}" for source, target in product(MODALITIES, MODALITIES))
N_FEATURES, N_CODE = 48, 12  # widths between the blocks
N_HIDDEN = 64  # of the image's encoder and decoder
CHANNELS = (4, 16, 64)  # of the image's convolutions
CODES = tuple(f"{modality}_code" for modality in MODALITIES)
CYCLES = tuple(f"{modality}_cycle" for modality in MODALITIES)


@dataclass(frozen=True)
class LossWeights:
    """What each mean squared error counts in the loss [1]; the published ones, and no cycles.

    Parameters
    ----------
    image_to_image, image_to_stoichiometry : float
        Of what is read from the image.
    stoichiometry_to_image, stoichiometry_to_stoichiometry : float
        Of what is read from the Sr content.
    latent : float
        Between the codes of the two.
    image_cycle, stoichiometry_cycle : float
        Of an image that was translated to Sr content and back, and of an Sr content likewise. The
        text promises such terms, the published code has none.
    """

    image_to_image: float = 1.0
    image_to_stoichiometry: float = 0.1
    stoichiometry_to_image: float = 10.0
    stoichiometry_to_stoichiometry: float = 0.01
    latent: float = 0.001
    image_cycle: float = 0.0
    stoichiometry_cycle: float = 0.0

    def total(self, parts: Mapping[str, Any]) -> Any:
        """Return the loss of its parts, by the names of the weights; those that count 0 may lack.

        Parameters
        ----------
        parts : dict
            As `loss_parts` returns them.
        """
        return sum(weight * parts[name] for name, weight in asdict(self).items() if weight)

    @property
    def cycles(self) -> tuple[str, ...]:
        """Names of the cycles that count."""
        return tuple(name for name in CYCLES if getattr(self, name))


def loss_parts(films: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mean squared errors that the loss adds up, by the names of `LossWeights`.

    Parameters
    ----------
    films : dict
        What a translator was given: ``image``, ``(n, height, width, 1)``, and ``stoichiometry``,
        ``(n, 1)`` [0 to 1].
    answers : dict
        What it answered.
    """
    pairs = {path: (answers[path], films[path.split("_to_")[1]]) for path in PATHS}
    pairs["latent"] = tuple(answers[code] for code in CODES)
    for modality, cycle in zip(MODALITIES, CYCLES, strict=True):
        if cycle in answers:
            pairs[cycle] = (answers[cycle], films[modality])
    return {name: ops.mean(ops.square(one - other)) for name, (one, other) in pairs.items()}


@keras.saving.register_keras_serializable(package="repro.rheed_translator")
class TranslationLoss(layers.Layer):
    """Add the loss of a translator, in float32, and hand on its answers.

    Parameters
    ----------
    weights : dict
        The arguments of `LossWeights`.
    """

    def __init__(self, weights: dict[str, float], **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        self.loss_weights = LossWeights(**weights)

    def call(self, films, answers):
        """Return the answers; both are dicts as in `loss_parts`."""
        self.add_loss(self.loss_weights.total(loss_parts(films, answers)))
        return answers

    def get_config(self) -> dict:
        """Return the arguments that make an equal layer."""
        return {**super().get_config(), "weights": asdict(self.loss_weights)}


def published_translator(
    height: int,
    width: int,
    weights: LossWeights = LossWeights(),
    alive: bool = False,
    channels: tuple[int, ...] = CHANNELS,
    n_hidden: int = N_HIDDEN,
) -> keras.Model:
    """Return the published translator; 50,563,682 weights at 540 × 720.

    Takes a dict of ``image``, ``(n, height, width, 1)``, and ``stoichiometry``, ``(n, 1)``, both
    scaled to 0 to 1. Returns a dict of the four paths, named as in `PATHS`, the two codes,
    ``image_code`` and ``stoichiometry_code``, ``(n, 12)``, and of the cycles that count in the
    loss ``image_cycle`` and ``stoichiometry_cycle``.

    Parameters
    ----------
    height, width : int
        Of the images [pixels].
    weights : LossWeights
        What counts how much in the loss; a cycle that counts is computed as well.
    alive : bool
        Start the two hidden units on either side of the Sr content with a bias of 1, so that both
        answer at first. As published, both of a side are silent, and stay so, in a third of cases.
    channels : tuple of int
        Channels that leave each convolution of the image's encoder; its decoder has them backwards.
    n_hidden : int
        Width of the hidden layer of either.
    """
    bias = {"hidden_bias": "ones"} if alive else {}
    blocks = {
        "image_encoder": _image_encoder(height, width, channels, n_hidden),
        "stoichiometry_encoder": _two_layers("stoichiometry_encoder", 1, 2, N_FEATURES, **bias),
        "shared_encoder": _two_layers("shared_encoder", N_FEATURES, 24, N_CODE, dtype="float32"),
        "shared_decoder": _two_layers("shared_decoder", N_CODE, 24, N_FEATURES),
        "image_decoder": _image_decoder(height, width, channels, n_hidden),
        "stoichiometry_decoder": _two_layers(
            "stoichiometry_decoder", N_FEATURES, 2, 1, dtype="float32", **bias
        ),
    }
    block = blocks.__getitem__
    films = {
        "image": layers.Input((height, width, 1), name="image"),
        "stoichiometry": layers.Input((1,), name="stoichiometry"),
    }
    answers = {f"{source}_code": _encode(block, films[source], source) for source in MODALITIES}
    for source, target in product(MODALITIES, MODALITIES):
        answers[f"{source}_to_{target}"] = _decode(block, answers[f"{source}_code"], target)
    for source, target in (MODALITIES, MODALITIES[::-1]):
        if f"{source}_cycle" in weights.cycles:
            there = _encode(block, answers[f"{source}_to_{target}"], target)
            answers[f"{source}_cycle"] = _decode(block, there, source)
    return keras.Model(films, TranslationLoss(asdict(weights))(films, answers))


def path(translator: keras.Model, source: str, target: str) -> keras.Model:
    """Return one path of a translator, which takes the one modality and returns the other.

    Parameters
    ----------
    translator : keras.Model
        As `published_translator` returns it; the weights are shared with it.
    source, target : str
        Of `MODALITIES`.
    """
    block = translator.get_layer
    inputs = _input_of(translator, source)
    return keras.Model(inputs, _decode(block, _encode(block, inputs, source), target))


def encoder(translator: keras.Model, source: str) -> keras.Model:
    """Return the part of a translator from a modality to its code, ``(n, 12)``.

    Parameters
    ----------
    translator : keras.Model
        As `published_translator` returns it; the weights are shared with it.
    source : str
        Of `MODALITIES`.
    """
    inputs = _input_of(translator, source)
    return keras.Model(inputs, _encode(translator.get_layer, inputs, source))


def _input_of(translator: keras.Model, source: str) -> keras.KerasTensor:
    return layers.Input(translator.get_layer(f"{source}_encoder").input_shape[1:], name=source)


def _encode(block: Callable[[str], keras.Model], x, source: str):
    return block("shared_encoder")(block(f"{source}_encoder")(x))


def _decode(block: Callable[[str], keras.Model], code, target: str):
    return block(f"{target}_decoder")(block("shared_decoder")(code))


def _image_encoder(
    height: int, width: int, channels: tuple[int, ...], n_hidden: int
) -> keras.Model:
    image = x = layers.Input((height, width, 1))
    for filters in channels:
        # Pads both sides alike, as PyTorch does; Keras's "same" would pad even sizes at the end.
        x = convolution(layers.ZeroPadding2D(1)(x), filters, 3, strides=2, activation="relu")
    x = dense(layers.Flatten()(x), n_hidden, activation="relu")
    return keras.Model(image, dense(x, N_FEATURES), name="image_encoder")


def _image_decoder(
    height: int, width: int, channels: tuple[int, ...], n_hidden: int
) -> keras.Model:
    *between, most = channels
    rows, columns = math.ceil(height / 8), math.ceil(width / 8)
    features = layers.Input((N_FEATURES,))
    x = dense(features, n_hidden, activation="relu")
    x = dense(x, rows * columns * most, activation="relu")
    x = layers.Reshape((rows, columns, most))(x)
    for filters in reversed(between):
        x = _transposed_convolution(x, filters, activation="relu")
    x = layers.Activation("sigmoid", dtype="float32")(_transposed_convolution(x, 1))
    x = layers.Cropping2D(((0, 8 * rows - height), (0, 8 * columns - width)), dtype="float32")(x)
    return keras.Model(features, x, name="image_decoder")


def _two_layers(
    name: str,
    n_inputs: int,
    n_hidden: int,
    n_outputs: int,
    dtype: str | None = None,
    hidden_bias: str | None = None,
) -> keras.Model:
    inputs = layers.Input((n_inputs,))
    bias = {"bias_initializer": hidden_bias} if hidden_bias else {}
    hidden = dense(inputs, n_hidden, activation="relu", **bias)
    return keras.Model(inputs, dense(hidden, n_outputs, dtype=dtype), name=name)


def _transposed_convolution(x, filters: int, **keywords):
    start = pytorch_initializers(KERNEL**2 * filters)
    return Conv2DTranspose(filters, **start, **keywords)(x)


def gated_cnn(
    height: int,
    width: int,
    channels: tuple[int, ...] = (16, 64, 128),
    kernel: int = 7,
    dropout: float = 0.1523,
) -> keras.Model:
    """Return the gated CNN of Harris et al.; 906,017 trainable weights at any image size.

    Takes images, ``(n, height, width, 1)``, the logarithm of the intensity scaled to 0 to 1 film by
    film; returns the Sr content, ``(n, 1)`` [at.% / 100].

    Parameters
    ----------
    height, width : int
        Of the images [pixels]; 135 × 180 in the original.
    channels : tuple of int
        Channels that leave each gated convolution.
    kernel : int
        Width of the kernels; no padding.
    dropout : float
        Share of the features dropped before the second gated unit [1].

    Raises
    ------
    ReproError
        If nothing of the images would be left after the convolutions.
    """
    image = x = layers.Input((height, width, 1), name="image")
    for n_channels in channels:
        if min(x.shape[1:3]) <= kernel:
            raise ReproError(
                f"Images of {height} × {width} pixels are too small for {len(channels)} "
                f"convolutions of width {kernel}: take larger images or a smaller kernel."
            )
        x = convolution(x, 2 * n_channels, kernel)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        x = _gated(x, layers.LeakyReLU(0.01))
        x = layers.MaxPooling2D(2)(x)
    x = _gated(layers.GlobalMaxPooling2D()(x), layers.Identity())
    x = _gated(Dropout(dropout)(x), layers.Identity())
    return keras.Model(image, dense(x, 1, dtype="float32", name="stoichiometry"))


def _gated(x, activation: layers.Layer):
    """Return one half of the channels, let through as far as the other half opens."""
    values, gate = ops.split(x, 2, axis=-1)
    return layers.Multiply()([activation(values), layers.Activation("sigmoid")(gate)])
