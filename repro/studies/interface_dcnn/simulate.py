"""Convergent-beam electron diffraction of buried steps and intermixed interfaces.

After Oxley et al., "Deep learning of interface structures from simulated 4D STEM data: cation
intermixing vs. roughening" (2020). The text names neither microscope nor grid; what is chosen
stands with its reason in the data spec. A sample is one simulated column of crystal: a line profile
of patterns across the interface for each thickness, read out of one passage of the beam, and for
each line of probes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter

import numpy as np

from repro.errors import ReproError
from repro.seeds import generator, uniform_rows
from repro.studies.interface_dcnn import crystal
from repro.studies.interface_dcnn.crystal import (
    A_SUBSTRATE,
    DISPLACEMENTS,
    PLANES,
    SLICE_THICKNESS,
    SLICES_PER_CELL,
    Crystal,
    whole_cells,
)
from repro.studies.interface_dcnn.multislice import (
    Detector,
    JaxWaves,
    Microscope,
    NumpyWaves,
    Passes,
    Setting,
    has_gpu,
    probe_spectra,
    waves,
)
from repro.studies.interface_dcnn.potential import (
    Grid,
    projected_potential,
    transmission_function,
)

N_CLASSES = 11  # of the step position: 0, 10 ... 100 % of the thickness
TRIAL_CELLS, TRIAL_CELLS_OF_A_GPU = 2, 32
MOST_MIXED_LAYERS = 8  # the bits of the variable `exchanged`
COUNTS = (
    "n_tiles",
    "n_configurations",
    "n_passes",
    "n_positions",
    "n_lines",
    "n_bins",
    "n_mixed_layers",
)


@dataclass(frozen=True)
class Simulation:
    """All that a simulated column is made with: the parameters of the data spec.

    Parameters
    ----------
    n_substrate, n_film, c_film, n_tiles
        The crystal, see `Crystal`.
    n_x, n_y : int
        Points of the grid.
    energy, semiangle, defocus
        The probe, see `Microscope`.
    n_cells : int
        Cells along the beam.
    thicknesses : list of float
        Where the patterns are read, rising, whole cells each, the last all cells [Å].
    n_configurations, n_passes : int
        Transmission functions kept for each kind of slice; passes of the beam.
    n_positions, position_spacing : int, float
        Probes of a line, from the substrate's last TiO2 layer into the film; distance [Å].
    n_lines : int
        Lines, at different y.
    whole_cell : bool
        Spread the lines over the whole cell, not from a mirror line to the next (0 to a/2).
    n_bins, k_max
        The detector, see `Detector`.
    step_share : float
        Share of the samples with a buried step; the others are intermixed.
    fraction_range : list of float
        Lowest and highest probability of exchange in intermixed samples [1].
    n_mixed_layers, mixing_decay, both_sites
        Which sites take part, see `crystal.intermixing`.
    unseen_from : int
        First sample from which on every second step has a depth that no sample before has.
    random_split : bool
        Whether the networks' examples are divided among the splits at random, not by sample.

    Raises
    ------
    ReproError
        If the values do not go together.
    """

    n_substrate: int
    n_film: int
    c_film: float
    n_tiles: int
    n_x: int
    n_y: int
    energy: float
    semiangle: float
    defocus: float
    n_cells: int
    thicknesses: list[float]
    n_configurations: int
    n_passes: int
    n_positions: int
    position_spacing: float
    n_lines: int
    whole_cell: bool
    n_bins: int
    k_max: float
    step_share: float
    fraction_range: list[float]
    n_mixed_layers: int
    mixing_decay: float
    both_sites: bool
    unseen_from: int
    random_split: bool = False

    def __post_init__(self):
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ReproError(f"{name} is {getattr(self, name)}: give at least 1.")
        if self.n_mixed_layers > min(self.crystal.n_film, MOST_MIXED_LAYERS):
            raise ReproError(
                f"{self.n_mixed_layers} layers cannot take part in the intermixing of a film of "
                f"{self.n_film}: give at most as many, and at most {MOST_MIXED_LAYERS}."
            )
        if self.n_y % self.n_tiles:
            raise ReproError(
                f"{self.n_y} points along y do not divide into {self.n_tiles} cells: give a "
                "multiple, so that a configuration can be shifted by whole cells."
            )
        if list(self.cells) != sorted(set(self.cells)):
            raise ReproError(f"Give different, rising thicknesses, not {self.thicknesses}.")
        if self.cells[-1] != self.n_cells:
            raise ReproError(
                f"The column has {self.n_cells} cells, but the last thickness "
                f"{self.cells[-1]}: give both alike."
            )
        if len(self.fraction_range) != 2:
            raise ReproError(f"fraction_range takes two fractions, not {self.fraction_range}.")
        low, high = self.fraction_range
        shares = (self.step_share, self.mixing_decay)
        if not (0 <= min(shares) <= max(shares) <= 1 and 0 <= low <= high <= 1):
            raise ReproError(
                "The share of steps, the decay and the range of fractions lie within 0 and 1."
            )

        probe = 2 * abs(self.defocus) * self.semiangle / 1000
        if probe > min(self.crystal.size):
            raise ReproError(
                f"With defocus {self.defocus:g} Å and semiangle {self.semiangle:g} mrad the probe "
                f"enters as a disc of {probe:.3g} Å, wider than the cell's "
                f"{min(self.crystal.size):.3g} Å, and meets itself: give less of either, or more "
                "n_tiles, n_substrate and n_film."
            )

    @cached_property
    def cells(self) -> tuple[int, ...]:
        """The thicknesses in whole cells."""
        return tuple(whole_cells(thickness) for thickness in self.thicknesses)

    @property
    def crystal(self) -> Crystal:
        """The flat interface."""
        return Crystal(self.n_substrate, self.n_film, self.c_film, self.n_tiles)

    @property
    def microscope(self) -> Microscope:
        """The probe."""
        return Microscope(self.energy, self.semiangle, self.defocus)

    @cached_property
    def setting(self) -> Setting:
        """Grid, slices and detector."""
        return Setting(
            Grid((self.n_x, self.n_y), self.crystal.size),
            self.energy,
            SLICE_THICKNESS,
            Detector(self.n_bins, self.k_max),
            tuple(SLICES_PER_CELL * n for n in self.cells),
        )

    @property
    def line_heights(self) -> np.ndarray:
        """The y of the lines within the unit cell, ``(n_lines,)`` [Å]."""
        if self.whole_cell:
            return np.arange(self.n_lines) * A_SUBSTRATE / self.n_lines
        return np.linspace(0, A_SUBSTRATE / 2, self.n_lines)

    @property
    def line_weights(self) -> np.ndarray:
        """What each line counts in the average over the cell, ``(n_lines,)``; they sum to 1."""
        weights = np.ones(self.n_lines)
        if not self.whole_cell and self.n_lines > 1:
            weights[[0, -1]] = 0.5
        return weights / weights.sum()

    @property
    def probe_positions(self) -> np.ndarray:
        """Where the probes enter, ``(n_lines, n_positions, 2)``: x and y [Å]."""
        x = self.crystal.interface + self.position_spacing * np.arange(self.n_positions)
        y = self.n_tiles // 2 * A_SUBSTRATE + self.line_heights
        return np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)


@dataclass(frozen=True)
class Sample:
    """One structure.

    Parameters
    ----------
    is_intermixed : bool
        Intermixed interface, not a buried step.
    depth : int
        Cells from the entrance surface to the step; 0 if there is none.
    fraction : float
        Probability of exchange [1]; 0 of a step.
    exchanged : numpy.ndarray
        ``(n_cells, 2)`` int, exchanged layers of the A and B plane of every cell along the beam.
    """

    is_intermixed: bool
    depth: int
    fraction: float
    exchanged: np.ndarray


def columns(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Simulate the columns of crystal ``start`` to ``stop`` of the data set.

    Parameters
    ----------
    start, stop : int
        First sample, and the one after the last.
    seed : int
        The data set's seed.
    parameters : dict
        Those of `Simulation`.

    Returns
    -------
    dict of numpy.ndarray
        The variables of the data spec.
    """
    simulation = Simulation(**parameters)
    rows = [column(simulation, index, seed) for index in range(start, stop)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def column(simulation: Simulation, index: int, seed: int) -> dict[str, np.ndarray]:
    """Simulate one column; see `columns`."""
    sample = draw_sample(simulation, index, seed)
    patterns, transmitted = diffract(simulation, sample.exchanged, index, seed)
    holds_titanium = sample.exchanged[:, 1] & 1
    return {
        "patterns": patterns,
        "transmitted": transmitted,
        "is_intermixed": np.uint8(sample.is_intermixed),
        "step_depth": np.int64(sample.depth),
        "mixing_probability": np.float64(sample.fraction),
        "exchanged_fraction": np.array([holds_titanium[:n].mean() for n in simulation.cells]),
        "exchanged": sample.exchanged.astype(np.uint8),
    }


def draw_sample(simulation: Simulation, index: int, seed: int) -> Sample:
    """Draw the structure of a sample; steps and intermixed ones follow in a fixed rhythm."""
    share, n_cells = simulation.step_share, simulation.n_cells
    n_steps_before = int(np.floor(index * share + 1e-9))
    if np.floor((index + 1) * share + 1e-9) > n_steps_before:
        depth = step_depth(simulation, n_steps_before, index >= simulation.unseen_from, seed)
        return Sample(False, depth, 0.0, crystal.step(n_cells, depth))
    low, high = simulation.fraction_range
    fraction = low + (high - low) * uniform_rows(seed, "fraction", index, index + 1, 1)[0, 0]
    draws = generator(seed, "exchange", str(index)).random((n_cells, 2, simulation.n_mixed_layers))
    mixed = crystal.intermixing(
        draws, fraction, simulation.n_mixed_layers, simulation.mixing_decay, simulation.both_sites
    )
    return Sample(True, 0, float(fraction), mixed)


def step_depth(simulation: Simulation, number: int, may_be_unseen: bool, seed: int) -> int:
    """Return the depth of the step of the ``number``-th sample that has one [cells].

    Every thickness and every one of the eleven classes come in turn, in an order drawn anew for
    each round. The depth is the class's centre; an unseen one is the nearest that is the centre of
    no class.
    """
    centres = np.array([[centre(n, c) for c in range(N_CLASSES)] for n in simulation.cells])
    turn, place = divmod(number, centres.size)
    order = generator(seed, "order of steps", str(turn)).permutation(centres.size)
    depth = int(centres.flat[order[place]])
    unseen = np.setdiff1d(np.arange(simulation.n_cells + 1), centres)
    if may_be_unseen and number % 2 and len(unseen):
        return int(unseen[np.argmin(np.abs(unseen - depth))])
    return depth


def centre(n_cells: int, label: int) -> int:
    """Return the depth in the middle of a class of step positions [cells]."""
    return (2 * label * n_cells + N_CLASSES - 1) // (2 * (N_CLASSES - 1))


def diffract(
    simulation: Simulation, exchanged: np.ndarray, index: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the patterns of a structure and what is left of the beam.

    Parameters
    ----------
    simulation : Simulation
        Crystal, probe and detector.
    exchanged : numpy.ndarray
        ``(n_cells, 2)`` int, exchanged layers of the A and B plane of every cell.
    index, seed : int
        Sample and data set, on which the thermal motion depends and nothing else does: no class
        can be told by it.

    Returns
    -------
    patterns : numpy.ndarray
        ``(n_thicknesses, n_lines, n_positions, n_bins, n_bins)`` float32, axes k_x and k_y,
        fraction of the incident electrons in each bin.
    transmitted : numpy.ndarray
        ``(n_thicknesses, n_lines, n_positions)`` float32, fraction of the electrons left.
    """
    beam, probes, passes = prepared(simulation, exchanged, index, seed)
    return beam.patterns(probes, passes)


def prepared(
    simulation: Simulation, exchanged: np.ndarray, index: int, seed: int
) -> tuple[NumpyWaves | JaxWaves, np.ndarray, Passes]:
    """Return the waves of a structure, the probes and the passes; see `diffract`."""
    positions = simulation.probe_positions
    probes = probe_spectra(
        simulation.setting.grid, simulation.microscope, positions.reshape(-1, 2)
    ).reshape(*positions.shape[:2], simulation.n_x, simulation.n_y)
    kinds = slice_kinds(exchanged)
    pool = transmission_pool(simulation, sorted(set(kinds)), index, seed)
    return waves(simulation.setting, pool), probes, draw_passes(simulation, kinds, index, seed)


def seconds_per_sample(parameters: dict, workers: int) -> float:
    """Measure on some cells of crystal how long workers take for a whole column here [s].

    On a GPU, which they share, each prepares its columns while others have theirs computed.

    Parameters
    ----------
    parameters : dict
        Those of `Simulation`.
    workers : int
        How many work side by side.
    """
    simulation = Simulation(**parameters)
    n_cells = TRIAL_CELLS_OF_A_GPU if has_gpu() else TRIAL_CELLS
    trial = replace(
        simulation,
        n_cells=n_cells,
        thicknesses=[n_cells * A_SUBSTRATE],
        n_passes=1,
        n_configurations=1,
    )
    flat = np.zeros((n_cells, SLICES_PER_CELL), dtype=np.int64)
    start = perf_counter()
    beam, probes, passes = prepared(trial, flat, 0, 0)
    preparing = (perf_counter() - start) * simulation.n_configurations
    beam.patterns(probes, passes)  # warm up, or compile
    start = perf_counter()
    beam.patterns(probes, passes)
    computing = (perf_counter() - start) * simulation.n_passes * simulation.n_cells / n_cells
    if has_gpu():
        return max(computing, (preparing + computing) / workers)
    return computing / workers  # preparing takes little of it


def slice_kinds(exchanged: np.ndarray) -> list[tuple[str, int]]:
    """Return plane and exchanged layers of every slice."""
    return [(PLANES[i % 2], int(bits)) for i, bits in enumerate(np.ravel(exchanged))]


def transmission_pool(
    simulation: Simulation, kinds: list[tuple[str, int]], index: int, seed: int
) -> np.ndarray:
    """Return transmission functions with displaced atoms, ``(n_kinds * n, n_x, n_y)`` complex64.

    Parameters
    ----------
    simulation : Simulation
        Crystal and probe; ``n_configurations`` is n.
    kinds : list
        The kinds of slices that occur.
    index, seed : int
        What the displacements depend on.
    """
    grid = simulation.setting.grid
    return np.stack(
        [
            transmission_function(
                grid,
                projected_potential(grid, displaced(simulation, *kind, number, index, seed)),
                simulation.energy,
            )
            for kind in kinds
            for number in range(simulation.n_configurations)
        ]
    )


def displaced(
    simulation: Simulation, plane: str, exchanged: int, number: int, index: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the atoms of a slice in one thermal configuration, as `Crystal.slice_atoms` does."""
    motion = generator(seed, "thermal motion", str(index), f"{plane}{exchanged}", str(number))
    return {
        element: positions + DISPLACEMENTS[element] * motion.standard_normal(positions.shape)
        for element, positions in simulation.crystal.slice_atoms(plane, exchanged).items()
    }


def draw_passes(
    simulation: Simulation, kinds: list[tuple[str, int]], index: int, seed: int
) -> Passes:
    """Draw a configuration and a shift by whole cells for every slice of every pass."""
    draws = generator(seed, "passes", str(index))
    shape = (simulation.n_lines, simulation.n_passes, len(kinds))
    configuration = draws.integers(simulation.n_configurations, size=shape)
    row = {kind: place for place, kind in enumerate(sorted(set(kinds)))}
    first = np.array([row[kind] for kind in kinds]) * simulation.n_configurations
    points_per_cell = simulation.n_y // simulation.n_tiles
    shift = draws.integers(simulation.n_tiles, size=shape) * points_per_cell
    return Passes(first + configuration, shift)


def axes(parameters: dict) -> dict[str, tuple[np.ndarray, str]]:
    """Return values and unit of the axes of the patterns.

    Parameters
    ----------
    parameters : dict
        Those of `Simulation`.

    Returns
    -------
    dict
        By name: ``thickness``, ``line`` (its y), ``position`` (its x), ``k_x`` and ``k_y`` (the
        bins' centres).
    """
    simulation = Simulation(**parameters)
    positions, centres = simulation.probe_positions, simulation.setting.detector.centres
    return {
        "thickness": (np.array(simulation.thicknesses), "Å"),
        "line": (positions[:, 0, 1], "Å"),
        "position": (positions[0, :, 0], "Å"),
        "k_x": (centres, "Å⁻¹"),
        "k_y": (centres, "Å⁻¹"),
    }
