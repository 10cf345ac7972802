"""Our translator between RHEED images and Sr content: all of it follows in closed form.

Sr content is a least-squares line in A02/A00, the second-order over the (00) streak: the simplest
of all that was tried, and the only one that was not beaten on films kept aside; see the README.
Images are sums of principal patterns with the (00) streak in the middle, whose shares follow the Sr
content by a Gaussian process. Both modalities share a code: the composition, the appearance that it
does not explain, and where the pattern stands on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from repro.errors import ReproError
from repro.studies.rheed_translator.ours.likeness import Likeness
from repro.studies.rheed_translator.ours.line import Line
from repro.studies.rheed_translator.ours.patterns import N_PATTERNS, Patterns
from repro.studies.rheed_translator.streaks import (
    spacings_beside,
    streak_centre,
    streak_ratios,
    streak_spacings,
    typical_spacing,
)
from repro.studies.rheed_translator.translation import Answers, Inputs

LEAST_FILMS = 6
# Exponents of the intensity that a picture of unknown origin may have been given: of display
# curves and of programs that brighten shadows.
RESPONSES = (1 / 1.4, 1.0, 1.4)
# A bright spot has half as many pixels in the uppermost part of its range as in the two below;
# where they are more, and more than this share of the image, the camera was saturated.
TOP_LEVELS, LEAST_AT_TOP = 0.02, 0.002


@dataclass(frozen=True)
class Ours:
    """Our translator; the films it learned from are all that it depends on.

    Parameters
    ----------
    spacing : float
        Typical distance of the streaks [share of the width].
    line : Line
        From A02/A00 to Sr content [at.%].
    patterns : Patterns
        Whose sums are the films.
    likeness : Likeness
        Tells images that are unlike the films.
    """

    spacing: float
    line: Line
    patterns: Patterns
    likeness: Likeness

    @classmethod
    @threadpool_limits.wrap(limits=1)  # BLAS's threads wait longer for each other than they work
    def of(cls, images: np.ndarray, stoichiometry: np.ndarray) -> Ours:
        """Return the translator that follows from films.

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, height, width)``, intensity as fraction of the film's maximum.
        stoichiometry : numpy.ndarray
            Sr content, ``(n,)`` [at.%].

        Raises
        ------
        ReproError
            If there are too few films, or all have the same Sr content.
        """
        _check(stoichiometry)
        centre = streak_centre(images)
        spacing = typical_spacing(*streak_spacings(images, centre))
        ratios = streak_ratios(images, centre, np.full(len(images), spacing))
        line = Line.through(ratios[:, 1:], stoichiometry)
        return cls(spacing, line, Patterns.of(images, stoichiometry), Likeness.of(images))

    def inputs(self, images: np.ndarray, stoichiometry: np.ndarray) -> Inputs:
        """Return films as they are; see `Translation`."""
        return {"image": images, "stoichiometry": np.asarray(stoichiometry)}

    def answers(self, network: None, inputs: Inputs) -> Answers:
        """Return what is said of films; there is no network."""
        images, stoichiometry = inputs["image"], inputs["stoichiometry"]
        content, low, high = self.read(images)
        return Answers(
            content,
            stoichiometry,
            self.patterns.reconstructed(images),
            self.patterns.drawn(stoichiometry),
            self._image_code(images, content),
            self._stoichiometry_code(stoichiometry),
            low,
            high,
        )

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the Sr content of films with the ends of its interval, ``(n,)`` each [at.%].

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, height, width)`` of any size, linear in the intensity [any unit].
        """
        centre = streak_centre(images)
        spacings = spacings_beside(self.spacing, images, centre)
        content, half = self.line.at(streak_ratios(images, centre, spacings)[:, 1:])
        return content, np.clip(content - half, 0, 100), np.clip(content + half, 0, 100)

    def read_pictures(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `read` does, of pictures that may not be linear in the intensity.

        The interval holds those of every exponent in `RESPONSES`: how a camera or a program curved
        the intensity cannot be seen in an image, since it alters the ratios as Sr does.

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, height, width)``, not negative, 0 where no light fell [any unit].
        """
        each = np.stack([self.read(images**exponent) for exponent in RESPONSES])
        unaltered = each[RESPONSES.index(1.0)]
        return unaltered[0], each[:, 1].min(axis=0), each[:, 2].max(axis=0)

    def _image_code(self, images: np.ndarray, content: np.ndarray) -> np.ndarray:
        appearance = self.patterns.shares(images) - self.patterns.expected(content)
        place = streak_centre(images)
        return self._code(content, appearance, place, np.zeros(len(images)))

    def _stoichiometry_code(self, stoichiometry: np.ndarray) -> np.ndarray:
        place, spread = (np.full(len(stoichiometry), value) for value in self.patterns.place)
        return self._code(stoichiometry, np.zeros((len(stoichiometry), 0)), place, spread)

    def _code(self, content, appearance, place, spread) -> np.ndarray:
        missing = ((0, 0), (0, N_PATTERNS - appearance.shape[1]))
        scaled = self.patterns.scaled(content)
        return np.column_stack([scaled, np.pad(appearance, missing), place, spread])


def is_saturated(images: np.ndarray) -> np.ndarray:
    """Return whether images are cut off at their brightest level, ``(n,)`` bool.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit], as they were stored.
    """
    brightest = images.max(axis=(1, 2), keepdims=True)
    at_top = (images > (1 - TOP_LEVELS) * brightest).mean(axis=(1, 2))
    near_top = (images > (1 - 3 * TOP_LEVELS) * brightest).mean(axis=(1, 2)) - at_top
    return (at_top > near_top) & (at_top > LEAST_AT_TOP)


def _check(stoichiometry: np.ndarray) -> None:
    if len(stoichiometry) < LEAST_FILMS:
        raise ReproError(
            f"{len(stoichiometry)} training films are too few for the improved translator: "
            f"give at least {LEAST_FILMS}."
        )
    if np.ptp(stoichiometry) == 0:
        raise ReproError(
            f"All training films have {stoichiometry[0]} at.% Sr, from which nothing can be "
            "learnt: give films of different Sr content."
        )
