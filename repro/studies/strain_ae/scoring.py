"""The scans of a run, and what is found in them: by networks, by our fit, with neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.spec import ResolvedSpec
from repro.evaluation.resampling import Resampling
from repro.studies.strain_ae.baselines import Setting
from repro.studies.strain_ae.boundaries import patterns_across
from repro.studies.strain_ae.disturbed import Replaced, patterns_with
from repro.studies.strain_ae.fit import relative
from repro.studies.strain_ae.lattice import COMPONENTS, SIXTH, sixfold
from repro.studies.strain_ae.model import finding_network
from repro.studies.strain_ae.neighbours import with_neighbours
from repro.studies.strain_ae.recipe import (
    ROTATION,
    STRAIN,
    TEMPLATES,
    Positions,
    Rotations,
    parameters_of,
)
from repro.studies.strain_ae.scan_files import ScanFile
from repro.studies.strain_ae.simulate import Simulation
from repro.studies.strain_ae.strain import Found, circular_mean, consistent_strain, published_strain
from repro.studies.strain_ae.templates import Scan, templates_of
from repro.study import Trained

if TYPE_CHECKING:
    import keras

PUBLISHED = "ws2_published"  # the data set of the published scan
TRAINED, NEW_NOISE = "trained", "new_noise"
SCAN_NAMES = {
    "published": NEW_NOISE,
    "two_phases": NEW_NOISE,
    "polycrystal": "unseen",
    "smooth": "smooth",
}
REFERENCE_ROWS, REFERENCE_COLUMNS = (30, 60), (10, 40)  # published window [scan pixels]
READ_AT_ONCE = 256  # patterns
STRAIN_OF = {"faithful": published_strain, "corrected": consistent_strain}
N_BOUNDARIES = 32  # across which steps are read


@dataclass(frozen=True)
class ScanErrors:
    """The positions of one scan, what is true there and what was found.

    Parameters
    ----------
    name : str
        Which scan, such as ``"unseen"``.
    n_columns : int
        Positions of a row.
    true : numpy.ndarray
        ``(n, 4)``: strain [1] and rotation [degrees].
    reading : Found
        What was found.
    unit : numpy.ndarray
        ``(n,)`` what errs alike: the grain; the row where there are no grains.
    within : numpy.ndarray
        ``(n,)`` bool: the beam meets one crystal only.
    split : str
        The split that the scan is of.
    """

    name: str
    n_columns: int
    true: np.ndarray
    reading: Found
    unit: np.ndarray
    within: np.ndarray
    split: str

    @property
    def found(self) -> np.ndarray:
        """What was found, ``(n, 4)``, as `true`."""
        return self.reading.components

    @cached_property
    def errors(self) -> np.ndarray:
        """Found less true, ``(n, 4)``; rotations by the six-fold lattice."""
        errors = self.found - self.true
        turns = np.rad2deg(sixfold(np.deg2rad(errors[:, 3])))
        return np.concatenate([errors[:, :3], turns[:, None]], axis=1)

    def resampling(self, chosen: np.ndarray) -> Resampling:
        """Return draws of the grains that chosen positions are of."""
        return Resampling("grain", self.unit[chosen], self.split)


class Bench:
    """The scans, and what is found in them."""

    def __init__(self, trained: Trained):
        self.trained, self.dataset = trained, trained.dataset
        self.positions = Positions(trained.dataset)
        self.simulation = simulation_of(trained.dataset.spec)
        self.knows_patterns = trained.dataset.spec.name != PUBLISHED
        self.of_reference = np.zeros(len(COMPONENTS))  # deviation that all positions share [1, rad]
        self.reference = np.zeros(len(COMPONENTS))  # what our fit finds in the unstrained window

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """The rows of every scan by name, that which was trained on first."""
        test, kinds = self.dataset.rows("test"), self.simulation.scans
        scans = self.dataset.array("scan")[test]
        named = {SCAN_NAMES[kinds[number]]: test[scans == number] for number in np.unique(scans)}
        return {TRAINED: self.dataset.rows("train"), **named}

    @cached_property
    def scans(self) -> dict[str, ScanErrors]:
        """Every scan by name."""
        read = self.from_fit if self.trained.variant == "improved" else self.from_network
        return {name: self.scan(name, found) for name, found in read().items()}

    def from_network(self) -> dict[str, Found]:
        """Return what the second stage finds in every scan."""
        parameters, strain_of = self.parameters, STRAIN_OF[self.trained.variant]
        reference = parameters[TRAINED][self.in_reference]
        return {name: strain_of(found, reference) for name, found in parameters.items()}

    @cached_property
    def parameters(self) -> dict[str, np.ndarray]:
        """Scale, shear and rotation that the second stage finds in every scan, ``(n, 4)``."""
        finding, stage = finding_network(self.network), self.trained.tasks[STRAIN].context
        return {
            name: parameters_of(finding, stage, self.positions.of_rows(rows))
            for name, rows in self.rows.items()
        }

    def of_networks(self, prefix: str) -> Bench:
        """Return the bench of the two stages whose names have a prefix."""
        names = (ROTATION, STRAIN)
        tasks, models = (
            {name: of_run[prefix + name] for name in names}
            for of_run in (self.trained.tasks, self.trained.models)
        )
        return Bench(replace(self.trained, tasks=tasks, models=models))

    def truth(self, name: str) -> np.ndarray:
        """Return true strain and rotation of every position of a scan, ``(n, 4)`` [1, rad]."""
        positions = self.positions.of_rows(self.rows[name])
        strain, degrees = (self.positions.of(v, positions) for v in ("strain", "rotation"))
        return np.concatenate([strain, np.deg2rad(degrees)[:, None]], axis=1)

    def answers(self, part: Callable, network: str, name: str) -> np.ndarray:
        """Return what a part of a network says of every position of a scan, ``(n, ...)``."""
        ask, load = part(self.trained.models[network]), self.trained.tasks[network].load
        positions = self.positions.of_rows(self.rows[name])
        pieces = np.array_split(positions, max(1, -(-len(positions) // READ_AT_ONCE)))
        return np.concatenate([ask.predict_on_batch(load(piece)[0]) for piece in pieces])

    @property
    def network(self) -> keras.Model:
        """The second stage."""
        return self.trained.models[STRAIN]

    def read_again(self, kind: str | None = None) -> ScanErrors:
        """Return the published grains counted anew, disturbed or not, against their reference."""
        rows, positions = self.rows[NEW_NOISE], self.positions
        if kind is not None:
            within, scan = rows % self.simulation.n_rows, int(self.dataset.array("scan")[rows[0]])
            seed = self.trained.seed
            patterns = patterns_with(kind, self.simulation, within, scan, seed)
            positions = Replaced(self.dataset, rows, patterns)
        if self.trained.variant == "improved":
            parameters = self.fitted_after_mending(positions, rows)
            found = relative(parameters, middle_of(parameters[self.in_reference]))
            return self.scan(NEW_NOISE, Found(found[:, :3], found[:, 3]))
        parameters = self.parameters_in(positions, rows)
        strain_of = STRAIN_OF[self.trained.variant]
        return self.scan(NEW_NOISE, strain_of(parameters, parameters[self.in_reference]))

    @cached_property
    def across(self) -> np.ndarray:
        """Patterns across boundaries, ``(n, n_columns, n_pixels, n_pixels)``."""
        n = min(N_BOUNDARIES, len(self.rows[NEW_NOISE]))
        return patterns_across(self.simulation, n, self.trained.seed)

    def strain_across(self) -> np.ndarray:
        """Return strain found across boundaries, ``(n * n_columns, 3)``."""
        n = len(self.across)
        if self.trained.variant == "improved":
            templates = templates_of(self.trained.models[TEMPLATES])
            fit = Scan(self.across, np.arange(n * self.positions.n_columns)).fitted(templates)
            return relative(fit.parameters, self.reference)[:, :3]
        rows = self.rows[NEW_NOISE][:n]
        found = self.parameters_in(Replaced(self.dataset, rows, self.across), rows)
        reference = self.parameters[TRAINED][self.in_reference]
        return STRAIN_OF[self.trained.variant](found, reference).strain

    def parameters_in(self, positions: Positions, rows: np.ndarray) -> np.ndarray:
        """Return what the two networks find in rows of other patterns, ``(n, 4)``."""
        stage = replace(
            self.trained.tasks[STRAIN].context,
            positions=positions,
            prior=Rotations(self.trained.models[ROTATION], positions),
        )
        return parameters_of(finding_network(self.network), stage, positions.of_rows(rows))

    def fitted_after_mending(self, positions: Positions, rows: np.ndarray) -> np.ndarray:
        """Return strain and rotation by our fit, bad pixels mended as in a user's scan."""
        numbers = positions.of_rows(rows)
        patterns = positions.of("patterns", numbers)
        n_rows, side = len(rows), patterns.shape[-1]
        scan = ScanFile(patterns.reshape(n_rows, -1, side, side), (0, 1, 2, 3), "the scan")
        scan = scan.mending(patterns)
        mended = np.stack([scan.row(row) for row in range(n_rows)])
        templates = templates_of(self.trained.models[TEMPLATES])
        return Scan(mended, np.arange(len(numbers))).fitted(templates).parameters

    def from_fit(self) -> dict[str, Found]:
        """Return what is found in every scan with the templates that were learned."""
        templates = templates_of(self.trained.models[TEMPLATES])
        scan = self.trained.tasks[TEMPLATES].context
        fits = {
            name: replace(scan, numbers=self.positions.of_rows(rows))
            .fitted(templates)
            .calibrated(templates, self.trained.seed)
            for name, rows in self.rows.items()
        }
        self.reference = reference = middle_of(fits[TRAINED].parameters[self.in_reference])
        found = {name: relative(fit.parameters, reference) for name, fit in fits.items()}
        window = fits[TRAINED].deviations[self.in_reference]
        self.of_reference = np.sqrt(np.mean(window**2, axis=0) / len(window))
        return {
            name: Found(each[:, :3], each[:, 3], np.hypot(fits[name].deviations, self.of_reference))
            for name, each in found.items()
        }

    def averaged(self, scan: ScanErrors) -> ScanErrors:
        """Return a scan with what is found when each position is averaged with its neighbours."""
        shape = (-1, scan.n_columns, len(COMPONENTS))
        alone = np.sqrt(scan.reading.deviations**2 - self.of_reference**2)
        found, deviations = with_neighbours(
            scan.reading.parameters.reshape(shape), alone.reshape(shape)
        )
        found, deviations = (a.reshape(-1, len(COMPONENTS)) for a in (found, deviations))
        stated = np.hypot(deviations, self.of_reference)
        return replace(scan, reading=Found(found[:, :3], found[:, 3], stated))

    @cached_property
    def in_reference(self) -> np.ndarray:
        """Which positions of the trained scan are in the unstrained window, ``(n,)`` bool.

        Where the scan is too coarse to have one there, the nearest.
        """
        rows = self.simulation.row_places[self.rows[TRAINED] % self.simulation.n_rows]
        columns = self.simulation.column_places
        apart = [
            np.maximum(np.maximum(low - at, at - (high - 1)), 0)
            for at, (low, high) in ((rows, REFERENCE_ROWS), (columns, REFERENCE_COLUMNS))
        ]
        away = np.hypot(apart[0][:, None], apart[1]).ravel()
        return away == away.min()

    def read_by(self, read: Callable, name: str, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
        """Return strain and rotation of a scan by a baseline, read in pieces."""
        positions = self.positions.of_rows(self.rows[name])
        pieces = np.array_split(positions, max(1, -(-len(positions) // READ_AT_ONCE)))
        parts = [
            read(self.positions.of("patterns", piece).astype(np.float32), setting)
            for piece in pieces
        ]
        return tuple(np.concatenate(values) for values in zip(*parts, strict=True))

    def scan(self, name: str, found: Found) -> ScanErrors:
        """Return a scan with what was found there."""
        positions = self.positions.of_rows(self.rows[name])
        row = positions // self.positions.n_columns
        true, rotation, share, grain = (
            self.positions.of(variable, positions)
            for variable in ("strain", "rotation", "share", "grain")
        )
        return ScanErrors(
            name,
            self.positions.n_columns,
            np.concatenate([true, rotation[:, None]], axis=1),
            found,
            row if name == "smooth" else grain,
            share == 1,
            "train" if name == TRAINED else "test",
        )


def simulation_of(spec: ResolvedSpec) -> Simulation:
    """Return how the patterns of a data set were made; of the published scan, what is assumed."""
    known = Simulation.__dataclass_fields__
    parameters = {name: value for name, value in spec.parameters.items() if name in known}
    if spec.name == PUBLISHED:
        parameters |= {"scans": ["published"], "probe_radius": 0.0}
    return Simulation(**parameters)


def middle_of(parameters: np.ndarray) -> np.ndarray:
    """Return the mean of fitted parameters ``(n, 4)``, rotations averaged on the circle."""
    return np.append(parameters[:, :3].mean(axis=0), circular_mean(parameters[:, 3], SIXTH))
