"""Our translator between a RHEED image and the Sr content of the film, small enough for 24 films.

Both modalities share a code: the composition, the appearance that the composition does not explain,
and where the pattern stands on the screen. An image gives all three, an Sr content only the first.
The composition is read from streak cues: a line in some of them plus a smooth deviation from it.
The appearance is the shares of principal patterns less the trend that they follow with composition.
Line, deviation and trend are trained; see `preparation` for the rest.

A shift, another exposure and a mirrored image do not move the cues: what augmentation would teach
is built in.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import layers, ops

from repro.layers.counted import Counted
from repro.studies.rheed_translator.images import CUES
from repro.studies.rheed_translator.kernels import Process
from repro.studies.rheed_translator.preparation import (
    HEIGHT,
    N_APPEARANCE,
    WIDTH,
    Preprocessing,
    Principal,
    Scale,
)

N_CODE = 1 + N_APPEARANCE + 2  # composition, appearance, place and its spread
ROBUST_FROM = 2.0  # errors above count in a line instead of squared [standard deviations]
SHARPEST = 0.4 / WIDTH  # spread of a pattern's place if it is known [share of the width]


def improved_network(preprocessing: Preprocessing) -> keras.Model:
    """Return our translator; it adds its own loss, so that its recipe says ``loss="none"``.

    Takes a dict as `Preprocessing.inputs` returns it. Returns a dict of float32 tensors:

    - ``image_to_image``, ``stoichiometry_to_image``: ``(n, HEIGHT, WIDTH)``, intensity as fraction
      of the film's maximum, with the (00) streak where the image has it, or averaged over where
      the training films have it;
    - ``image_to_stoichiometry``, ``stoichiometry_to_stoichiometry``: ``(n, 1)`` [at.%];
    - ``deviation``: of ``image_to_stoichiometry``, ``(n, 1)`` [at.%];
    - ``image_code``, ``stoichiometry_code``: ``(n, N_CODE)``.

    Its parts are networks too, named ``image_encoder``, ``stoichiometry_encoder``,
    ``image_decoder`` and ``stoichiometry_decoder``.

    Parameters
    ----------
    preprocessing : Preprocessing
        What follows from the training films.
    """
    composition = Regression(preprocessing.composition, name="composition")
    trend = Regression(preprocessing.trend, name="trend")
    films = _inputs()
    codes = {
        "image": _image_encoder(preprocessing, composition, trend)(_of_image(films)),
        "stoichiometry": _stoichiometry_encoder(preprocessing)(films["stoichiometry"]),
    }
    decoders = {
        "image": _image_decoder(preprocessing, trend),
        "stoichiometry": _stoichiometry_decoder(preprocessing.content),
    }
    answers = {f"{source}_code": code for source, code in codes.items()}
    for source, code in codes.items():
        for target, decode in decoders.items():
            answers[f"{source}_to_{target}"] = decode(code)
    answers["deviation"] = _deviation(preprocessing, films["cues"])
    content = _scaled(films["stoichiometry"], preprocessing.content)
    errors = {
        "reading": codes["image"][:, :1] - content,
        "drawing": _shares(films["image"], preprocessing.principal) - trend(content),
    }
    objective = Objective(composition, trend, name="objective")
    return keras.Model(films, objective(answers, **errors))


class Regression(Counted):
    """The mean of a Gaussian process, its weights trained.

    They are counted in standard deviations of their posterior, so that a squared loss rises alike
    in all directions from its lowest point, whatever the features.

    Parameters
    ----------
    process : Process
        Gives the features and the prior of their weights.
    """

    def __init__(self, process: Process, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        self.process = process

    def build(self, shape):
        """Make the weights, drawn from a normal distribution."""
        self.kernel = self.add_weight(
            shape=(self.process.posterior.shape[1], self.process.targets.shape[1]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="kernel",
        )

    def call(self, inputs):
        """Return the mean at inputs, ``(n, n_inputs)`` [spreads], as ``(n, n_targets)``."""
        return ops.matmul(self.process.features(inputs, ops), self.weights_of_features())

    def flops(self, inputs, output):
        """Return the operations of the product of features and weights."""
        return 2 * math.prod(output) * self.process.posterior.shape[1]

    def weights_of_features(self):
        """Return the weights of the process's features, ``(n_features, n_targets)``."""
        deviations = _constant(self.process.noise * self.process.posterior)
        return ops.matmul(deviations, self.kernel)

    def penalty(self):
        """Return what the prior of the weights adds to the squared error of a sample."""
        return ops.sum(ops.square(self.weights_of_features())) / len(self.process.inputs)


class Objective(layers.Layer):
    """Add the loss of both regressions and hand on the answers.

    Parameters
    ----------
    composition, trend : Regression
        From cues to composition, and from composition to appearance.
    """

    def __init__(self, composition: Regression, trend: Regression, **keywords):
        super().__init__(**{**keywords, "dtype": "float32"})
        self.composition, self.trend = composition, trend

    def call(self, answers, reading, drawing):
        """Return the answers.

        Parameters
        ----------
        answers : dict
            Of the network.
        reading, drawing : tensor
            Errors of the composition, ``(n, 1)``, and of the appearance, ``(n, N_APPEARANCE)``.
        """
        robust = huber(reading, ROBUST_FROM * self.composition.process.noise)
        squared = ops.sum(ops.square(drawing), axis=1)
        for regression, error in ((self.composition, robust), (self.trend, squared)):
            total = ops.mean(error) + regression.penalty()
            self.add_loss(total / float(np.square(regression.process.targets).sum(1).mean()))
        return answers


def huber(errors, threshold: float):
    """Return squared errors, above a threshold continued in a line."""
    size = ops.abs(errors)
    return ops.where(size < threshold, ops.square(errors), threshold * (2 * size - threshold))


def _inputs() -> dict[str, keras.KerasTensor]:
    shapes = {
        "image": (HEIGHT, WIDTH),
        "cues": (len(CUES),),
        "centre": (1,),
        "stoichiometry": (1,),
    }
    return {name: layers.Input(shape, name=name) for name, shape in shapes.items()}


def _of_image(films: dict[str, keras.KerasTensor]) -> dict[str, keras.KerasTensor]:
    return {name: values for name, values in films.items() if name != "stoichiometry"}


def _image_encoder(
    preprocessing: Preprocessing, composition: Regression, trend: Regression
) -> keras.Model:
    films = _of_image(_inputs())
    content = composition(_scaled(films["cues"], preprocessing.cues))
    appearance = _shares(films["image"], preprocessing.principal) - trend(content)
    place = films["centre"]
    code = ops.concatenate([content, appearance, place, ops.zeros_like(place)], axis=1)
    return keras.Model(films, code, name="image_encoder")


def _stoichiometry_encoder(preprocessing: Preprocessing) -> keras.Model:
    stoichiometry = _inputs()["stoichiometry"]
    content = _scaled(stoichiometry, preprocessing.content)
    appearance = ops.repeat(ops.zeros_like(content), N_APPEARANCE, axis=1)
    place, spread = (
        ops.full_like(content, float(value))
        for value in (preprocessing.centre.middle[0], preprocessing.centre.spread[0])
    )
    code = ops.concatenate([content, appearance, place, spread], axis=1)
    return keras.Model(stoichiometry, code, name="stoichiometry_encoder")


def _image_decoder(preprocessing: Preprocessing, trend: Regression) -> keras.Model:
    code = layers.Input((N_CODE,), name="code")
    shares = trend(code[:, :1]) + code[:, 1 : 1 + N_APPEARANCE]
    principal = preprocessing.principal
    pattern = ops.matmul(shares, _constant(principal.patterns)) + _constant(principal.mean)
    pattern = ops.reshape(pattern, (-1, HEIGHT, WIDTH))
    return keras.Model(code, _placed(pattern, code[:, -2:-1], code[:, -1:]), name="image_decoder")


def _stoichiometry_decoder(content: Scale) -> keras.Model:
    code = layers.Input((N_CODE,), name="code")
    stoichiometry = code[:, :1] * _constant(content.spread) + _constant(content.middle)
    return keras.Model(code, stoichiometry, name="stoichiometry_decoder")


def _deviation(preprocessing: Preprocessing, cues):
    scaled = preprocessing.composition.deviation(_scaled(cues, preprocessing.cues), ops)
    return scaled * _constant(preprocessing.content.spread)


def _placed(pattern, place, spread):
    """Return patterns with the (00) streak at a place, averaged over its spread.

    Parameters
    ----------
    pattern : tensor
        ``(n, HEIGHT, WIDTH)`` with the (00) streak in the middle.
    place, spread : tensor
        ``(n, 1)`` [share of the width].
    """
    columns = (np.arange(WIDTH, dtype=np.float32) + 0.5) / WIDTH
    shown = columns[None, None, :] - columns[None, :, None] - 0.5
    apart = place[:, :, None] + _constant(shown)
    variance = ops.square(spread[:, :, None]) + SHARPEST**2
    weights = ops.softmax(-0.5 * ops.square(apart) / variance, axis=2)
    return ops.matmul(pattern, ops.transpose(weights, (0, 2, 1)))


def _scaled(values, scale: Scale):
    return (values - _constant(scale.middle)) / _constant(scale.spread)


def _shares(images, principal: Principal):
    flat = ops.reshape(images, (-1, HEIGHT * WIDTH))
    return ops.matmul(flat - _constant(principal.mean), _constant(principal.patterns.T))


def _constant(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)
