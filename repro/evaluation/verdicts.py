"""What the records of a study say of a claim.

A verdict rests on the 95 % Student-t interval of the mean over seeds and on a margin that was
written down before the run, so that few or scattered seeds cannot pass by being vague.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from repro.datasets.spec import PRESETS
from repro.errors import ReproError
from repro.evaluation.claims import Claim, Plain
from repro.evaluation.metrics import MOST_SEEDS, Interval, seeds_needed, student_t_interval
from repro.evaluation.records import Record, Verdict, VerdictStatus


@dataclass(frozen=True)
class Sample:
    """A quantity measured once for each seed."""

    values: dict[int, float]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.values.values())))

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean; None for a single seed."""
        return student_t_interval(list(self.values.values()))

    def minus(self, other: Sample) -> Sample:
        """Return the difference for every seed that both have."""
        common = self.values.keys() & other.values.keys()
        return Sample({s: self.values[s] - other.values[s] for s in sorted(common)})


def judge(claim: Claim, records: list[Record]) -> Verdict:
    """Hold a claim against the records of its study.

    Parameters
    ----------
    claim : Claim
        The claim.
    records : list of Record
        Records of the study, of any variant, preset and experiment.

    Returns
    -------
    Verdict
        ``not run`` if no record answers the claim, ``not comparable`` if those that do are of
        another preset, variant or protocol; else what the interval over seeds says.

    Raises
    ------
    ReproError
        If the records are of more than one study.
    """
    if len({record.study for record in records}) > 1:
        raise ReproError("A claim is judged by the records of its own study: pass those alone.")
    used: dict[str, Record] = {}
    for name in claim.metrics:
        experiment, metric = _experiment_and_metric(claim, name)
        record = best_record(claim, experiment, records)
        reason = _why_not_run(record, experiment, metric)
        if reason:
            return Verdict(claim=claim.id, status="not run", reason=reason)
        used[experiment] = record
    samples = [_sample(claim, name, used) for name in claim.metrics]
    sample = _smallest_difference(claim, samples) if claim.kind == "order" else samples[0]
    status, reason = _status(claim, samples, list(used.values()))
    finite = bool(sample.values) and np.isfinite(sample.mean)
    return Verdict(
        claim=claim.id,
        status=status,
        reason=reason,
        value=sample.mean if finite else None,
        interval=sample.interval if finite else None,
        seeds=sorted(sample.values),
        source="; ".join(record.label for record in used.values()),
    )


def best_record(claim: Claim, experiment: str, records: list[Record]) -> Record | None:
    """Return the record of an experiment that comes closest to what the claim asks for.

    A run that succeeded goes before one that failed, then the claim's variant, its preset, the
    larger preset, float32, more seeds, the later in the list.
    """

    def closeness(record: Record) -> tuple:
        scale = PRESETS.index(record.preset) if record.preset in PRESETS else -1
        return (
            record.status == "ok",
            record.variant == claim.variant,
            record.preset == claim.preset,
            scale,
            record.in_float32,
            len(record.seeds),
        )

    candidates = [record for record in reversed(records) if record.experiment == experiment]
    return max(candidates, key=closeness, default=None)


def differing_fields(claim: Claim, record: Record) -> list[str]:
    """Return in what a record differs from what the claim is about, ``X instead of Y`` each."""
    asked = {"variant": claim.variant, "preset": claim.preset, **claim.protocol}
    return differences(record, asked)


def differences(record: Record, asked: Mapping[str, Plain]) -> list[str]:
    """Return in what a record differs from what is asked for, by place in the record."""
    content = record.model_dump()
    differing = []
    for field, wanted in asked.items():
        found = list(_look_up(content, field.split("."))) or ["nothing"]
        differing += [f"{field} {f} instead of {wanted}" for f in found if f != wanted]
    return list(dict.fromkeys(differing))


def metric_values(record: Record, name: str) -> dict[int, float]:
    """Return a metric for each seed; a name that ends in ``*`` is the mean of all that match.

    A seed that lacks one of the metrics is left out.
    """
    if name.endswith("*"):
        matching = [m for key, m in record.metrics.items() if key.startswith(name[:-1])]
    else:
        matching = [record.metrics[name]] if name in record.metrics else []
    if not matching:
        return {}
    seeds = set.intersection(*(set(metric.values) for metric in matching))
    return {
        int(seed): float(np.mean([metric.values[seed] for metric in matching]))
        for seed in sorted(seeds, key=int)
    }


def _experiment_and_metric(claim: Claim, name: str) -> tuple[str, str]:
    experiment, colon, metric = name.partition(":")
    return (experiment, metric) if colon else (claim.experiment, name)


def _sample(claim: Claim, name: str, records: dict[str, Record]) -> Sample:
    experiment, metric = _experiment_and_metric(claim, name)
    return Sample(metric_values(records[experiment], metric))


def _why_not_run(record: Record | None, experiment: str, metric: str) -> str | None:
    if record is None:
        return f"no record of the experiment {experiment}"
    if record.status == "failed":
        return f"the run {record.label} failed: {record.reason}"
    if not metric_values(record, metric):
        return f"the record {record.label} has no metric {metric}"
    return None


def _smallest_difference(claim: Claim, samples: list[Sample]) -> Sample:
    differences = [first.minus(second) for first, second in pairwise(samples)]
    return min(differences, key=lambda d: d.mean if d.values else -np.inf)


def _status(
    claim: Claim, samples: list[Sample], records: list[Record]
) -> tuple[VerdictStatus, str]:
    differing = [
        f"{_whose(record, records)}{field}"
        for record in records
        for field in differing_fields(claim, record)
    ]
    if differing:
        return "not comparable", ", ".join(differing)
    if claim.kind == "order":
        samples = [first.minus(second) for first, second in pairwise(samples)]
    bad = [seed for sample in samples for seed, v in sample.values.items() if not np.isfinite(v)]
    if bad:
        return "below", f"the metric is not a finite number for seed {bad[0]}"
    n_seeds = min(len(sample.values) for sample in samples)
    if n_seeds < claim.seeds:
        return "inconclusive", _more_seeds(
            claim.seeds - n_seeds, f"{n_seeds} of {claim.seeds} seeds run"
        )
    if claim.kind == "order":
        return _judge_order(claim, samples)
    return (_judge_number if claim.kind == "number" else _judge_bound)(claim, samples[0])


def _judge_number(claim: Claim, sample: Sample) -> tuple[VerdictStatus, str]:
    low, high = sample.interval
    floor, ceiling = claim.reported - claim.margin, claim.reported + claim.margin
    target = f"{claim.reported:.4g} ± {claim.margin:.2g}"
    if floor <= low and high <= ceiling:
        return "reproduced", f"{_stated(sample)} lies within {target}"
    if high < floor or low > ceiling:
        gain = (high < floor) == (claim.better == "lower")
        side = "below" if high < floor else "above"
        return "better" if gain else "below", f"{_stated(sample)} lies {side} {target}"
    room = abs(abs(sample.mean - claim.reported) - claim.margin)
    return _inconclusive(sample, f"reaches over the edge of {target}", room)


def _judge_bound(claim: Claim, sample: Sample) -> tuple[VerdictStatus, str]:
    low, high = sample.interval
    if claim.better == "lower":
        kept, crossed, phrase = high <= claim.threshold, low > claim.threshold, "at most"
    else:
        kept, crossed, phrase = low >= claim.threshold, high < claim.threshold, "at least"
    target = f"{phrase} {claim.threshold:.4g}"
    if kept:
        return "reproduced", f"{_stated(sample)} is {target}"
    if crossed:
        return "below", f"{_stated(sample)} is not {target}"
    room = abs(sample.mean - claim.threshold)
    return _inconclusive(sample, f"leaves open whether it is {target}", room)


def _judge_order(claim: Claim, differences: list[Sample]) -> tuple[VerdictStatus, str]:
    least = claim.minimum_difference
    pairs = [f"{one} exceeds {other}" for one, other in pairwise(claim.order)]
    more_than = f" by more than {least:.4g}" if least else ""
    for pair, difference in zip(pairs, differences, strict=True):
        if difference.interval[1] <= least:
            return "below", f"not so that {pair}{more_than}: difference {_stated(difference)}"
    for pair, difference in zip(pairs, differences, strict=True):
        if difference.interval[0] <= least:
            room = abs(difference.mean - least)
            return _inconclusive(difference, f"leaves open whether {pair}{more_than}", room)
    shown = (f"{p} by {_stated(d)}" for p, d in zip(pairs, differences, strict=True))
    return "reproduced", "; ".join(shown)


def _inconclusive(sample: Sample, what: str, room: float) -> tuple[VerdictStatus, str]:
    n = len(sample.values)
    needed = seeds_needed(list(sample.values.values()), room)
    text = f"{_stated(sample)} {what}"
    if needed is None:
        return "inconclusive", f"{text}; over {MOST_SEEDS - n} more seeds at this spread"
    return "inconclusive", _more_seeds(needed - n, text)


def _more_seeds(n: int, text: str) -> str:
    return f"{text}; {n} more seed{'s' if n > 1 else ''} needed"


def _stated(sample: Sample) -> str:
    low, high = sample.interval
    return f"{sample.mean:.4g} (95 % interval {low:.4g} to {high:.4g})"


def _whose(record: Record, records: list[Record]) -> str:
    return f"{record.experiment}: " if len(records) > 1 else ""


def _look_up(content: Any, keys: list[str]) -> Iterator[Any]:
    """Yield what stands at a place of a record; ``*`` goes through every name there."""
    if not keys:
        yield content
    elif isinstance(content, dict):
        key, *rest = keys
        for name in content if key == "*" else [key]:
            if name in content:
                yield from _look_up(content[name], rest)
