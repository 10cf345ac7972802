"""What a study's baseline records must reach, as its ``gates.yaml`` declares, and whether they do.

A claim is the paper's statement; a gate is ours. A baseline record that fails one shows that our
own system got worse, whatever the paper says. Records go by the names of their folders under
``results/records``. ``records`` states what each must be for its gates to mean anything, by place
in the record; ``gates`` states what it must reach::

    records:
      toy-improved-desk: {variant: improved, preset: desk, data.counts.test: 500}
    gates:
      - id: mae
        statement: Our network reads films to half the published error.
        record: toy-improved-desk
        metric: test/mae
        at_most: 0.1
        reason: The paper reports 0.2.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from repro.evaluation.claims import Plain, read_declared
from repro.evaluation.estimates import Sample, meant
from repro.evaluation.metrics import Interval
from repro.evaluation.protocol import differences
from repro.evaluation.records import Record

SIGNIFICANCE = 0.05  # of Welch's t-test
# How a figure must stand to its limit, in words and as a function.
BOUNDS = {
    "at_least": ("at least", operator.ge),
    "at_most": ("at most", operator.le),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
    "within": ("at most", operator.le),
    "indistinguishable_from": ("above", operator.gt),
}
UPPER = ("at_most", "below", "within")


class Gate(BaseModel):
    """One thing that a baseline record must reach.

    Give one of ``metric`` and ``stages``, and one bound: ``at_least``, ``at_most``, ``above``,
    ``below``, ``within`` or ``indistinguishable_from``. Another metric is named as
    ``RECORD:METRIC``, or as ``METRIC`` if it is of the same record.

    Parameters
    ----------
    id : str
        Short name, unique within the study.
    statement : str
        What must hold, in one sentence.
    record : str
        The record's folder under ``results/records``.
    metric : str
        The metric. In a pattern ``*`` stands for any characters and ``?`` for one; every metric
        that matches must keep the bound.
    stages : str
        A stage of the run, or a pattern of several: the gate is about their wall time together [s].
    count : int, optional
        How many metrics must match the pattern, so that none is missing.
    over : str
        ``"every"``: the bound holds for every seed, held against every seed of another metric.
        ``"mean"``: for the mean over seeds. ``"interval"``: for the 95 % Student-t interval of the
        mean, or of the mean difference from another metric of the same seed.
    seeds : int
        The fewest seeds that the records must have.
    at_least, at_most : float, optional
        Bounds in the metric's unit [s for stages], themselves included.
    above, below : str, optional
        The metric that must be exceeded, or kept below.
    times : float
        The other metric is multiplied by it first.
    within : float, optional
        How far the metric may be from that named in ``of``, in the metric's unit.
    of : str, optional
        That other metric.
    indistinguishable_from : str, optional
        A metric from which it may differ by no more than seeds explain: Welch's t-test must not
        tell the two apart (p > 0.05).
    reason : str
        Why this bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    statement: str = Field(min_length=1)
    record: str = Field(min_length=1)
    metric: str = ""
    stages: str = ""
    count: int | None = Field(default=None, ge=1)
    over: Literal["every", "mean", "interval"] = "every"
    seeds: int = Field(default=1, ge=1)
    at_least: float | None = None
    at_most: float | None = None
    above: str | None = None
    below: str | None = None
    times: float = Field(default=1.0, gt=0)
    within: float | None = Field(default=None, ge=0)
    of: str | None = None
    indistinguishable_from: str | None = None
    reason: str = Field(min_length=1)

    @property
    def bound(self) -> str:
        """Which of the bounds is given."""
        return next(name for name in BOUNDS if getattr(self, name) is not None)

    @property
    def other(self) -> tuple[str, str] | None:
        """Record and metric that the metric is held against; None if it is a number."""
        name = self.above or self.below or self.of or self.indistinguishable_from
        if name is None:
            return None
        record, colon, metric = name.partition(":")
        return (record, metric) if colon else (self.record, name)

    @property
    def limit(self) -> float:
        """What the figure is held against: 0 for a difference that must have a sign."""
        given = (self.at_least, self.at_most, self.within)
        return next((limit for limit in given if limit is not None), 0.0)

    @property
    def records(self) -> list[str]:
        """The records that the gate reads."""
        return list(dict.fromkeys([self.record, *(self.other or ())[:1]]))

    @model_validator(mode="after")
    def _complete(self) -> Gate:
        given = self.model_fields_set
        bounds = [name for name in BOUNDS if getattr(self, name) is not None]
        if len(bounds) != 1:
            raise ValueError(f"give one bound of {', '.join(BOUNDS)}, not {len(bounds)}")
        if bool(self.metric) == bool(self.stages):
            raise ValueError("give either metric or stages")
        if self.stages and (self.other or given & {"over", "count", "within"}):
            raise ValueError("stages take at_least or at_most, and neither over nor count")
        if (self.within is None) != (self.of is None):
            raise ValueError("within and of go together")
        if "times" in given and not (self.above or self.below):
            raise ValueError("times goes with above or below")
        if "over" in given and self.indistinguishable_from:
            raise ValueError("indistinguishable_from takes no over: it compares all seeds")
        if _is_pattern(self.metric) != (self.count is not None):
            raise ValueError("a pattern of metrics needs count, and a single metric has none")
        return self


class Gates(BaseModel):
    """What a study's baseline records are, and what they must reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: dict[str, dict[str, Plain]] = {}
    gates: list[Gate] = []

    @model_validator(mode="after")
    def _consistent(self) -> Gates:
        for name, n in Counter(gate.id for gate in self.gates).items():
            if n > 1:
                raise ValueError(f"the gate id {name} is used {n} times")
        for gate in self.gates:
            unknown = [name for name in gate.records if name not in self.records]
            if unknown:
                raise ValueError(f"gate {gate.id}: {unknown[0]} is not listed under records")
        return self


@dataclass(frozen=True)
class GateResult:
    """Whether a gate holds.

    Parameters
    ----------
    study : str
        The study.
    gate : Gate
        The gate.
    holds : bool
        False too where it could not be checked, for want of a record or a metric.
    figure, limit : float, optional
        The figure that decides, the worst where several metrics match, and its limit. For
        ``above``, ``below`` and ``within`` the figure is a difference, for
        ``indistinguishable_from`` a p-value. None if there is none.
    said : str
        The figure with its limit in words, or why there is none.
    """

    study: str
    gate: Gate
    holds: bool
    figure: float | None
    limit: float | None
    said: str


class _Unmeasured(Exception):
    """A gate cannot be checked; the message says why."""


@dataclass(frozen=True)
class _Figure:
    """A figure held against its limit."""

    what: str
    value: float
    limit: float
    bound: str

    @property
    def holds(self) -> bool:
        return bool(BOUNDS[self.bound][1](self.value, self.limit))

    @property
    def room(self) -> float:
        """How far the figure is on the right side of its limit."""
        return (self.limit - self.value) if self.bound in UPPER else (self.value - self.limit)

    @property
    def said(self) -> str:
        words = BOUNDS[self.bound][0]
        return f"{self.what}: {self.value:.4g}, must be {words} {self.limit:.4g}"


def load_gates(path: Path) -> Gates:
    """Read a ``gates.yaml``; a study without one has no gates.

    Raises
    ------
    ReproError
        If it is not YAML, or an entry is missing, unknown or wrong.
    """
    return read_declared(path, Gates, "gates") if Path(path).exists() else Gates()


def check_gates(
    study: str, gates: Gates, records: Mapping[str, Record], about: Collection[str] | None = None
) -> list[GateResult]:
    """Check a study's gates.

    Parameters
    ----------
    study : str
        The study's name.
    gates : Gates
        Its gates.
    records : mapping
        Baseline records by the names of their folders.
    about : collection of str, optional
        Check the gates of these records alone.
    """
    return [
        _check(study, gate, gates, records)
        for gate in gates.gates
        if about is None or gate.record in about
    ]


def _check(study: str, gate: Gate, gates: Gates, records: Mapping[str, Record]) -> GateResult:
    try:
        for name in gate.records:
            asked = {"study": study, "status": "ok", **gates.records[name]}
            _require(name, records.get(name), asked, gate.seeds)
        figures = _figures(gate, records)
    except _Unmeasured as problem:
        return GateResult(study, gate, False, None, None, str(problem))
    worst = min(figures, key=lambda figure: figure.room)
    return GateResult(study, gate, worst.holds, worst.value, worst.limit, worst.said)


def _require(name: str, record: Record | None, asked: Mapping[str, Plain], seeds: int) -> None:
    """Refuse a record that is not what the gate is about."""
    if record is None:
        raise _Unmeasured(f"there is no record {name}")
    differing = differences(record, asked)
    if differing:
        raise _Unmeasured(f"{name} has {', '.join(differing.values())}")
    if len(record.seeds) < seeds:
        raise _Unmeasured(f"{name} has {len(record.seeds)} of the {seeds} seeds asked for")


def _figures(gate: Gate, records: Mapping[str, Record]) -> list[_Figure]:
    """Return the figure of every metric that the gate is about."""
    record = records[gate.record]
    if gate.stages:
        return [_time(gate, record)]
    names = [name for name in record.metrics if _matches(gate.metric, name)]
    count = gate.count or 1
    if len(names) != count:
        hint = "" if names else meant(gate.metric, record.metrics)
        raise _Unmeasured(f"{gate.record} has {len(names)} of {count} metrics {gate.metric}{hint}")
    other = _sample(records[gate.other[0]], gate.other[1]) if gate.other else None
    return [_figure(gate, name, _sample(record, name), other) for name in names]


def _time(gate: Gate, record: Record) -> _Figure:
    times = [t.wall_s for name, t in record.timings.items() if _matches(gate.stages, name)]
    if not times:
        hint = meant(gate.stages, record.timings)
        raise _Unmeasured(f"{gate.record} has no stage {gate.stages}{hint}")
    return _Figure(f"wall time of {gate.stages} [s]", sum(times), gate.limit, gate.bound)


def _sample(record: Record, metric: str) -> Sample:
    """Return a metric by seed, which must have a finite value for each."""
    values = record.metrics[metric].values if metric in record.metrics else {}
    if set(values) != set(map(str, record.seeds)):
        hint = "" if values else meant(metric, record.metrics)
        raise _Unmeasured(f"{record.label} has no {metric} for every seed{hint}")
    if not all(map(np.isfinite, values.values())):
        raise _Unmeasured(f"{metric} of {record.label} is not a finite number for every seed")
    return Sample({int(seed): value for seed, value in values.items()})


def _figure(gate: Gate, name: str, sample: Sample, other: Sample | None) -> _Figure:
    """Hold one metric against the gate's bound."""
    if gate.bound == "indistinguishable_from":
        what = f"Welch's p of {name} and {gate.indistinguishable_from}"
        return _Figure(what, _welch_p(sample, _needed(other)), SIGNIFICANCE, gate.bound)
    if other is None:
        what, (low, high) = name, _range(gate.over, sample)
    else:
        factor = "" if gate.times == 1 else f"{gate.times:g} × "
        what = f"{name} − {factor}{gate.above or gate.below or gate.of}"
        scaled = Sample({seed: gate.times * value for seed, value in other.values.items()})
        low, high = _difference_range(gate.over, sample, scaled)
    value = {
        "at_least": low,
        "at_most": high,
        "above": low,
        "below": high,
        "within": max(abs(low), abs(high)),
    }[gate.bound]
    return _Figure(what, value, gate.limit, gate.bound)


def _needed(other: Sample | None) -> Sample:
    if other is None:
        raise _Unmeasured("the other metric is not named")
    return other


def _range(over: str, sample: Sample) -> Interval:
    """Return the smallest and the largest value that count."""
    if over == "every":
        return min(sample.values.values()), max(sample.values.values())
    if over == "mean":
        return sample.mean, sample.mean
    if sample.interval is None:
        raise _Unmeasured("an interval needs two seeds")
    return sample.interval


def _difference_range(over: str, sample: Sample, other: Sample) -> Interval:
    """Return the smallest and the largest difference that count."""
    if over == "interval":
        return _range(over, sample.minus(other))
    (low, high), (other_low, other_high) = _range(over, sample), _range(over, other)
    return low - other_high, high - other_low


def _welch_p(one: Sample, other: Sample) -> float:
    from scipy.stats import ttest_ind  # takes a second to import

    if min(len(one.values), len(other.values)) < 2:
        raise _Unmeasured("Welch's t-test needs two seeds of each metric")
    samples = (list(sample.values.values()) for sample in (one, other))
    return float(ttest_ind(*samples, equal_var=False).pvalue)


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))
