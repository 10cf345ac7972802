"""A run of our translator, opened to be asked about new images."""

from __future__ import annotations

from threading import Lock

import keras
import numpy as np

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.studies.rheed_translator.predict import Neighbour, Reading
from repro.studies.rheed_translator.preparation import LEVEL
from repro.studies.rheed_translator.recipe import ALL, Films, Network
from repro.studies.rheed_translator.translation import Answers, Ours
from repro.study import Trained


class TrainedTranslator:
    """Our translator of a run, which learnt from all training films.

    Parameters
    ----------
    dataset : Dataset
        What it was trained on.
    translation : Ours
        What follows from the training films.
    network : keras.Model
        The trained network.
    """

    level = LEVEL

    def __init__(self, dataset: Dataset, translation: Ours, network: keras.Model):
        films = Films.of(dataset)
        self._images, self._contents = films.seen(())
        self._translation, self._network = translation, network
        self._one_at_a_time = Lock()  # several tabs of the page may ask at once
        self.is_synthetic = dataset.spec.card.kind == "simulated"
        self.n_films = len(self._contents)
        self.lowest, self.highest = float(self._contents.min()), float(self._contents.max())
        self.title = dataset.spec.card.title

    def read(self, image: np.ndarray) -> Reading:
        """Read an image of any size; see `Translator`."""
        film = of_full_range(image)[None]
        said = self._ask(film, self._contents.mean())
        preprocessing = self._translation.preprocessing
        unlikeness = float(preprocessing.unlikeness(film)[0])
        return Reading(
            stoichiometry=float(np.clip(said.stoichiometry_of_image[0], 0, 100)),  # as low and high
            low=float(said.low[0]),
            high=float(said.high[0]),
            reconstruction=np.clip(said.image_of_image[0], 0, 1),
            unlikeness=unlikeness,
            is_unlike=unlikeness > preprocessing.most_unlike,
        )

    def draw(self, stoichiometry: float, beyond: bool = False) -> np.ndarray:
        """Draw the pattern of a film; see `Translator`."""
        if not beyond and not self.lowest <= stoichiometry <= self.highest:
            raise ReproError(
                f"{stoichiometry:g} at.% is outside the training films, {self.lowest:.1f} to "
                f"{self.highest:.1f} at.%: choose one within, or ask for more on purpose."
            )
        said = self._ask(self._images[:1], stoichiometry)
        return np.clip(said.image_of_stoichiometry[0], 0, 1)

    def nearest(self, stoichiometry: float) -> Neighbour:
        """Return the training film whose Sr content [at.%] is nearest."""
        row = int(np.abs(self._contents - stoichiometry).argmin())
        return Neighbour(f"film {row + 1}", float(self._contents[row]), self._images[row])

    def _ask(self, films: np.ndarray, stoichiometry: float) -> Answers:
        inputs = self._translation.inputs(films, np.array([stoichiometry]))
        with self._one_at_a_time:
            return self._translation.answers(self._network, inputs)


def of_full_range(image: np.ndarray) -> np.ndarray:
    """Return an image scaled from its darkest to its brightest pixel, as the published ones are."""
    image = np.asarray(image, dtype=np.float32)
    return (image - image.min()) / max(float(np.ptp(image)), np.finfo(np.float32).tiny)


def translator_of(trained: Trained) -> TrainedTranslator:
    """Return the translator of a trained run.

    Raises
    ------
    ReproError
        If it is not of the variant improved, the only one that states an interval.
    """
    network: Network = trained.tasks[ALL].context
    if trained.variant != "improved":
        raise ReproError(
            f"The variant {trained.variant} states no interval: give a run of the variant improved."
        )
    return TrainedTranslator(trained.dataset, network.translation, trained.models[ALL])
