"""A trained translator used on new images: what it is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

SIMULATED = "Trained on simulated films."
DEMONSTRATION = (
    "No real film has been seen: what it says of a real one is a demonstration, not a measurement."
)


@dataclass(frozen=True)
class Reading:
    """What a translator makes of one image.

    Parameters
    ----------
    stoichiometry : float
        Sr content [at.% of the cations].
    low, high : float
        Ends of the interval that holds the true Sr content with the translator's probability
        `Translator.level` [at.%].
    reconstruction : numpy.ndarray
        The image as the translator gives it back, ``(height, width)``, intensity in [0, 1].
    unlikeness : float
        How far the image is from the training films; the greater, the less alike.
    is_unlike : bool
        Whether that is farther than the training films are from one another, so that the
        stoichiometry and its interval mean little.
    """

    stoichiometry: float
    low: float
    high: float
    reconstruction: np.ndarray
    unlikeness: float
    is_unlike: bool


@dataclass(frozen=True)
class Neighbour:
    """A training film.

    Parameters
    ----------
    name : str
        What the film is called.
    stoichiometry : float
        Its measured Sr content [at.% of the cations].
    image : numpy.ndarray
        Its pattern, ``(height, width)``, intensity in [0, 1].
    """

    name: str
    stoichiometry: float
    image: np.ndarray


class Translator(Protocol):
    """A trained run that reads images and draws patterns.

    Parameters
    ----------
    title : str
        What was trained, in a line.
    is_synthetic : bool
        Whether the training films were simulated.
    n_films : int
        Number of the training films.
    lowest, highest : float
        Range of the training films [at.%].
    level : float
        Probability with which an interval of a `Reading` holds the true value.
    """

    title: str
    is_synthetic: bool
    n_films: int
    lowest: float
    highest: float
    level: float

    def read(self, image: np.ndarray) -> Reading:
        """Read an image of any size.

        Parameters
        ----------
        image : numpy.ndarray
            ``(height, width)``, intensity in [0, 1].
        """

    def draw(self, stoichiometry: float, beyond: bool = False) -> np.ndarray:
        """Draw the pattern of a film, ``(height, width)``, intensity in [0, 1].

        Parameters
        ----------
        stoichiometry : float
            Sr content [at.%].
        beyond : bool
            Whether to draw outside the range of the training films too.

        Raises
        ------
        ReproError
            If the Sr content is outside that range and `beyond` is not set.
        """

    def nearest(self, stoichiometry: float) -> Neighbour:
        """Return the training film whose Sr content [at.%] is nearest."""
