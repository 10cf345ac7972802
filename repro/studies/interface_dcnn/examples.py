"""From simulated columns to what a network sees: examples, counting noise, small rotations.

A line example is one line of probes at one thickness; its number is
``(sample * n_thicknesses + thickness) * n_lines + line``. A cell example is a sample at one
thickness, averaged over the lines of the cell: ``sample * n_thicknesses + thickness``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.imaging.counting import NOISE_FREE, counted
from repro.imaging.geometry import rotated
from repro.seeds import generator, row_generators
from repro.studies.interface_dcnn.simulate import N_CLASSES, Simulation

# Nearer to 0 or 1 a step and intermixing are nearly, or exactly, the same flat crystal.
TOLD_APART = (0.1, 0.95)
LEAST_SPREAD = 0.01  # of a position that is found, share of the thickness
MIDDLE_THICKNESS = 200.0  # [Å] of those in the paper
CLASS_SPREAD = 0.04  # of soft classes, share of the thickness


def evenly(examples: np.ndarray, labels: np.ndarray, n_each: int) -> np.ndarray:
    """Return examples of which no class has more than so many, taken evenly from all.

    Parameters
    ----------
    examples, labels : numpy.ndarray
        The examples and their classes, ``(n,)`` int.
    n_each : int
        Most of a class.
    """
    kept = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        places = np.linspace(0, len(own) - 1, min(n_each, len(own))).round().astype(int)
        kept.append(own[places])
    return examples[np.sort(np.concatenate(kept))] if kept else examples


@dataclass(frozen=True)
class Augmentation:
    """What is drawn anew for every example and epoch.

    Parameters
    ----------
    doses : tuple of float
        Lowest and highest number of electrons in a pattern, drawn on a logarithmic scale [1].
    noise_free : float
        Share of the examples that get no counting noise [1].
    rotation : float
        Largest rotation of the patterns about their centre, the same for a line [degrees].
    """

    doses: tuple[float, float] = (1e4, 1e6)
    noise_free: float = 0.1
    rotation: float = 3.0


@dataclass(frozen=True)
class Columns:
    """The samples of a data set, and the examples they give.

    Parameters
    ----------
    dataset : Dataset
        A data set of `simulate.columns`.
    n_bins : int
        Bins along each side of the patterns that a network sees; those of the data set are summed.

    Raises
    ------
    ReproError
        If the data set's bins do not divide into that many.
    """

    dataset: Dataset
    n_bins: int

    def __post_init__(self):
        if self.simulation.n_bins % self.n_bins:
            raise ReproError(
                f"{self.simulation.n_bins} bins do not divide into the {self.n_bins} that the "
                "network takes: build the data set with a multiple of them."
            )

    @cached_property
    def simulation(self) -> Simulation:
        """What the data set was made with."""
        return Simulation(**self.dataset.spec.parameters)

    @property
    def training_rows(self) -> np.ndarray:
        """Indices of the training split's samples."""
        return self.dataset.rows("train")

    @property
    def thickness_names(self) -> list[str]:
        """The thicknesses as the paper names them, in full tens of Å."""
        return [f"{round(thickness, -1):.0f}" for thickness in self.simulation.thicknesses]

    @property
    def n_thicknesses(self) -> int:
        """Number of thicknesses."""
        return len(self.simulation.cells)

    @property
    def example_shape(self) -> tuple[int, int, int]:
        """Shape of the patterns of a line: positions, k_x, k_y."""
        return self.simulation.n_positions, self.n_bins, self.n_bins

    def thickness_input(self, thickness: np.ndarray) -> np.ndarray:
        """Return thicknesses, given by their place, from -1 at 0 Å on, ``(n, 1)`` float32."""
        values = np.array(self.simulation.thicknesses)
        return (values[thickness] / MIDDLE_THICKNESS - 1).astype(np.float32)[:, None]

    @cached_property
    def is_intermixed(self) -> np.ndarray:
        """``(n_samples,)`` bool."""
        return self.dataset.array("is_intermixed") == 1

    @cached_property
    def fraction(self) -> np.ndarray:
        """Depth of the step, or share of exchanged Al sites, ``(n_samples, n_thicknesses)``."""
        steps = self.step_fraction
        return np.where(
            self.is_intermixed[:, None], self.dataset.array("exchanged_fraction"), steps
        )

    @cached_property
    def step_fraction(self) -> np.ndarray:
        """Depth of the step as a share of the thickness, above 1 if deeper, same shape."""
        return self.dataset.array("step_depth")[:, None] / np.array(self.simulation.cells)

    # ---- one line at one thickness

    def lines(self, rows: np.ndarray, flat_too: bool = False) -> np.ndarray:
        """Return the line examples of some samples whose class can be told.

        Parameters
        ----------
        rows : numpy.ndarray
            Indices of samples, ``(n_samples,)``.
        flat_too : bool
            With those that are nearly flat crystals.
        """
        low, high = TOLD_APART
        everything = np.arange(self.dataset.spec.n_samples)
        taken = np.full(self.fraction.shape, flat_too)
        taken |= (low <= self.fraction) & (self.fraction <= high)
        lines = self._lines_of(self._cells(everything)[taken])
        return lines[np.isin(self._home_of_lines[lines], rows)]

    def step_lines(self, rows: np.ndarray, thicknesses: list[int]) -> np.ndarray:
        """Return the line examples whose step lies within the thickness; see `steps`."""
        lines = self._lines_of(self._step_cells(thicknesses))
        return lines[np.isin(self._home_of_lines[lines], rows)]

    def line_places(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sample, thickness and line of line examples, ``(n,)`` each."""
        shape = (self.dataset.spec.n_samples, self.n_thicknesses, self.simulation.n_lines)
        return np.unravel_index(examples, shape)

    def line_patterns(self, examples: np.ndarray) -> np.ndarray:
        """Return the patterns of line examples, ``(n, n_positions, n_bins, n_bins)``."""
        return self._binned(self.dataset.array("patterns")[self.line_places(examples)])

    def line_labels(self, examples: np.ndarray) -> np.ndarray:
        """Return 0 for a buried step (rough), 1 for intermixing (diffuse), ``(n,)`` int32."""
        return self.is_intermixed[self.line_places(examples)[0]].astype(np.int32)

    def line_step_labels(self, examples: np.ndarray) -> np.ndarray:
        """Return the class of the step position, 0 to 10, ``(n,)`` int32."""
        return self.step_labels(examples // self.simulation.n_lines)

    def _lines_of(self, cells: np.ndarray) -> np.ndarray:
        n_lines = self.simulation.n_lines
        return (cells[:, None] * n_lines + np.arange(n_lines)).ravel()

    # ---- averaged over the cell, at one thickness

    def steps(self, rows: np.ndarray, thicknesses: list[int]) -> np.ndarray:
        """Return the cell examples whose step lies within the thickness.

        Parameters
        ----------
        rows : numpy.ndarray
            Indices of samples, ``(n_samples,)``.
        thicknesses : list of int
            Which thicknesses, by their place.
        """
        cells = self._step_cells(thicknesses)
        return cells[np.isin(self._home_of_cells[cells], rows)]

    def _step_cells(self, thicknesses: list[int]) -> np.ndarray:
        """Return the cell examples of all samples whose step lies within the thickness."""
        has_step = (self.step_fraction <= 1) & ~self.is_intermixed[:, None]
        wanted = np.isin(np.arange(self.n_thicknesses), thicknesses)
        return self._cells(np.arange(self.dataset.spec.n_samples))[has_step & wanted]

    @cached_property
    def _home_of_lines(self) -> np.ndarray:
        """The sample whose split each line example belongs to; see `_homes`."""
        return self._homes(self.n_thicknesses * self.simulation.n_lines)

    @cached_property
    def _home_of_cells(self) -> np.ndarray:
        """The sample whose split each cell example belongs to; see `_homes`."""
        return self._homes(self.n_thicknesses)

    def _homes(self, n_each: int) -> np.ndarray:
        """Return the sample of each example, or that of another where they are split at random."""
        homes = np.repeat(np.arange(self.dataset.spec.n_samples), n_each)
        if not self.simulation.random_split:
            return homes
        return generator(self.dataset.spec.seed, "random split", str(n_each)).permutation(homes)

    def step_places(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sample and thickness of cell examples, ``(n,)`` each."""
        return np.unravel_index(examples, (self.dataset.spec.n_samples, self.n_thicknesses))

    def step_patterns(self, examples: np.ndarray) -> np.ndarray:
        """Return patterns averaged over the cell, ``(n, n_positions, n_bins, n_bins)``."""
        patterns = self.dataset.array("patterns")[self.step_places(examples)]
        weights = self.simulation.line_weights.astype(np.float32)
        return self._binned(np.einsum("nlphw,l->nphw", patterns, weights))

    def step_lines_together(self, examples: np.ndarray) -> np.ndarray:
        """Return the lines of cell examples, ``(n, n_lines, n_positions, n_bins, n_bins)``.

        Each has its weight in the average over the cell: together they hold as many electrons as
        that.
        """
        patterns = self.dataset.array("patterns")[self.step_places(examples)]
        weights = self.simulation.line_weights.astype(np.float32)
        return self._binned(patterns * weights[:, None, None, None])

    def step_fractions(self, examples: np.ndarray) -> np.ndarray:
        """Return the depth of the step as a share of the thickness, ``(n,)`` float32."""
        return self.step_fraction[self.step_places(examples)].astype(np.float32)

    def step_labels(self, examples: np.ndarray) -> np.ndarray:
        """Return the class of the step position, 0 to 10, ``(n,)`` int32."""
        return step_class(self.step_fractions(examples))

    def _cells(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, None] * self.n_thicknesses + np.arange(self.n_thicknesses)

    def _binned(self, patterns: np.ndarray) -> np.ndarray:
        return bins_summed(patterns, self.simulation.n_bins // self.n_bins)


def bins_summed(patterns: np.ndarray, factor: int) -> np.ndarray:
    """Sum squares of neighbouring bins, so many along each side, into one.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(..., n_bins, n_bins)``.
    factor : int
        A divisor of the number of bins.
    """
    *others, n_x, n_y = patterns.shape
    shape = (*others, n_x // factor, factor, n_y // factor, factor)
    return patterns.reshape(shape).sum(axis=(-3, -1))


def step_class(fraction: np.ndarray) -> np.ndarray:
    """Return the class of a step position: tenths of the thickness, 0 to 10, int32."""
    return np.clip(np.rint(fraction * (N_CLASSES - 1)), 0, N_CLASSES - 1).astype(np.int32)


def soft_class(fraction: np.ndarray) -> np.ndarray:
    """Return shares of the classes of step positions near a position, ``(n, 11)`` float32.

    They fall off along a normal distribution, so that a network learns that classes have
    neighbours, and where within its class a step lies.
    """
    centres = np.linspace(0, 1, N_CLASSES)
    shares = np.exp(-0.5 * ((fraction[:, None] - centres) / CLASS_SPREAD) ** 2)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def sharp_class(shares: np.ndarray) -> np.ndarray:
    """Return the probabilities of the classes that soft classes stand for, ``(n, 11)``.

    Soft classes are the distribution of the position, widened by `CLASS_SPREAD`; without the
    widening it is taken for a normal distribution, and its parts within each class are returned.

    Parameters
    ----------
    shares : numpy.ndarray
        What a network answers that was trained on `soft_class`, ``(n, 11)``.
    """
    centres = np.linspace(0, 1, N_CLASSES)
    position = shares @ centres
    variance = np.sum(shares * (centres - position[:, None]) ** 2, axis=1) - CLASS_SPREAD**2
    edges = (centres[1:] + centres[:-1]) / 2
    away = (edges - position[:, None]) / np.sqrt(np.maximum(variance, LEAST_SPREAD**2))[:, None]
    below = np.pad(ndtr(away), ((0, 0), (1, 1)), constant_values=(0, 1))
    return np.diff(below, axis=1)


def as_input(patterns: np.ndarray) -> np.ndarray:
    """Return what a network sees of patterns: square roots with mean 1, lines as channels.

    The square root evens out the spread of counts.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_positions, n_bins, n_bins)`` or ``(n, n_lines, n_positions, n_bins, n_bins)``, not
        below 0.

    Returns
    -------
    numpy.ndarray
        ``(n, n_positions, n_bins, n_bins, n_lines)`` float32, one line in the first case.
    """
    lines = patterns if patterns.ndim == 5 else patterns[:, None]
    roots = np.sqrt(lines, dtype=np.float32)
    mean = np.maximum(roots.mean(axis=(1, 2, 3, 4), keepdims=True), np.finfo(np.float32).tiny)
    return np.ascontiguousarray(np.moveaxis(roots / mean, 1, -1))


@dataclass(frozen=True)
class Scale:
    """What is taken from a network's inputs, and what they are divided by.

    Parameters
    ----------
    mean : numpy.ndarray
        ``(n_positions, n_bins, n_bins, n_lines)`` float32, mean input of the training examples.
    deviation : float
        Root mean square of what is left, over all bins, so that no dark bin is blown up.
    """

    mean: np.ndarray
    deviation: float

    @classmethod
    def of(cls, patterns: np.ndarray) -> Scale:
        """Return the scale of training examples' patterns, free of noise."""
        inputs = as_input(patterns)
        mean = inputs.mean(axis=0)
        return cls(mean, float(np.sqrt(np.mean((inputs - mean) ** 2))))

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """Return inputs minus the mean, over the deviation, same shape float32."""
        return (inputs - self.mean) / np.float32(self.deviation)


def augmented(patterns: np.ndarray, seeds: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """Return patterns rotated a little and with counting noise, same shape.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, ..., n_bins, n_bins)``, fraction of the electrons in each bin.
    seeds : numpy.ndarray
        One for each example, ``(n,)`` uint64: what is drawn depends on it alone.
    augmentation : Augmentation
        What is drawn.
    """
    draws = row_generators(seeds)
    angle, place, share = np.array([draw.random(3) for draw in draws]).T
    low, high = np.log(augmentation.doses)
    doses = np.exp(low + (high - low) * place)
    doses[share < augmentation.noise_free] = NOISE_FREE
    turned = rotated(patterns, (2 * angle - 1) * augmentation.rotation)
    examples = zip(turned, doses.tolist(), draws, strict=True)
    return np.stack([counted(*example) for example in examples])
