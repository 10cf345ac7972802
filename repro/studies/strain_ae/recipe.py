"""How the networks of `strain_ae` are trained, on the patterns of one noisy scan and no labels.

faithful: two networks one after the other, 1000 and 20 epochs; the first finds rotations, which
    the second refines with strain; published MAE of ε_xx at 25 % background: 0.0017.
    ``repro run strain_ae --variant faithful --preset paper --experiment noise_25 --out FOLDER``
corrected: the same with one sampling instead of two, angles treated as angles, rotations of either
    sign, and an encoder that the direct beam does not blind.
    ``repro run strain_ae --variant corrected --preset desk --experiment noise_25 --out FOLDER``
improved: discs and background are learned from the scan, then strain is fitted to each pattern.
    ``repro run strain_ae --variant improved --preset desk --experiment noise_25 --out FOLDER``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.store import Dataset
from repro.imaging.geometry import resized
from repro.studies.strain_ae.lattice import SIXTH
from repro.studies.strain_ae.masks import (
    PUBLISHED_SIZE,
    centres_of_mass,
    discs,
    orientation,
    ring,
    ring_2_centres,
)
from repro.studies.strain_ae.model import (
    MASKS,
    PUBLISHED,
    Architecture,
    CycleSettings,
    base_of,
    cycle_network,
    finding_network,
    plain_network,
)
from repro.studies.strain_ae.templates import RECIPE as TEMPLATES_RECIPE
from repro.studies.strain_ae.templates import Scan, initial_geometry, template_network
from repro.study import Task
from repro.training.recipe import Recipe
from repro.training.schedules import Adaptive, Triangle

if TYPE_CHECKING:
    import keras

ROTATION, STRAIN = "rotation", "strain"  # the two stages
ONE_LOSS = "one_loss_"  # before their names: trained by the base transformed back alone
PLAIN = "plain"  # the autoencoder that transforms nothing
CLASSES = "classes"  # the first stage with two bases
TEMPLATES = "templates"  # of the improved variant
ABLATIONS, TWO_PHASES = "ablations", "two_phases"  # experiments with further networks
N_SHOWN = 512  # patterns that tell where beam and rings are
UNIT = 4.0  # electrons in a published pixel at a pattern's 1e5 that count 1
DISC_LEVEL = 0.5  # of the two brightest rings, median (published scan, figures) [units]
RING = (20.0, 85.0)  # of the first stage [published pixels]
DISC, NEW_DISC = 11.0, 11.25  # of the second stage, before and after its first epoch
BRIGHT = 2.0  # what counts in a disc's centre of mass, over its mean
BATCH = 64  # patterns that are asked for at once


@dataclass(frozen=True)
class PresetScale:
    """What a preset changes of the published training: nothing at ``paper``.

    Parameters
    ----------
    architecture : Architecture
        The networks' size.
    enlargement : int
        How many times finer the second stage's grid is.
    rotation_epochs, strain_epochs : int
        Epochs of the two stages.
    half_period : int
        Epochs in which the first stage's learning rate rises or falls.
    batch_size : int
        Patterns of a step.
    """

    architecture: Architecture
    enlargement: int
    rotation_epochs: int
    strain_epochs: int
    half_period: int
    batch_size: int


SCALES = {
    "smoke": PresetScale(
        Architecture(100, (5, 4), width=4),
        enlargement=1,
        rotation_epochs=2,
        strain_epochs=2,
        half_period=1,
        batch_size=16,
    ),
    "desk": PresetScale(
        Architecture(100, (5, 2, 2), width=16),
        enlargement=2,
        rotation_epochs=60,
        strain_epochs=12,
        half_period=10,
        batch_size=16,
    ),
    "paper": PresetScale(
        PUBLISHED,
        enlargement=4,
        rotation_epochs=1000,
        strain_epochs=20,
        half_period=50,
        batch_size=64,
    ),
}


@dataclass(frozen=True)
class Positions:
    """The patterns of a data set's scans as the networks see them, one position an example.

    Parameters
    ----------
    dataset : Dataset
        Its samples are rows of scans.
    """

    dataset: Dataset

    @property
    def n_columns(self) -> int:
        """Positions of a row."""
        return self.dataset.spec.parameters["n_columns"]

    @cached_property
    def unit(self) -> float:
        """Electrons in a pixel that count 1."""
        parameters = self.dataset.spec.parameters
        return UNIT * parameters["pixel_size"] ** 2 * parameters["dose"] / 1e5

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the positions of rows, ``(n_rows * n_columns,)``."""
        return (rows[:, None] * self.n_columns + np.arange(self.n_columns)).ravel()

    def of(self, variable: str, examples: np.ndarray) -> np.ndarray:
        """Return a variable of positions, ``(n, ...)``."""
        row, column = np.divmod(examples, self.n_columns)
        return self.dataset.array(variable)[row, column]

    def patterns(self, examples: np.ndarray) -> np.ndarray:
        """Return patterns of positions, ``(n, n_pixels, n_pixels, 1)`` float32."""
        return (self.of("patterns", examples) / np.float32(self.unit))[..., None]


class Rotations:
    """Rotations that a trained network finds, each position asked once.

    Parameters
    ----------
    network : keras.Model
        That of the first stage.
    positions : Positions
        The patterns.
    """

    def __init__(self, network: keras.Model, positions: Positions):
        self._find = finding_network(network)
        self._stage = Stage(positions)
        n = positions.dataset.spec.n_samples * positions.n_columns
        self._known = np.full(n, np.nan, np.float32)

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        """Return rotations of positions within a sixth of a turn, ``(n,)`` float32 [rad]."""
        missing = np.unique(examples[np.isnan(self._known[examples])])
        if len(missing):
            self._known[missing] = parameters_of(self._find, self._stage, missing)[:, 3] % SIXTH
        return self._known[examples]


@dataclass(frozen=True)
class Stage:
    """The patterns, and the rotations found before, of one stage.

    Parameters
    ----------
    positions : Positions
        The patterns.
    prior : Rotations, optional
        What tells the rotation that the first stage found.
    masks : numpy.ndarray, optional
        Where patterns and base are compared, ``(n_masks, size, size)``, in the first epoch.
    centres_masks : bool
        Whether they are centred on the spots of the base after that.
    """

    positions: Positions
    prior: Rotations | None = None
    masks: np.ndarray | None = None
    centres_masks: bool = False

    def load(self, examples: np.ndarray, arrays: Mapping | None = None):
        """Return what the network sees of positions, and numbers without meaning as the target."""
        inputs = {"patterns": self.positions.patterns(examples)}
        if self.prior is not None:
            inputs["prior"] = self.prior(examples)[:, None]
        return inputs, np.zeros(len(examples), np.float32)

    def renew(self, model: keras.Model, epochs: int, arrays: Mapping) -> dict[str, np.ndarray]:
        """Return the masks of the next epoch; they move once, after the first."""
        if epochs == 0:
            return {MASKS: self.masks}
        if epochs > 1 or not self.centres_masks:
            return dict(arrays)
        size = self.masks.shape[-1]
        base = resized(base_of(model), size, size)
        return {MASKS: discs(size, centres_of_mass(base, self.masks, BRIGHT), NEW_DISC)}


def tasks(variant: str, preset: str, dataset: Dataset) -> list[Task]:
    """Return the networks to train: that for rotations, then that for strain; or our own."""
    scale, positions = SCALES[preset], Positions(dataset)
    experiment = dataset.spec.experiment
    if variant == "improved":
        return [templates_task(positions)]
    if experiment == TWO_PHASES:
        return [classes_task(variant, scale, positions)]
    both = stages(variant, scale, positions)
    if experiment != ABLATIONS:
        return both
    one_loss = stages(variant, scale, positions, ONE_LOSS, both_ways=False)
    return [*both, *one_loss, plain_task(scale, positions)]


def stages(
    variant: str, scale: PresetScale, positions: Positions, prefix: str = "", **changed: bool
) -> list[Task]:
    """Return the two stages, named with a prefix, with changed `CycleSettings`."""
    first = rotation_task(variant, scale, positions, **changed)
    second = strain_task(variant, scale, positions, **changed)
    needs = (prefix + ROTATION,)
    return [replace(first, name=needs[0]), replace(second, name=prefix + STRAIN, needs=needs)]


def classes_task(variant: str, scale: PresetScale, positions: Positions) -> Task:
    """Return the first stage with two bases, one of which each pattern chooses."""
    two = replace(scale, architecture=replace(scale.architecture, n_bases=2))
    return replace(rotation_task(variant, two, positions), name=CLASSES)


def plain_task(scale: PresetScale, positions: Positions) -> Task:
    """Return an autoencoder that transforms nothing, trained as the first stage is."""
    looks = ring(scale.architecture.n_pixels, *RING)

    def load(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        patterns = positions.patterns(examples)
        return patterns, patterns * looks[None, :, :, None]

    return Task(
        PLAIN,
        partial(plain_network, scale.architecture, looks),
        load,
        replace(rotation_recipe(scale), loss="mse"),
        examples=positions.of_rows,
        context=load,
    )


def templates_task(positions: Positions) -> Task:
    """Return the learning of discs and background, for which every pattern is fitted anew."""
    rows = [positions.dataset.rows(split) for split in ("train", "validation")]
    scan = Scan(
        positions.dataset.array("patterns"), positions.of_rows(np.sort(np.concatenate(rows)))
    )
    trained = positions.of_rows(rows[0])
    shown = trained[:: max(1, len(trained) // N_SHOWN)]
    return Task(
        TEMPLATES,
        partial(template_network, initial_geometry(scan.read(shown))),
        scan.load,
        TEMPLATES_RECIPE,
        examples=positions.of_rows,
        renew=scan.renew,
        context=scan,
    )


def rotation_task(variant: str, scale: PresetScale, positions: Positions, **changed: bool) -> Task:
    """Return the first stage: rotations from nothing."""
    settings = CycleSettings(
        enlargement=1,
        asymmetry=5.0,
        base_weight=1e-6 * weight_of_pixel(scale.architecture),
        scale_weight=10.0,
        shear_weight=1.0,
        composed=variant == "corrected",
        **changed,
    )
    stage = Stage(positions, masks=ring(scale.architecture.n_pixels, *RING)[None])
    build = partial(
        cycle_network, scale.architecture, settings, has_prior=False, **mendings(variant)
    )
    return Task(
        ROTATION,
        build,
        stage.load,
        rotation_recipe(scale),
        examples=positions.of_rows,
        renew=stage.renew,
        context=stage,
    )


def rotation_recipe(scale: PresetScale) -> Recipe:
    """Return how the first stage is trained."""
    return Recipe(
        epochs=scale.rotation_epochs,
        batch_size=scale.batch_size,
        learning_rate=3e-4,
        epsilon=1e-8,
        keep="best_training",
        loss="none",
        rate_by_epoch=Triangle(lowest=0.1, half_period=scale.half_period),
    )


def strain_task(variant: str, scale: PresetScale, positions: Positions, **changed: bool) -> Task:
    """Return the second stage: strain, and rotation within 0.1 rad of what the first found."""
    settings = CycleSettings(
        enlargement=scale.enlargement,
        asymmetry=1.0,
        base_weight=1.68e-7 * weight_of_pixel(scale.architecture),
        scale_weight=70.83,
        shear_weight=2.36,
        n_masks=6,
        divisor=6 * 15.0,
        composed=variant == "corrected",
        disc_radius=NEW_DISC * grid_size(scale) / PUBLISHED_SIZE,
        **changed,
    )
    recipe = Recipe(
        epochs=scale.strain_epochs,
        batch_size=scale.batch_size,
        learning_rate=1.39e-4,
        epsilon=1e-8,
        keep="best_training",
        loss="none",
        rate_by_epoch=Adaptive(rise=1.2, fall=0.8),
    )
    return Task(
        STRAIN,
        partial(cycle_network, scale.architecture, settings, has_prior=True, **mendings(variant)),
        None,
        recipe,
        examples=positions.of_rows,
        needs=(ROTATION,),
        given=partial(from_rotations, positions, scale),
    )


def mendings(variant: str) -> dict:
    """Return what a variant mends of `cycle_network`: nothing of the published one."""
    return {} if variant == "faithful" else {"saturation": DISC_LEVEL, "is_rectified": False}


def from_rotations(
    positions: Positions, scale: PresetScale, task: Task, networks: Mapping[str, keras.Model]
) -> Task:
    """Return the second stage with the rotations and the base that the first found."""
    network = networks[task.needs[0]]
    spots = orientation(base_of(network))
    size = grid_size(scale)
    stage = Stage(
        positions,
        prior=Rotations(network, positions),
        masks=discs(size, ring_2_centres(spots), DISC),
        centres_masks=True,
    )
    return replace(task, load=stage.load, renew=stage.renew, context=stage)


def parameters_of(finding: keras.Model, stage: Stage, examples: np.ndarray) -> np.ndarray:
    """Return scale, shear and rotation found at positions, ``(n, 4)`` float64.

    Parameters
    ----------
    finding : keras.Model
        What `repro.studies.strain_ae.model.finding_network` returns.
    stage : Stage
        What it sees.
    examples : numpy.ndarray
        Numbers of positions, ``(n,)``.
    """
    parts = [
        finding.predict_on_batch(stage.load(part)[0])
        for part in np.array_split(examples, max(1, -(-len(examples) // BATCH)))
    ]
    return np.concatenate(parts).astype(float)


def grid_size(scale: PresetScale) -> int:
    """Return the pixels along each side of the grid on which the second stage compares."""
    return scale.architecture.n_pixels * scale.enlargement


def weight_of_pixel(architecture: Architecture) -> float:
    """Return what a pixel counts in a sum over the base, that of 200 by 200 being 1."""
    return (PUBLISHED_SIZE / architecture.n_pixels) ** 2
