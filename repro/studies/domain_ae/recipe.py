"""How the networks of `domain_ae` are trained, on windows of frames and no labels.

faithful: one network, 120 epochs, L1 in steps from epoch 21 on; published training loss of the
    series Annealed: 0.2921.
    ``repro run domain_ae --variant faithful --preset paper --experiment vacuum --out FOLDER``
corrected: the modulus of tapered spectra in the stripes' band, and a loss by window.
    ``repro run domain_ae --variant corrected --preset desk --experiment gas --out FOLDER``
improved: a closed form; nothing is trained.
    ``repro run domain_ae --variant improved --preset desk --experiment gas --out FOLDER``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.studies.domain_ae.model import L1, Architecture, Loss, network
from repro.studies.domain_ae.simulate import Series, series_of
from repro.studies.domain_ae.tiles import MODULUS, REAL_PART, Reading
from repro.studies.domain_ae.windows import cut, over_noise, ranged, starts
from repro.study import Task
from repro.training.recipe import Recipe
from repro.training.schedules import Staircase

if TYPE_CHECKING:
    import keras

VACUUM, AUTOENCODER = "vacuum", "autoencoder"  # tasks
BAND = (1.0, 10.0)  # of the stripes, generously [cycles / window]
N_BINS = 24  # of the corrected tile
L1_STEP, CORRECTED_L1_STEP = 1e-8, 1e-5
L1_FIRST_EPOCH, L1_EVERY = 21, 5
MOST_KEPT = 160  # prepared frames
CONSTANT_STEPS = 5  # of the schedule, as high as the constant weight is


@dataclass(frozen=True)
class PresetScale:
    """What a preset changes of the published training: nothing at ``paper``.

    Parameters
    ----------
    tile : int
        Frequencies along each side of the faithful tile.
    interpolated : tuple of int
        Sides that it is interpolated to.
    architecture, corrected : Architecture
        Of the published network, and of the corrected one, whose tile is smaller.
    epochs : int
        Passes over the windows.
    windows : int
        Of an epoch, at most.
    learning_rate : float
        Narrow networks take a higher one.
    """

    tile: int
    interpolated: tuple[int, ...]
    architecture: Architecture
    corrected: Architecture
    epochs: int
    windows: int
    learning_rate: float


SCALES = {
    "smoke": PresetScale(
        tile=32,
        interpolated=(),
        architecture=Architecture((4, 2), 8, (4,), width=4),
        corrected=Architecture((3, 2), 6, (4,), width=4),
        epochs=2,
        windows=192,
        learning_rate=3e-4,
    ),
    "desk": PresetScale(
        tile=32,
        interpolated=(),
        architecture=Architecture((2, 2, 2), 4, (2, 2, 2), width=16),
        corrected=Architecture((2, 2, 2), 3, (2, 2, 2), width=16),
        epochs=40,
        windows=4000,
        learning_rate=3e-4,
    ),
    "paper": PresetScale(
        tile=64,
        interpolated=(147, 128),
        architecture=Architecture((4, 4, 2), 8, (2, 2, 4), width=128),
        corrected=Architecture((2, 2, 2), 3, (2, 2, 2), width=128),
        epochs=120,
        windows=72283,
        learning_rate=3e-5,
    ),
}


@dataclass(frozen=True)
class Design:
    """All that a variant or an ablation chooses: input, network and loss.

    Parameters
    ----------
    reading : Reading
        How windows become tiles.
    loss : Loss
        What is trained to.
    l1_step : float
        What L1's weight grows by.
    has_grids : bool
        Whether sampling grids are appended to the features.
    is_transferred : bool
        Whether the network starts from the one of the specimens in vacuum, where there are any.
    """

    reading: Reading
    loss: Loss
    l1_step: float
    has_grids: bool = True
    is_transferred: bool = True

    def read(self, **changes) -> Design:
        """Return the design with the reading changed."""
        return replace(self, reading=replace(self.reading, **changes))

    def trained_to(self, **changes) -> Design:
        """Return the design with the loss changed."""
        return replace(self, loss=replace(self.loss, **changes))


COMMON: dict[str, Callable[[Design], Design]] = {
    "none": lambda design: design,
    "no_grids": lambda design: replace(design, has_grids=False),
    "no_l1": lambda design: design.trained_to(follows_schedule=False),
    "constant_l1": lambda design: design.trained_to(
        follows_schedule=False, constant_l1=CONSTANT_STEPS * design.l1_step
    ),
    "scratch": lambda design: replace(design, is_transferred=False),
}
ABLATIONS: dict[str, dict[str, Callable[[Design], Design]]] = {
    "faithful": COMMON
    | {
        "modulus": lambda design: design.read(part=MODULUS),
        "tapered": lambda design: design.read(is_tapered=True),
        "tapered_spectrum": lambda design: design.read(tapers_spectrum=True),
        "banded": lambda design: design.read(band=BAND, n_bins=N_BINS, interpolated=()),
        "paired_loss": lambda design: design.trained_to(is_broadcast=False),
    },
    "corrected": COMMON
    | {
        "real_part": lambda design: design.read(part=REAL_PART),
        "untapered": lambda design: design.read(is_tapered=False),
        "unbanded": lambda design: design.read(band=None),
        "broadcast_loss": lambda design: design.trained_to(is_broadcast=True),
    },
}


def design_of(variant: str, scale: PresetScale, series: Series) -> Design:
    """Return what a variant chooses, altered by the data set's ablation.

    Raises
    ------
    ReproError
        If the variant has no such ablation.
    """
    if variant == "faithful":
        reading = Reading(
            series.window, series.step, scale.tile, REAL_PART, False, False, scale.interpolated
        )
        design = Design(reading, Loss(is_broadcast=True, sums_l1=True), L1_STEP)
    else:
        reading = Reading(
            series.window, series.step, N_BINS, MODULUS, True, band=BAND, counts_noise=True
        )
        design = Design(reading, Loss(is_broadcast=False, sums_l1=False), CORRECTED_L1_STEP)
    known = ABLATIONS[variant]
    if series.ablation not in known:
        raise ReproError(
            f"The variant {variant} has no ablation {series.ablation!r}: choose an experiment "
            f"whose ablation is {', '.join(known)}."
        )
    return known[series.ablation](design)


@dataclass(frozen=True)
class Windows:
    """The windows of a data set's frames; each is an example.

    Parameters
    ----------
    dataset : Dataset
        Its samples are frames.
    counts_noise : bool
        As in `Reading`.
    """

    dataset: Dataset
    counts_noise: bool

    @property
    def series(self) -> Series:
        """How the frames were made, and how they are cut."""
        return series_of(self.dataset.spec)

    @cached_property
    def places(self) -> np.ndarray:
        """First pixels of the windows along a side."""
        series = self.series
        return starts(series.size, series.window, series.step)

    @cached_property
    def _prepared(self) -> dict[int, np.ndarray]:
        return {}

    def frame(self, number: int) -> np.ndarray:
        """Return a frame as windows are cut from it: `ranged`, or `over_noise`.

        As many are kept as a training asks for again and again.
        """
        found = self._prepared.get(number)
        if found is None:
            prepare = over_noise if self.counts_noise else ranged
            found = prepare(self.dataset.array("counts")[number], self.series.window)
            while len(self._prepared) >= MOST_KEPT:
                self._prepared.pop(next(iter(self._prepared)), None)
            self._prepared[number] = found
        return found

    def of_frames(self, frames: np.ndarray, most: int | None = None) -> np.ndarray:
        """Return the numbers of the windows of frames, ``(n,)``, at most so many, evenly spread."""
        a_frame = len(self.places) ** 2
        every = (np.asarray(frames)[:, None] * a_frame + np.arange(a_frame)).ravel()
        if most is None or len(every) <= most:
            return every
        return every[np.arange(most) * len(every) // most]

    def load(self, examples: np.ndarray):
        """Return windows, ``(n, window, window)``, and numbers without meaning as the target."""
        side, window = len(self.places), self.series.window
        frames, within = np.divmod(examples, side**2)
        windows = np.empty((len(examples), window, window), np.float32)
        for number in np.unique(frames):
            of_frame = frames == number
            rows, columns = np.divmod(within[of_frame], side)
            frame = self.frame(int(number))
            windows[of_frame] = cut(frame, self.places[rows], self.places[columns], window)
        return windows, np.zeros(len(examples), np.float32)


def tasks(variant: str, preset: str, dataset: Dataset) -> list[Task]:
    """Return the networks to train: the autoencoder, perhaps after one of specimens in vacuum."""
    if variant == "improved":
        return []
    scale, series = SCALES[preset], series_of(dataset.spec)
    design = design_of(variant, scale, series)
    windows = Windows(dataset, design.reading.counts_noise)
    is_vacuum = dataset.array("specimen")[:] < series.vacuum_specimens
    found = [task(AUTOENCODER, variant, scale, design, windows, ~is_vacuum)]
    if series.vacuum_specimens and design.is_transferred:
        before = task(VACUUM, variant, scale, design, windows, is_vacuum)
        found = [before, replace(found[0], needs=(VACUUM,), given=from_vacuum)]
    return found


def task(
    name: str,
    variant: str,
    scale: PresetScale,
    design: Design,
    windows: Windows,
    is_of_task: np.ndarray,
) -> Task:
    """Return the training of one network on the frames that are of it, ``(n_frames,)`` bool."""
    recipe = Recipe(
        epochs=scale.epochs,
        batch_size=16,
        learning_rate=scale.learning_rate,
        epsilon=1e-8,
        keep="last",
        loss="none",
        loss_weights=(Staircase(L1, design.l1_step, L1_FIRST_EPOCH, L1_EVERY),),
    )

    def examples(frames: np.ndarray) -> np.ndarray:
        """Return windows of the task's frames; of others where these are none, as in validation."""
        chosen = frames[is_of_task[frames]]
        return windows.of_frames(chosen if len(chosen) else frames, scale.windows)

    architecture = scale.architecture if variant == "faithful" else scale.corrected
    if design.reading.side == N_BINS:
        architecture = scale.corrected
    return Task(
        name,
        partial(network, design.reading, architecture, design.loss, design.has_grids),
        windows.load,
        recipe,
        examples=examples,
        context=windows,
    )


def from_vacuum(task: Task, networks: Mapping[str, keras.Model]) -> Task:
    """Return a training that starts from the network of the specimens in vacuum."""
    return replace(task, build_model=partial(continued, task.build_model, networks[VACUUM]))


def continued(build: Callable[[], keras.Model], before: keras.Model) -> keras.Model:
    """Return a new network with the weights of one that was trained before."""
    model = build()
    model.set_weights(before.get_weights())
    return model
