"""Bright-field frames of BaTiO3 on heating and cooling, a STAND-IN for the published series.

A sample is a frame. Frames of a specimen follow one another, heating before cooling.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from repro.datasets.spec import ResolvedSpec
from repro.errors import ReproError
from repro.seeds import generator
from repro.studies.domain_ae.specimen import Specimen

VACUUM = {"dose": 400.0, "contrast": 0.08, "haze": 0.0, "surviving": 1.0, "coexistence": 1.0}
HAZE_BRIGHTNESS = 0.5  # [full scale]


@dataclass(frozen=True)
class Series:
    """How the frames are made: the parameters of the data spec.

    Parameters
    ----------
    size, extent : int
        Sides of frame and specimen [pixels].
    window, step : int
        Side of a window, and from one to the next [pixels].
    heating, cooling : list of float
        Temperatures of the frames of a specimen [°C].
    hysteresis : float
        How much later a-a turns back to a-c on cooling [°C].
    dose : float
        Electrons in a pixel at full scale.
    contrast : float
        Depth of the needles [full scale].
    haze : float
        Share of the intensity that the gas scatters evenly [1].
    surviving, coexistence : float
        As in `Specimen` [1].
    vacuum_specimens : int
        How many of the first specimens are seen in vacuum, whatever the others are.
    ablation : str
        What of a variant is altered; no frame is.

    Raises
    ------
    ReproError
        If a value makes no sense.
    """

    size: int
    extent: int
    window: int
    step: int
    heating: list[float]
    cooling: list[float]
    hysteresis: float
    dose: float
    contrast: float
    haze: float
    surviving: float
    coexistence: float
    vacuum_specimens: int = 0
    ablation: str = "none"

    def __post_init__(self):
        if not 0 < self.window <= self.size <= self.extent:
            raise ReproError(
                f"window is {self.window}, size {self.size} and extent {self.extent}: give a "
                "window no larger than the frame, and a frame no larger than the specimen."
            )
        if not 0 < self.step <= self.window:
            raise ReproError(f"step is {self.step}: give one from 1 to the window's side.")
        if self.dose <= 0:
            raise ReproError(f"dose is {self.dose}: give a number above 0.")
        for name in ("contrast", "haze", "surviving"):
            if not 0 <= getattr(self, name) <= 1:
                raise ReproError(f"{name} is {getattr(self, name)}: give a share from 0 to 1.")

    @cached_property
    def stages(self) -> list[tuple[float, bool]]:
        """Temperature [°C] and whether the specimen cools, of the frames of a specimen."""
        return [(t, False) for t in self.heating] + [(t, True) for t in self.cooling]

    def conditions(self, specimen: int) -> dict[str, float]:
        """Return what a specimen is seen under, as `VACUUM`."""
        if specimen < self.vacuum_specimens:
            return VACUUM
        return {name: getattr(self, name) for name in VACUUM}

    def specimen(self, number: int, seed: int) -> Specimen:
        """Return a specimen, whose fields are found once for all of its frames."""
        seen = self.conditions(number)
        sizes = self.size, self.extent, self.window
        return _specimen(number, seed, *sizes, seen["surviving"], seen["coexistence"])

    def frame(self, number: int, seed: int) -> dict[str, np.ndarray]:
        """Make one frame; see `frames`."""
        which, stage = divmod(number, len(self.stages))
        temperature, is_cooling = self.stages[stage]
        seen, specimen = self.conditions(which), self.specimen(which, seed)
        labels = specimen.labels(temperature, self.hysteresis * is_cooling)
        image = specimen.image(labels, seen["contrast"])
        image = (1 - seen["haze"]) * image + HAZE_BRIGHTNESS * seen["haze"]
        counts = generator(seed, "domain_ae", "counts", str(number)).poisson(seen["dose"] * image)
        return {
            "counts": counts.astype(np.uint16),
            "labels": labels,
            "temperature": np.float64(temperature),
            "is_cooling": np.uint8(is_cooling),
            "specimen": np.int64(which),
        }


def series_of(spec: ResolvedSpec) -> Series:
    """Return how the frames of a data set were made; of the published ones, how they are cut."""
    known = {n: v for n, v in spec.parameters.items() if n in Series.__dataclass_fields__}
    if "dose" in known:
        return Series(**known)
    unknown = {**VACUUM, "hysteresis": 0.0, "heating": [], "cooling": []}
    return Series(**unknown, **known, extent=known["size"])


@lru_cache(maxsize=2)
def _specimen(*arguments) -> Specimen:
    return Specimen(*arguments)


def frames(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Make the frames ``start`` to ``stop`` of the data set, specimen after specimen.

    Parameters
    ----------
    start, stop : int
        First frame, and the one after the last.
    seed : int
        The data set's seed.
    parameters : dict
        Those of `Series`.

    Returns
    -------
    dict of numpy.ndarray
        The variables of the data spec, first axis the frame.
    """
    series = Series(**parameters)
    made = [series.frame(number, seed) for number in range(start, stop)]
    return {name: np.stack([arrays[name] for arrays in made]) for name in made[0]}


def axes(parameters: dict) -> dict[str, tuple[np.ndarray, str]]:
    """Return values and unit of the frames' axes: ``row`` and ``column``.

    Parameters
    ----------
    parameters : dict
        Those of the data spec, ``size`` among them.
    """
    pixels = np.arange(parameters["size"])
    return {"row": (pixels, "pixels"), "column": (pixels, "pixels")}


def seconds_per_sample(parameters: dict, workers: int) -> float:
    """Return how long workers take for a frame on this machine [s], from one that is made."""
    series = Series(**parameters)
    series.frame(0, 0)  # finds the specimen's fields
    started = time.perf_counter()
    series.frame(1, 0)
    return (time.perf_counter() - started) / workers
