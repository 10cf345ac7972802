"""How far a test split leaves a metric open: the cluster bootstrap over its independent units.

Samples that share a unit (lines of one column, patterns of one grain) are drawn together, since
they err together. All metrics of one split share the draws, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from repro.errors import ReproError
from repro.seeds import generator

Interval = tuple[float, float]
CONFIDENCE = 0.95
N_RESAMPLES = 200


@dataclass(frozen=True)
class Resampled:
    """A statistic of the samples as they are, and of every resample.

    Parameters
    ----------
    values : numpy.ndarray
        ``(1 + N_RESAMPLES,)``, the first of the samples as they are.
    unit : str
        What is drawn, such as ``"film"``.
    split : str
        The split that they are of.
    n_units, n_samples : int
        How many units there are, and samples of them.
    is_share : bool
        Whether it is a share of right answers, for which a binomial interval holds.
    """

    values: np.ndarray
    unit: str
    split: str
    n_units: int
    n_samples: int
    is_share: bool = False

    @property
    def value(self) -> float:
        """The statistic of the samples as they are."""
        return float(self.values[0])

    @property
    def interval(self) -> Interval:
        """95 % percentile interval over resamples."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.nanquantile(self.values[1:], [tail, 1 - tail])
        return float(low), float(high)

    def __sub__(self, other: Resampled) -> Resampled:
        """Return the difference, resample by resample."""
        return replace(self, values=self.values - other.values, is_share=False)

    def __truediv__(self, other: Resampled) -> Resampled:
        """Return the ratio, resample by resample."""
        return replace(self, values=self.values / other.values, is_share=False)


def average(parts: Sequence[Resampled]) -> Resampled:
    """Return the mean of several statistics, resample by resample.

    The units are those of the part that has most.
    """
    largest = max(parts, key=lambda part: part.n_units)
    n_samples = sum(part.n_samples for part in parts)
    values = np.mean([part.values for part in parts], axis=0)
    return replace(largest, values=values, n_samples=n_samples)


class Resampling:
    """Draws of the units of a split, with replacement, as many as there are.

    Parameters
    ----------
    unit : str
        What is drawn, such as ``"film"``.
    of : numpy.ndarray
        The unit of each sample, ``(n_samples,)``.
    split : str
        The split that the samples are of.
    """

    def __init__(self, unit: str, of: np.ndarray, split: str = "test"):
        self.unit, self.split = unit, split
        self.labels, self.place = np.unique(of, return_inverse=True)
        n = len(self.labels)
        draws = generator(0, "resampling", unit).multinomial(n, np.full(n, 1 / n), N_RESAMPLES)
        self.counts = np.vstack([np.ones(n), draws])  # first row: the samples as they are

    def only(self, of: np.ndarray) -> Resampling:
        """Return the same draws for other samples of these units.

        Parameters
        ----------
        of : numpy.ndarray
            The unit of each of them, ``(n,)``; every one must be known.
        """
        part = copy(self)
        part.place = np.searchsorted(self.labels, of)
        return part

    @property
    def n_units(self) -> int:
        """How many units the samples are of."""
        return len(np.unique(self.place))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over samples for each resample, ``(1 + N_RESAMPLES, ...)``.

        Parameters
        ----------
        values : numpy.ndarray
            ``(n_samples, ...)``.

        Raises
        ------
        ReproError
            If they are not as many as the samples.
        """
        values = np.asarray(values, np.float64)
        if len(values) != len(self.place):
            raise ReproError(f"{len(values)} values were given of {len(self.place)} samples.")
        by_unit = np.zeros((len(self.labels), *values.shape[1:]))
        np.add.at(by_unit, self.place, values)
        return np.tensordot(self.counts, by_unit, axes=1)

    def mean(self, values: np.ndarray) -> Resampled:
        """Return the mean over samples; NaN of nothing.

        Parameters
        ----------
        values : numpy.ndarray
            ``(n_samples,)``.
        """
        with np.errstate(invalid="ignore"):
            return self._of(self.sums(values) / self.sums(np.ones(len(values))))

    def share(self, hits: np.ndarray) -> Resampled:
        """Return the share of right answers; NaN of nothing.

        Parameters
        ----------
        hits : numpy.ndarray
            Whether each answer is right, ``(n_samples,)``.
        """
        return replace(self.mean(hits), is_share=True)

    def r_squared(
        self, truth: np.ndarray, predicted: np.ndarray, present: np.ndarray | None = None
    ) -> list[Resampled]:
        """Return R² of several quantities; NaN where the truth is constant.

        Parameters
        ----------
        truth, predicted : numpy.ndarray
            ``(n_samples, n_quantities)``.
        present : numpy.ndarray, optional
            Which samples count for which quantity, of the same shape; by default all.

        Raises
        ------
        ReproError
            If the shapes differ, which NumPy would broadcast into a wrong number.
        """
        truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
        if truth.shape != predicted.shape or truth.ndim != 2:
            raise ReproError(
                f"Truth has the shape {truth.shape} and prediction {predicted.shape}: R² takes two "
                f"arrays of one shape, (n_samples, n_quantities)."
            )
        present = np.ones(truth.shape, bool) if present is None else present
        n = np.maximum(present.sum(axis=0), 1)
        centred = np.where(present, truth - np.where(present, truth, 0).sum(axis=0) / n, 0)
        errors = np.where(present, predicted - truth, 0)
        squared, total, squares, count = (
            self.sums(part) for part in (errors**2, centred, centred**2, present)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = squares - total**2 / count
            scores = np.where(spread > 1e-12 * squares, 1 - squared / spread, np.nan)
        return [self._of(column) for column in scores.T]

    def _of(self, values: np.ndarray) -> Resampled:
        return Resampled(values, self.unit, self.split, self.n_units, len(self.place))
