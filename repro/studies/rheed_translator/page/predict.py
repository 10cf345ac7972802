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
        Share of the image's intensity squared that the training films' patterns leave out.
    streaks : numpy.ndarray
        Where the streaks of the orders -2 to 2 were looked for, ``(5,)`` [share of the width].
    ratio : float
        A02/A00, the second-order over the (00) streak, on which the number rests.
    is_linear : bool
        Whether the interval takes the image for linear in the intensity.
    doubts : tuple of str
        Why the number means little, a sentence each; empty where nothing speaks against it.
    """

    stoichiometry: float
    low: float
    high: float
    reconstruction: np.ndarray
    unlikeness: float
    streaks: np.ndarray
    ratio: float
    is_linear: bool
    doubts: tuple[str, ...] = ()

    @property
    def is_doubtful(self) -> bool:
        """Whether something speaks against the number."""
        return bool(self.doubts)


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
    """A run that reads images and draws patterns.

    Parameters
    ----------
    title : str
        What was trained, in a line.
    is_synthetic : bool
        Whether the training films were simulated.
    contents : numpy.ndarray
        Sr content of the training films, ``(n_films,)`` [at.%].
    lowest, highest : float
        Range of the training films [at.%].
    left_out_error : float
        Mean error of the training films, each read by the line through all others [at.%].
    level : float
        Probability with which an interval of a `Reading` holds the true value.
    """

    title: str
    is_synthetic: bool
    contents: np.ndarray
    lowest: float
    highest: float
    left_out_error: float
    level: float

    def read(self, image: np.ndarray, is_linear: bool) -> Reading:
        """Read an image of any size.

        Parameters
        ----------
        image : numpy.ndarray
            ``(height, width)``, intensity in [0, 1].
        is_linear : bool
            Whether its numbers are known to be proportional to the intensity, but for an offset;
            where they are not the interval is wider.
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
