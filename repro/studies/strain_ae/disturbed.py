"""The published grains as a detector with faults records them, or with the beam off its place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from repro.seeds import generator
from repro.studies.strain_ae.lattice import deformation
from repro.studies.strain_ae.recipe import Positions
from repro.studies.strain_ae.scans import beam_at
from repro.studies.strain_ae.simulate import NOISE_FREE, Simulation, counts_as

HOT = 20.0  # counts of a hot pixel over those of the brightest pixel of a first ring's disc
HOT_PIXELS = 1e-3  # share of the detector's pixels
DEAD_ROWS = 2
UNEVEN = 0.3  # largest departure of the brightness within a disc from its mean [1]
PERIOD = 12.0  # of that [published pixels], somewhat more than a disc's diameter
BEAM_SHIFT = 0.5  # along both axes [published pixels]
ELLIPTICITY = 0.01  # of the detector's two axes to each other

ARTEFACTS, DISTORTION = "artefacts", "distortion"


def patterns_with(
    kind: str, simulation: Simulation, rows: np.ndarray, scan: int, seed: int
) -> np.ndarray:
    """Return patterns of rows of the published grains with a disturbance, counted anew.

    Parameters
    ----------
    kind : str
        ``artefacts``: hot pixels, dead rows, and discs whose brightness varies within.
        ``distortion``: the beam off its place, and one axis of the detector longer.
    simulation : Simulation
        How patterns are made.
    rows : numpy.ndarray
        Rows of the scan, ``(n_rows,)`` int.
    scan : int
        Which scan of the data set, on which the published grains do not depend.
    seed : int
        Of counts and faults.

    Returns
    -------
    numpy.ndarray
        ``(n_rows, n_columns, n_pixels, n_pixels)`` [counts].
    """
    draws = generator(seed, kind)
    off = simulation.beam_offset + BEAM_SHIFT
    used = replace(simulation, beam_offset=off) if kind == DISTORTION else simulation
    faults = Faults.drawn(simulation, draws) if kind == ARTEFACTS else None
    columns, made = simulation.column_places, []
    for row in rows:
        positions = np.stack([np.full_like(columns, simulation.row_places[row]), columns], axis=1)
        beam = beam_at("published", positions, simulation.probe_radius, seed, scan)
        deformed = deformation(beam.strain, beam.rotation)
        if kind == DISTORTION:
            deformed = np.diag([1 + ELLIPTICITY / 2, 1 - ELLIPTICITY / 2]) @ deformed
        expected = used.expected(deformed, beam.shares)
        if faults is not None:
            expected *= uneven(simulation, len(expected), draws)
        if simulation.noise != NOISE_FREE:
            expected = draws.poisson(expected)
        made.append(expected if faults is None else faults.of(expected))
    return counts_as(np.stack(made), simulation.count_type)


def uneven(simulation: Simulation, n: int, draws: np.random.Generator) -> np.ndarray:
    """Return what the brightness of patterns is multiplied with, ``(n, n_pixels, n_pixels)``."""
    angle, phase = 2 * np.pi * draws.random((2, n, 1, 1))
    places = simulation.detector.places
    along = np.cos(angle) * places[:, None] + np.sin(angle) * places
    return 1 + UNEVEN * np.cos(2 * np.pi * along / PERIOD + phase)


@dataclass(frozen=True)
class Faults:
    """Pixels that say the same whatever meets them.

    Parameters
    ----------
    hot : numpy.ndarray
        ``(n_hot,)`` int, pixels numbered row by row.
    dead : numpy.ndarray
        ``(n_dead,)`` int, rows.
    counts : int
        Of a hot pixel.
    """

    hot: np.ndarray
    dead: np.ndarray
    counts: int

    @classmethod
    def drawn(cls, simulation: Simulation, draws: np.random.Generator) -> Faults:
        """Return faults of a detector; dead rows do not meet the direct beam."""
        n = simulation.n_pixels
        _, plateaus, rings = simulation.detector.spots
        disc = plateaus[rings == rings.min()].max() * simulation.pixel_size**2
        hot = draws.choice(n * n, max(1, round(HOT_PIXELS * n * n)), replace=False)
        far = np.flatnonzero(np.abs(np.arange(n) - (n - 1) / 2) > n / 8)
        return cls(hot, draws.choice(far, DEAD_ROWS, replace=False), round(HOT * disc))

    def of(self, counts: np.ndarray) -> np.ndarray:
        """Return counts ``(n, n_pixels, n_pixels)`` as the detector tells them."""
        told = counts.copy()
        told[:, self.dead] = 0
        told.reshape(len(told), -1)[:, self.hot] = self.counts
        return told


@dataclass(frozen=True)
class Replaced(Positions):
    """Positions whose patterns in some rows are others.

    Parameters
    ----------
    rows : numpy.ndarray
        The rows, ``(n_rows,)`` int, one after the other.
    replaced : numpy.ndarray
        Their patterns, ``(n_rows, n_columns, n_pixels, n_pixels)``.
    """

    rows: np.ndarray
    replaced: np.ndarray

    def of(self, variable: str, examples: np.ndarray) -> np.ndarray:
        """Return a variable of positions in those rows, ``(n, ...)``."""
        if variable != "patterns":
            return super().of(variable, examples)
        row, column = np.divmod(examples, self.n_columns)
        return self.replaced[row - self.rows[0], column]
