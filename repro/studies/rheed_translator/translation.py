"""How films go into a translator and its answers come out: intensities and at.% on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Answers:
    """What a translator says of films, each given as image and as Sr content.

    Parameters
    ----------
    stoichiometry_of_image, stoichiometry_of_stoichiometry : numpy.ndarray
        Sr content by the two paths to it, ``(n,)`` [at.%].
    image_of_image, image_of_stoichiometry : numpy.ndarray
        Images by the two paths to them, ``(n, height, width)``, intensity as fraction of full
        scale.
    image_code, stoichiometry_code : numpy.ndarray
        ``(n, n_code)``.
    low, high : numpy.ndarray
        Interval of `stoichiometry_of_image`, ``(n,)`` [at.%]; NaN where the translator has none.
    """

    stoichiometry_of_image: np.ndarray
    stoichiometry_of_stoichiometry: np.ndarray
    image_of_image: np.ndarray
    image_of_stoichiometry: np.ndarray
    image_code: np.ndarray
    stoichiometry_code: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Translation(Protocol):
    """All of a translator that is not trained: it follows from the training films."""

    def build(self) -> keras.Model:
        """Return the untrained network."""

    def inputs(self, images: np.ndarray, stoichiometry: np.ndarray) -> Inputs:
        """Return what the network takes of films.

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, height, width)`` of any size, intensity as fraction of full scale.
        stoichiometry : numpy.ndarray
            ``(n,)`` [at.%].
        """

    def augmented(self, images: np.ndarray, stoichiometry: np.ndarray, seeds: np.ndarray) -> Inputs:
        """Return the same of films that are altered by what their seeds draw, ``(n,)`` uint64."""

    def answers(self, network: keras.Model, inputs: Inputs) -> Answers:
        """Return what a trained network says of films."""
