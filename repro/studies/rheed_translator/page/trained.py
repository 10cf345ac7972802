"""A run of our translator, opened to be asked about new images."""

from __future__ import annotations

import numpy as np

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.studies.rheed_translator.ours.likeness import of_full_range
from repro.studies.rheed_translator.ours.line import LEVEL
from repro.studies.rheed_translator.ours.translator import Ours, is_saturated
from repro.studies.rheed_translator.page.predict import Neighbour, Reading
from repro.studies.rheed_translator.recipe import Films
from repro.studies.rheed_translator.streaks import spacings_beside, streak_centre, streak_ratios
from repro.study import Trained

ORDERS_SHOWN = np.arange(-2, 3)
UNLIKE = (
    "This image is unlike the training films: look at the reconstruction to see what the "
    "translator took it for."
)
SATURATED = (
    "The brightest part of this image is cut off: expose it shorter, so that no pixel is saturated."
)
OUTSIDE = "The number lies outside the range of the training films, {:.1f} to {:.1f} at.%."


class TrainedTranslator:
    """Our translator of a run, which learned from all training films.

    Parameters
    ----------
    dataset : Dataset
        What it learned from.
    """

    level = LEVEL

    def __init__(self, dataset: Dataset):
        self._images, self.contents = Films.of(dataset).seen(())
        self._ours = Ours.of(self._images, self.contents)
        self.left_out_error = self._ours.line.left_out_error
        self.is_synthetic = dataset.spec.card.kind == "simulated"
        self.lowest, self.highest = float(self.contents.min()), float(self.contents.max())
        self.title = dataset.spec.card.title

    def read(self, image: np.ndarray, is_linear: bool) -> Reading:
        """Read an image of any size; see `Translator`."""
        read = self._ours.read if is_linear else self._ours.read_pictures
        film = np.asarray(image, dtype=np.float32)[None]
        content, low, high = (float(np.clip(values[0], 0, 100)) for values in read(film))
        centre = streak_centre(film)
        spacings = spacings_beside(self._ours.spacing, film, centre)
        ratios = streak_ratios(film, centre, spacings)[0]
        return Reading(
            content,
            low,
            high,
            reconstruction=np.clip(self._ours.patterns.reconstructed(of_full_range(film))[0], 0, 1),
            unlikeness=float(self._ours.likeness.unexplained(film)[0]),
            streaks=centre[0] + ORDERS_SHOWN * spacings[0],
            ratio=float(ratios[1]),
            is_linear=is_linear,
            doubts=self._doubts(film, content),
        )

    def draw(self, stoichiometry: float, beyond: bool = False) -> np.ndarray:
        """Draw the pattern of a film; see `Translator`."""
        if not beyond and not self.lowest <= stoichiometry <= self.highest:
            raise ReproError(
                f"{stoichiometry:g} at.% is outside the training films, {self.lowest:.1f} to "
                f"{self.highest:.1f} at.%: choose one within, or ask for more on purpose."
            )
        return np.clip(self._ours.patterns.drawn(np.array([stoichiometry]))[0], 0, 1)

    def nearest(self, stoichiometry: float) -> Neighbour:
        """Return the training film whose Sr content [at.%] is nearest."""
        row = int(np.abs(self.contents - stoichiometry).argmin())
        return Neighbour(f"film {row + 1}", float(self.contents[row]), self._images[row])

    def _doubts(self, film: np.ndarray, content: float) -> tuple[str, ...]:
        found = {
            UNLIKE: self._ours.likeness.is_unlike(film)[0],
            SATURATED: is_saturated(film)[0],
            OUTSIDE.format(self.lowest, self.highest): not self.lowest <= content <= self.highest,
        }
        return tuple(sentence for sentence, holds in found.items() if holds)


def translator_of(trained: Trained) -> TrainedTranslator:
    """Return the translator of a run.

    Raises
    ------
    ReproError
        If it is not of the variant improved, the only one that states an interval.
    """
    if trained.variant != "improved":
        raise ReproError(
            f"The variant {trained.variant} states no interval: give a run of the variant improved."
        )
    return TrainedTranslator(trained.dataset)
