"""What records say of a claim's condition: a value, and how far it is uncertain for which reason.

The interval has two parts, added in quadrature: the test samples, resampled by their independent
unit (shares of right answers by Jeffreys' binomial interval), and the seeds, by Student's t. A
number that the paper took from few runs is compared with what as many runs of ours would give: a
prediction interval. Fewer than three seeds tell no spread: it is borrowed from another record of
the same networks, and the interval is then three standard errors wide on either side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from repro.evaluation.claims import Claim, Condition
from repro.evaluation.metrics import (
    CONFIDENCE,
    NORMAL,
    Interval,
    student_t,
    student_t_interval,
)
from repro.evaluation.records import Record, RecordedMetric, SampledMetric

FEWEST_SEEDS = 3  # that tell a spread
NEARLY = 0.9  # likeness of names from which one may be meant by the other
STANDARD_ERRORS = 3.0  # on either side where the spread is borrowed


@dataclass(frozen=True)
class Sample:
    """A quantity measured once for each seed."""

    values: dict[int, float]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.values.values())))

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; NaN for a single one."""
        values = list(self.values.values())
        if len(values) < 2:
            return math.nan
        # Rounding of the mean would leave 1e-16 of equal values.
        return float(np.std(values, ddof=1)) if min(values) < max(values) else 0.0

    @property
    def interval(self) -> Interval | None:
        """95 % Student-t interval of the mean over seeds; None for a single seed."""
        return student_t_interval(list(self.values.values()))

    def minus(self, other: Sample) -> Sample:
        """Return the difference for every seed that both have."""
        common = self.values.keys() & other.values.keys()
        return Sample({s: self.values[s] - other.values[s] for s in sorted(common)})


@dataclass(frozen=True)
class OfSamples:
    """How far the test samples leave a value open.

    Parameters
    ----------
    below, above : float
        How far the 95 % interval reaches to either side, in the value's unit.
    n_units : int
        How many independent units there are; 0 where no sample stands behind the value.
    unit : str
        What they are, such as ``"film"``.
    split : str
        The split that they are of.
    n_answers : float
        Of a share of right answers, how many independent ones there are; else 0.
    """

    below: float
    above: float
    n_units: int = 0
    unit: str = ""
    split: str = ""
    n_answers: float = 0.0


@dataclass(frozen=True)
class OfSeeds:
    """How far the seeds leave a value open.

    Parameters
    ----------
    half_width : float
        Half of the 95 % interval, in the value's unit.
    spread : float
        Standard deviation of one seed.
    n : int
        How many seeds were run.
    borrowed_from : str
        The record that the spread is taken from, if there are too few seeds.
    """

    half_width: float
    spread: float
    n: int
    borrowed_from: str = ""


@dataclass(frozen=True)
class Estimate:
    """What records say of a condition.

    Parameters
    ----------
    condition : Condition
        The condition.
    value : float
        Mean over seeds; of two metrics, their difference.
    of_samples : OfSamples, optional
        None where a record does not tell it.
    of_seeds : OfSeeds, optional
        None where too few seeds were run and no record lends its spread.
    n_seeds : int
        How many seeds were run.
    """

    condition: Condition
    value: float
    of_samples: OfSamples | None
    of_seeds: OfSeeds | None
    n_seeds: int

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval with both parts; None where one is not known."""
        if self.of_samples is None or self.of_seeds is None:
            return None
        widening = STANDARD_ERRORS / NORMAL if self.of_seeds.borrowed_from else 1.0
        below, above = (
            widening * math.hypot(reach, self.of_seeds.half_width)
            for reach in (self.of_samples.below, self.of_samples.above)
        )
        return self.value - below, self.value + above


def estimate(
    claim: Claim, condition: Condition, used: dict[str, Record], others: Sequence[Record]
) -> Estimate:
    """Return what records say of a condition.

    Parameters
    ----------
    claim : Claim
        The claim that the condition belongs to.
    condition : Condition
        The condition.
    used : dict
        The record of each experiment that the claim reads.
    others : sequence of Record
        Records that may lend their spread over seeds.
    """
    places = [claim.place_of(name) for name in condition.metrics]
    parts = [(used[experiment], metric) for experiment, metric in places]
    paired = len({experiment for experiment, _ in places}) == 1
    samples = [Sample(metric_values(record, metric)) for record, metric in parts]
    value = difference(samples).mean if paired else samples[0].mean - samples[1].mean
    runs = claim.reported_runs if claim.kind == "number" else None
    return Estimate(
        condition,
        value,
        of_samples(claim, parts, value),
        of_seeds(parts, samples, paired, others, runs),
        n_seeds=min(len(sample.values) for sample in samples),
    )


def difference(samples: Sequence[Sample]) -> Sample:
    """Return one quantity as it is, and of two their difference seed by seed."""
    return samples[0] if len(samples) == 1 else samples[0].minus(samples[1])


def metric_values(record: Record, name: str) -> dict[int, float]:
    """Return a metric for each seed; a name that ends in ``*`` is the mean of all that match.

    A seed that lacks one of the metrics is left out.
    """
    found = matching(record, name)
    if not found:
        return {}
    seeds = set.intersection(*(set(metric.values) for metric in found))
    return {
        int(seed): float(np.mean([metric.values[seed] for metric in found]))
        for seed in sorted(seeds, key=int)
    }


def lacking(claim: Claim, used: dict[str, Record]) -> str:
    """Say which metric of a claim its record lacks; empty if none.

    Parameters
    ----------
    claim : Claim
        The claim.
    used : dict
        The record of each experiment that is looked at.
    """
    for name in claim.metrics:
        experiment, metric = claim.place_of(name)
        if experiment in used and not metric_values(used[experiment], metric):
            record = used[experiment]
            return (
                f"the record {record.label} has no metric {metric}{meant(metric, record.metrics)}"
            )
    return ""


def meant(name: str, known: Iterable[str]) -> str:
    """Return a question where one of the known names is nearly this one; else nothing."""
    close = get_close_matches(name, list(known), n=1, cutoff=NEARLY)
    return f"; did you mean {close[0]}?" if close else ""


def matching(record: Record, name: str) -> list[RecordedMetric]:
    """Return the metrics that a name means: one, or for ``NAME*`` all that begin so."""
    return [metric for key, metric in record.metrics.items() if names_metric(name, key)]


def names_metric(pattern: str, metric: str) -> bool:
    """Whether a claim's name of a metric, whose end may be ``*``, means this metric."""
    return metric.startswith(pattern[:-1]) if pattern.endswith("*") else metric == pattern


def of_samples(claim: Claim, parts: Sequence[tuple[Record, str]], value: float) -> OfSamples | None:
    """Return how far the test samples leave the value of a condition open."""
    if claim.without_samples:
        return OfSamples(0.0, 0.0)
    known = [sampling(record, metric) for record, metric in parts]
    sampled = [one for one in known if one is not None]
    if len(sampled) < len(known):
        return None
    fewest = min(sampled, key=lambda s: s.n_units)
    behind = fewest.n_units, fewest.unit, fewest.split
    deviations = np.array(sampled[0].deviations)
    if len(sampled) == 1 and fewest.is_share:
        n = independent_answers(value, deviations, fewest)
        low, high = jeffreys_interval(value, n)
        return OfSamples(value - low, high - value, *behind, n_answers=n)
    if len(sampled) == 2:
        deviations = deviations - np.array(sampled[1].deviations)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(deviations[np.isfinite(deviations)], [tail, 1 - tail])
    return OfSamples(max(-float(low), 0.0), max(float(high), 0.0), *behind)


def sampling(record: Record, name: str) -> SampledMetric | None:
    """Return how a metric varies over resamples of the test split; of several, their mean."""
    metrics = matching(record, name)
    found = [metric.sampled for metric in metrics if metric.sampled is not None]
    if not found or len(found) < len(metrics):
        return None
    largest = max(found, key=lambda sampled: sampled.n_units)
    deviations = np.mean([sampled.deviations for sampled in found], axis=0)
    return largest.model_copy(update={"deviations": deviations.tolist()})


def independent_answers(share: float, deviations: np.ndarray, sampled: SampledMetric) -> float:
    """Return how many independent right or wrong answers would scatter as resamples do.

    At least the units, which do not err together, and at most the samples.

    Parameters
    ----------
    share : float
        Share of right answers [1].
    deviations : numpy.ndarray
        By how much resamples exceed it, ``(n_resamples,)`` [1].
    sampled : SampledMetric
        What they are of.
    """
    variance = float(np.mean(np.square(deviations[np.isfinite(deviations)])))
    if variance == 0:
        return float(sampled.n_units)
    return float(np.clip(share * (1 - share) / variance, sampled.n_units, sampled.n_samples))


def jeffreys_interval(share: float, n: float) -> Interval:
    """Return Jeffreys' 95 % interval of a share of right answers among independent ones.

    Parameters
    ----------
    share : float
        The share [1].
    n : float
        How many answers there are.
    """
    from scipy.special import betaincinv

    hits, tail = share * n, (1 - CONFIDENCE) / 2
    low, high = (betaincinv(hits + 0.5, n - hits + 0.5, p) for p in (tail, 1 - tail))
    return (float(low) if hits > 0 else 0.0), (float(high) if hits < n else 1.0)


def of_seeds(
    parts: Sequence[tuple[Record, str]],
    samples: Sequence[Sample],
    paired: bool,
    others: Sequence[Record],
    reported_runs: int | None,
) -> OfSeeds | None:
    """Return how far the seeds leave the value of a condition open.

    Parameters
    ----------
    parts : sequence
        The record and the metric of each quantity of the condition.
    samples : sequence of Sample
        Their values.
    paired : bool
        Whether they are of one record, so that the difference is taken seed by seed.
    others : sequence of Record
        Records that may lend their spread.
    reported_runs : int, optional
        Of how many runs the paper's number is the mean, if it is to be predicted.
    """
    if paired:
        own, ns = difference(samples), [len(difference(samples).values)]
        spreads = [own.spread]
    else:
        ns, spreads = [len(s.values) for s in samples], [s.spread for s in samples]
    n, lender = min(ns), ""
    if n == 0:
        return None
    if n < FEWEST_SEEDS:
        lent = lend_spread(parts, paired, others)
        if lent is None:
            return None
        spreads, lender = lent
    quantile = NORMAL if lender else student_t(n - 1)
    shares = [1 / n + (1 / reported_runs if reported_runs else 0) for n in ns]
    error = math.sqrt(sum(s**2 * share for s, share in zip(spreads, shares, strict=True)))
    return OfSeeds(quantile * error, math.hypot(*spreads), n, lender)


def lend_spread(
    parts: Sequence[tuple[Record, str]], paired: bool, others: Sequence[Record]
) -> tuple[list[float], str] | None:
    """Return the spread over seeds of another record of the same networks, and its label.

    The record's own experiment goes before others, its own preset before others.
    """

    def nearness(record: Record) -> tuple:
        return (
            record.experiment == parts[0][0].experiment,
            record.preset == parts[0][0].preset,
            record.in_float32,
            len(record.seeds),
        )

    names = [metric for _, metric in parts]
    lenders = []
    for record in others:
        samples = [Sample(metric_values(record, name)) for name in names]
        if record.status != "ok" or record.variant != parts[0][0].variant:
            continue
        if record.preset != "smoke" and min(len(s.values) for s in samples) >= FEWEST_SEEDS:
            spreads = [difference(samples).spread] if paired else [s.spread for s in samples]
            lenders.append((nearness(record), spreads, record.label))
    if not lenders:
        return None
    _, spreads, label = max(lenders, key=lambda lender: lender[0])
    return spreads, label
