"""Metrics of a run, and the intervals that say how far a number can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from repro.evaluation.resampling import CONFIDENCE, Interval, Resampled, Resampling

Better = Literal["lower", "higher", "neither"]
Stage = Callable[[Any], tuple[dict[str, "Metric"], dict[str, np.ndarray]]]
NORMAL = 1.959964  # standard deviations on either side that hold it in a normal distribution
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Metric:
    """One number that an evaluation yields.

    Parameters
    ----------
    value : float
        The number, in ``unit``.
    unit : str
        Its unit, ``"1"`` for a pure number.
    better : str
        ``"lower"``, ``"higher"`` or ``"neither"``.
    definition : str
        What is computed, over what, in one sentence. A change of it makes a new metric.
    resampled : Resampled, optional
        The same over resamples of the test split, if it was computed.
    """

    value: float
    unit: str
    better: Better
    definition: str
    resampled: Resampled | None = None


@dataclass(frozen=True)
class Evaluation:
    """All that the evaluation of one seed yields.

    Parameters
    ----------
    metrics : dict
        Metrics by name, such as ``"r2/c/01"``.
    arrays : dict
        Small arrays for the figures.
    undefined : set of str
        Metrics that have no value, such as where two curves cross that never do.
    """

    metrics: dict[str, Metric]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    undefined: frozenset[str] = frozenset()

    def defined(self) -> Evaluation:
        """Return it without metrics of nothing, such as those of a split without such samples."""
        known = {name: m for name, m in self.metrics.items() if np.isfinite(m.value)}
        return Evaluation(known, self.arrays, frozenset(self.metrics.keys() - known.keys()))


def in_stages(
    stages: Sequence[Stage], bench: Any, progress: Callable[[int, int], None]
) -> Evaluation:
    """Return what stages yield together, one after the other.

    Parameters
    ----------
    stages : sequence of callable
        Each takes the bench, returns metrics and arrays by name.
    bench : object
        What is measured, and what it is measured with.
    progress : callable
        Called with the stages done and their number.
    """
    metrics: dict[str, Metric] = {}
    arrays: dict[str, np.ndarray] = {}
    for done, stage in enumerate(stages):
        progress(done, len(stages))
        stage_metrics, stage_arrays = stage(bench)
        metrics |= stage_metrics
        arrays |= stage_arrays
    progress(len(stages), len(stages))
    return Evaluation(metrics, arrays)


def lower(value: float | Resampled, definition: str, unit: str = "1") -> Metric:
    """Return a metric that is better when it is lower; see `Metric`."""
    return _metric(value, unit, "lower", definition)


def higher(value: float | Resampled, definition: str, unit: str = "1") -> Metric:
    """Return a metric that is better when it is higher; see `Metric`."""
    return _metric(value, unit, "higher", definition)


def neither(value: float | Resampled, definition: str, unit: str = "1") -> Metric:
    """Return a metric that describes and has no better side; see `Metric`."""
    return _metric(value, unit, "neither", definition)


def _metric(value: float | Resampled, unit: str, better: Better, definition: str) -> Metric:
    if isinstance(value, Resampled):
        return Metric(value.value, unit, better, definition, value)
    return Metric(float(value), unit, better, definition)


def share(hits: np.ndarray, definition: str, resampling: Resampling | None = None) -> Metric:
    """Return the share of hits as a metric, better when it is higher; NaN of nothing.

    Parameters
    ----------
    hits : numpy.ndarray
        Whether each answer is right, of any shape; or shares, of which the mean is taken.
    definition : str
        As in `Metric`.
    resampling : Resampling, optional
        Draws of the units that the answers are of, ``hits`` being ``(n_samples,)``.
    """
    return higher(mean(hits) if resampling is None else resampling.share(hits), definition)


def mean(values: np.ndarray) -> float:
    """Return the mean over all elements, in their unit; NaN of nothing."""
    return float(np.mean(values)) if np.size(values) else float("nan")


def root_mean_square(errors: np.ndarray) -> float:
    """Return the root of the mean square over all elements, in their unit; NaN of nothing."""
    return float(np.sqrt(mean(np.square(errors))))


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the share of intervals, ends included, that hold the truth.

    Parameters
    ----------
    truth, low, high : numpy.ndarray
        Arrays of one shape.
    """
    return mean((low <= truth) & (truth <= high))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = 10) -> float:
    """Return how far stated confidence and accuracy lie apart: the expected calibration error.

    Parameters
    ----------
    probabilities : numpy.ndarray
        ``(n, n_classes)``.
    labels : numpy.ndarray
        The true classes, ``(n,)`` int.
    n_bins : int
        Bins of confidence, of equal width; each counts by how many answers are in it.
    """
    confidence, hits = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    apart = np.bincount(place, confidence - hits, n_bins)
    return float(np.abs(apart).sum() / max(len(labels), 1))


def confusion(labels: np.ndarray, found: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how often each class was taken for each, ``(n_classes, n_classes)`` int64.

    Parameters
    ----------
    labels, found : numpy.ndarray
        The true classes (rows) and those found (columns), ``(n,)`` int each.
    n_classes : int
        Number of classes.
    """
    pairs = np.bincount(labels * n_classes + found, minlength=n_classes**2)
    return pairs.reshape(n_classes, n_classes)


def student_t_half_width(spread: float, n: int) -> float:
    """Return half the 95 % Student-t interval of a mean, in the unit of ``spread``.

    Parameters
    ----------
    spread : float
        Standard deviation of one value (n - 1 in its denominator).
    n : int
        Number of values, at least 2.
    """
    return float(student_t(n - 1) * spread / np.sqrt(n))


def student_t(freedom: int) -> float:
    """Return Student's t for 95 % confidence and so many degrees of freedom."""
    from scipy.special import stdtrit  # takes half of what importing a study takes

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def student_t_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95 % Student-t interval of the mean over seeds.

    Parameters
    ----------
    values : sequence of float
        One value a seed.

    Returns
    -------
    tuple of float, or None
        Lower and upper end; None for fewer than two values, whose spread is unknown.
    """
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    half_width = student_t_half_width(float(np.std(values, ddof=1)), len(values))
    return mean - half_width, mean + half_width
