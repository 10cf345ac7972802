"""Serve the page of a small translator: python serve_small.py real|simulated|broken PORT."""

from __future__ import annotations

import sys

import numpy as np

from repro.errors import ReproError
from repro.studies.rheed_translator.page.predict import Neighbour, Reading
from repro.studies.rheed_translator.page.server import serve_translator

FILMS = (35.0, 47.2, 55.0, 65.0)  # Sr content of the training films [at.%]


def pattern(stoichiometry: float) -> np.ndarray:
    """Return one streak, the narrower the more Sr, (60, 80)."""
    x = np.arange(80) - 40
    return np.tile(np.exp(-((x * stoichiometry / 400) ** 2)), (60, 1)).astype(np.float32)


class SmallTranslator:
    """Takes the mean intensity for the Sr content, and a bright image for an unlike one."""

    title = "A small translator"
    contents = np.array(FILMS)
    left_out_error = 2.1
    lowest, highest = FILMS[0], FILMS[-1]
    level = 0.9

    def __init__(self, is_synthetic: bool) -> None:
        self.is_synthetic = is_synthetic

    def read(self, image: np.ndarray, is_linear: bool) -> Reading:
        value, half = 100 * float(image.mean()), 2 if is_linear else 4
        found = {
            "It is unlike the training films.": image.mean() > 0.6,
            "The number lies outside the range.": value < self.lowest,
        }
        return Reading(
            value,
            value - half,
            value + half + 1,
            1 - image,
            unlikeness=value,
            streaks=np.linspace(0.1, 0.9, 5),
            ratio=0.17,
            is_linear=is_linear,
            doubts=tuple(doubt for doubt, holds in found.items() if holds),
        )

    def draw(self, stoichiometry: float, beyond: bool = False) -> np.ndarray:
        if not (beyond or self.lowest <= stoichiometry <= self.highest):
            raise ReproError(f"{stoichiometry} at.% is outside the training films.")
        return pattern(stoichiometry)

    def nearest(self, stoichiometry: float) -> Neighbour:
        value = min(FILMS, key=lambda film: abs(film - stoichiometry))
        return Neighbour(f"film {FILMS.index(value)}", value, pattern(value))


class BrokenTranslator(SmallTranslator):
    """Has a fault that nobody foresaw."""

    def draw(self, stoichiometry: float, beyond: bool = False) -> np.ndarray:
        raise RuntimeError("a fault inside")


TRANSLATORS = {
    "real": lambda: SmallTranslator(is_synthetic=False),
    "simulated": lambda: SmallTranslator(is_synthetic=True),
    "broken": lambda: BrokenTranslator(is_synthetic=False),
}

if __name__ == "__main__":
    kind, port = sys.argv[1:]
    try:
        serve_translator(TRANSLATORS[kind], int(port), False)
    except ReproError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)
