"""What our translator makes of its training films before anything is trained.

Scales, principal patterns, the features of its linear layers, the width of its intervals, and what
counts as unlike the training films. All of it follows from the training films in closed form, so
that films and weights are all that a prediction needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from repro.errors import ReproError
from repro.studies.rheed_translator.images import (
    CUES,
    aligned,
    streak_centre,
    streak_cues,
    streak_spacing,
)
from repro.studies.rheed_translator.kernels import Process, every_choice

HEIGHT, WIDTH = 72, 96  # of the patterns that the network sees and draws [pixels]
N_APPEARANCE = 12  # principal patterns, as many as the published shared code has numbers
READING_LINES = every_choice(len(CUES))  # cues in which the composition may be a line
DRAWING_LINES = [()]  # the appearance is none in the composition
LEVEL = 0.9  # probability of the interval
LEAST_FILMS = 8
OUTER_QUANTILES = (0.16, 0.84)  # of the cues: a spread that one odd film does not set


@dataclass(frozen=True)
class Scale:
    """Takes numbers to their middle and spread, and back.

    Parameters
    ----------
    middle, spread : numpy.ndarray
        ``(n_values,)``.
    """

    middle: np.ndarray
    spread: np.ndarray

    @classmethod
    def robust(cls, values: np.ndarray) -> Scale:
        """Return the median and half the middle two thirds of values, ``(n, n_values)``."""
        low, high = np.quantile(values, OUTER_QUANTILES, axis=0)
        return cls(np.median(values, axis=0), np.maximum((high - low) / 2, 1e-6))

    @classmethod
    def normal(cls, values: np.ndarray) -> Scale:
        """Return mean and standard deviation of values, ``(n, n_values)``."""
        return cls(values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6))

    def apply(self, values):
        """Return values in spreads from the middle."""
        return (values - self.middle) / self.spread

    def undo(self, values):
        """Return the values that `apply` turns into these."""
        return self.middle + values * self.spread


@dataclass(frozen=True)
class Principal:
    """Patterns whose sums are films.

    Parameters
    ----------
    mean : numpy.ndarray
        ``(HEIGHT * WIDTH,)``.
    patterns : numpy.ndarray
        ``(N_APPEARANCE, HEIGHT * WIDTH)``, orthonormal.
    """

    mean: np.ndarray
    patterns: np.ndarray

    @classmethod
    def of(cls, films: np.ndarray) -> Principal:
        """Return the mean and the principal components of films, ``(n, HEIGHT * WIDTH)``."""
        mean = films.mean(axis=0)
        patterns = np.zeros((N_APPEARANCE, films.shape[1]))
        found = np.linalg.svd(films - mean, full_matrices=False)[2][: len(films) - 1]
        patterns[: len(found)] = found[:N_APPEARANCE]
        return cls(mean, patterns)

    def shares(self, films):
        """Return how much of each pattern is in films, ``(n, N_APPEARANCE)``."""
        return (films - self.mean) @ self.patterns.T

    def unexplained(self, films: np.ndarray) -> np.ndarray:
        """Return the share of films' intensity squared that the patterns leave out, ``(n,)``."""
        rest = films - self.mean - self.shares(films) @ self.patterns
        power = np.maximum(np.square(films).sum(axis=1), np.finfo(float).tiny)
        return np.square(rest).sum(axis=1) / power


@dataclass(frozen=True)
class Preprocessing:
    """All that follows from the training films before anything is trained.

    Parameters
    ----------
    spacing : float
        Of the streaks [share of the width].
    cues, content, centre : Scale
        Of the cues, the Sr content [at.%] and the place of the (00) streak [share of the width].
    principal : Principal
        Patterns whose sums are the training films.
    composition : Process
        From scaled cues to the scaled Sr content.
    trend : Process
        From the scaled Sr content to the shares of the principal patterns.
    width_factor : float
        Half width of the interval over the standard deviation that the network gives [1].
    most_unlike : float
        The greatest `unlikeness` of a training film to the others [1].
    """

    spacing: float
    cues: Scale
    content: Scale
    centre: Scale
    principal: Principal
    composition: Process
    trend: Process
    width_factor: float
    most_unlike: float

    @classmethod
    @threadpool_limits.wrap(limits=1)  # BLAS's threads wait longer for each other than they work
    def of(cls, images: np.ndarray, stoichiometry: np.ndarray) -> Preprocessing:
        """Return what follows from training films.

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
        places = streak_centre(images)
        spacing = streak_spacing(images, places)
        cues = streak_cues(images, places, spacing)
        films = _films(images, places)
        principal = Principal.of(films)
        cue_scale, content = Scale.robust(cues), Scale.normal(stoichiometry[:, None])
        contents = content.apply(stoichiometry[:, None])
        composition = Process.of(cue_scale.apply(cues), contents, READING_LINES)
        return cls(
            spacing=spacing,
            cues=cue_scale,
            content=content,
            centre=Scale.normal(places[:, None]),
            principal=principal,
            composition=composition,
            trend=Process.of(contents, principal.shares(films), DRAWING_LINES),
            width_factor=width_factor(*composition.left_out()),
            most_unlike=float(_unlike_the_others(films).max()),
        )

    def inputs(
        self, images: np.ndarray, stoichiometry: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return what the network takes of films, float32.

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, height, width)`` of any size, intensity as fraction of the film's maximum.
        stoichiometry : numpy.ndarray, optional
            Sr content, ``(n,)`` [at.%]; by default the mean of the training films.

        Returns
        -------
        dict of numpy.ndarray
            ``image`` ``(n, HEIGHT, WIDTH)`` with the (00) streak in the middle, ``cues``
            ``(n, n_cues)``, ``centre`` ``(n, 1)`` [share of the width], ``stoichiometry``
            ``(n, 1)`` [at.%].
        """
        places = streak_centre(images)
        if stoichiometry is None:
            stoichiometry = np.full(len(images), self.content.middle[0])
        found = {
            "image": aligned(images, places, HEIGHT, WIDTH),
            "cues": streak_cues(images, places, self.spacing),
            "centre": places[:, None],
            "stoichiometry": np.asarray(stoichiometry)[:, None],
        }
        return {name: values.astype(np.float32) for name, values in found.items()}

    def interval(self, answers: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the interval that holds the Sr content with probability `LEVEL`.

        Parameters
        ----------
        answers : dict
            What the network answered.

        Returns
        -------
        low, high : numpy.ndarray
            ``(n,)`` [at.%], within 0 to 100.
        """
        half = self.width_factor * np.asarray(answers["deviation"])[:, 0]
        middle = np.asarray(answers["image_to_stoichiometry"])[:, 0]
        return np.clip(middle - half, 0, 100), np.clip(middle + half, 0, 100)

    def unlikeness(self, images: np.ndarray) -> np.ndarray:
        """Return how far images are from sums of the principal patterns, ``(n,)``, from 0.

        More than `most_unlike` is unlike the training films: of another film like them that
        happens once in n + 1 times.

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, height, width)`` [any unit].
        """
        return self.principal.unexplained(_films(images, streak_centre(images)))


def width_factor(errors: np.ndarray, deviations: np.ndarray) -> float:
    """Return by how many standard deviations the interval of probability `LEVEL` reaches.

    The jackknife's quantile of the left-out errors of the training films, each over its own
    standard deviation (Barber et al. 2021, Ann. Stat. 49, 486, section 1).

    Parameters
    ----------
    errors, deviations : numpy.ndarray
        ``(n, 1)``.
    """
    ratios = np.sort(np.abs(errors / deviations)[:, 0])
    rank = math.ceil(LEVEL * (len(ratios) + 1))
    return float(ratios[min(rank, len(ratios)) - 1])


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


def _films(images: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return aligned images as rows, ``(n, HEIGHT * WIDTH)`` float64."""
    return aligned(images, centre, HEIGHT, WIDTH).reshape(len(images), -1).astype(np.float64)


def _unlike_the_others(films: np.ndarray) -> np.ndarray:
    """Return the `Preprocessing.unlikeness` of each film to the others, ``(n,)``."""
    return np.concatenate(
        [
            Principal.of(np.delete(films, i, axis=0)).unexplained(films[i : i + 1])
            for i in range(len(films))
        ]
    )
