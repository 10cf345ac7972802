"""How films go into the published translators, and into the gated CNN, and answers come out."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from repro.imaging.geometry import resized, shifted
from repro.seeds import row_generators
from repro.studies.rheed_translator.published import model
from repro.studies.rheed_translator.streaks import DARKEST, log_intensity
from repro.studies.rheed_translator.translation import Answers, Inputs

DIVISION = 1e-8  # keeps the published min-max from dividing by 0
SHIFT, EXPOSURE, NOISE = 0.02, 0.1, 0.01  # of the augmentation; shares of width and intensity
# The sum of the published weights of the paths that a cycle is made of.
CYCLES = {"image_cycle": 1.0, "stoichiometry_cycle": 0.1}


def said_by(
    network: keras.Model, inputs: Inputs | np.ndarray
) -> dict[str, np.ndarray] | np.ndarray:
    """Return a network's answers as arrays; for a few films compiling would take longer."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, network(inputs, training=False))


@dataclass(frozen=True)
class Published:
    """The published translator: min-max of Sr content and intensity, nothing altered.

    Parameters
    ----------
    height, width : int
        Of the images that the network sees [pixels].
    lowest, highest : float
        Sr content that become 0 and 1 [at.%].
    darkest, brightest : float
        Intensities that become 0 and 1.
    """

    height: int
    width: int
    lowest: float
    highest: float
    darkest: float
    brightest: float

    @classmethod
    def of(cls, images: np.ndarray, stoichiometry: np.ndarray, size: tuple[int, int]) -> Published:
        """Return the translation whose scales are the extremes of films.

        The authors took all they had, held out or not.
        """
        seen = resized(images, *size)
        extremes = (stoichiometry.min(), stoichiometry.max(), seen.min(), seen.max())
        return cls(*size, *map(float, extremes))

    def build(self) -> keras.Model:
        """Return the untrained network."""
        return model.published_translator(self.height, self.width)

    def inputs(self, images: np.ndarray, stoichiometry: np.ndarray) -> Inputs:
        """Return what the network takes of films; see `Translation`."""
        scaled = self.to_network(resized(images, self.height, self.width))
        content = (stoichiometry - self.lowest) / (self.highest - self.lowest + DIVISION)
        return {
            "image": scaled[..., None].astype(np.float32),
            "stoichiometry": content[:, None].astype(np.float32),
        }

    def augmented(self, images: np.ndarray, stoichiometry: np.ndarray, seeds: np.ndarray) -> Inputs:
        """Return what the network takes of films: the published code alters none."""
        return self.inputs(images, stoichiometry)

    def answers(self, network: keras.Model, inputs: Inputs) -> Answers:
        """Return what a trained network says of films; it has no interval."""
        found = said_by(network, inputs)
        nothing = np.full(len(inputs["image"]), np.nan)
        return Answers(
            self._content(found["image_to_stoichiometry"]),
            self._content(found["stoichiometry_to_stoichiometry"]),
            self.from_network(found["image_to_image"][..., 0]),
            self.from_network(found["stoichiometry_to_image"][..., 0]),
            found["image_code"],
            found["stoichiometry_code"],
            low=nothing,
            high=nothing,
        )

    def to_network(self, images: np.ndarray) -> np.ndarray:
        """Return intensities on the network's scale."""
        return (images - self.darkest) / (self.brightest - self.darkest + DIVISION)

    def from_network(self, images: np.ndarray) -> np.ndarray:
        """Return the intensities that `to_network` turns into these."""
        return self.darkest + images * (self.brightest - self.darkest + DIVISION)

    def _content(self, scaled: np.ndarray) -> np.ndarray:
        return self.lowest + scaled[:, 0] * (self.highest - self.lowest + DIVISION)


@dataclass(frozen=True)
class Corrected(Published):
    """What the text promises: cycles, augmentation, logarithms, scales of the training films."""

    @classmethod
    def of(cls, images: np.ndarray, stoichiometry: np.ndarray, size: tuple[int, int]) -> Corrected:
        """Return the translation whose scales are those of training films."""
        return cls(*size, float(stoichiometry.min()), float(stoichiometry.max()), DARKEST, 1.0)

    def build(self) -> keras.Model:
        """Return the untrained network, whose two units between the modalities are alive."""
        weights = model.LossWeights(**CYCLES)
        return model.published_translator(self.height, self.width, weights, alive=True)

    def augmented(self, images: np.ndarray, stoichiometry: np.ndarray, seeds: np.ndarray) -> Inputs:
        """Return films shifted a little, exposed otherwise and with noise."""
        return self.inputs(altered(images, seeds), stoichiometry)

    def to_network(self, images: np.ndarray) -> np.ndarray:
        """Return the logarithm of intensities, from 0 to 1."""
        brightness = np.clip(images, self.darkest, self.brightest)
        return np.log(brightness / self.darkest) / np.log(self.brightest / self.darkest)

    def from_network(self, images: np.ndarray) -> np.ndarray:
        """Return the intensities of logarithms."""
        return self.darkest * np.exp(images * np.log(self.brightest / self.darkest))


def altered(images: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Return images shifted a little sideways, exposed otherwise and with noise, same shape.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)``, intensity as fraction of full scale.
    seeds : numpy.ndarray
        One for each film, ``(n,)`` uint64: what is drawn depends on it alone.
    """
    draws = row_generators(seeds)
    sideways, exposure = np.array([2 * draw.random(2) - 1 for draw in draws]).T
    noise = np.stack([draw.standard_normal(images.shape[1:], dtype=np.float32) for draw in draws])
    moved = shifted(images, SHIFT * sideways)
    return np.clip(moved * (1 + EXPOSURE * exposure)[:, None, None] + NOISE * noise, 0, 1)


@dataclass(frozen=True)
class Gated:
    """The predecessor of Harris et al.: from the logarithm of an image to Sr content alone.

    Parameters
    ----------
    height, width : int
        Of the images that the network sees [pixels].
    """

    height: int
    width: int

    def build(self) -> keras.Model:
        """Return the untrained network."""
        return model.gated_cnn(self.height, self.width)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Return what the network takes of films, ``(n, height, width, 1)``."""
        return log_intensity(resized(images, self.height, self.width))[..., None].astype(np.float32)

    def stoichiometry(self, network: keras.Model, images: np.ndarray) -> np.ndarray:
        """Return the Sr content of films, ``(n,)`` [at.%]."""
        found = said_by(network, self.inputs(images))
        return 100 * found[:, 0]
