"""Whether a newer record is as good as an older one, metric by metric.

A gate fails (exit status 1) on a regression, a metric or seed that disappeared, a number that is
none, a gain that nobody acknowledged and a change that no hash explains. Records that cannot be
compared give exit status 2 and not 0: nothing was checked, so a pipeline must not go on as if all
were well. The figures are shown all the same, and the remedy is a new baseline record.

A metric may move by a tolerance before it counts as changed:

1. by rounding alone where environment, code, configuration, data and seeds are those of the
   baseline and operations repeat bit for bit;
2. else, with two or more baseline seeds, within the 95 % prediction interval for the mean of the
   candidate's seeds. It rests on the baseline's spread only, lest a candidate that collapses for
   one seed widen its own tolerance;
3. with a single baseline seed, by a stated fraction of the baseline, smaller where the environment
   is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from repro.errors import ReproError
from repro.evaluation.metrics import student_t_half_width
from repro.evaluation.records import Record, RecordedMetric

PROTOCOL = ("study", "variant", "preset", "experiment")
ROUNDING = 1e-6  # relative

RowStatus = Literal[
    "unchanged",
    "regression",
    "missing",
    "unexplained gain",
    "unacknowledged gain",
    "accepted gain",
    "changed",
    "unexplained change",
    "new",
    "not comparable",
]
FAILURES = (
    "regression",
    "missing",
    "unexplained gain",
    "unacknowledged gain",
    "unexplained change",
)
EXIT_STATUS = {"passed": 0, "failed": 1, "not comparable": 2}


@dataclass(frozen=True)
class Margins:
    """How far a metric of a single seed may move, for want of a spread.

    Parameters
    ----------
    same_environment : float
        Fraction of the baseline, where the environment hash is equal.
    other_environment : float
        Fraction of the baseline elsewhere.
    absolute : float
        Smallest tolerance of rules 2 and 3, in the metric's unit, for metrics near 0.
    """

    same_environment: float = 0.01
    other_environment: float = 0.05
    absolute: float = 0.0


@dataclass(frozen=True)
class Row:
    """One metric in both records.

    Parameters
    ----------
    metric, unit : str
        Name and unit.
    baseline, candidate, tolerance : float, optional
        Means over seeds and the allowed difference, in ``unit``.
    status, reason : str
        What became of the metric, and why.
    """

    metric: str
    unit: str
    status: RowStatus
    reason: str = ""
    baseline: float | None = None
    candidate: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two records side by side.

    Parameters
    ----------
    rows : tuple of Row
        One for each metric of either record.
    status : str
        ``"passed"``, ``"failed"`` or ``"not comparable"``; a failure outweighs a row that cannot
        be compared.
    exit_status : int
        0 passed, 1 failed, 2 not comparable.
    differences : tuple of str
        Why the records as a whole cannot be compared; empty if they can.
    changed : tuple of str
        Which of the five hashes differ.
    accepted : str
        The reason given for accepting gains.
    carried : tuple of str
        Earlier codes of either record that were shown to give the same numbers, and by what.
    """

    rows: tuple[Row, ...]
    status: Literal["passed", "failed", "not comparable"]
    exit_status: int
    differences: tuple[str, ...]
    changed: tuple[str, ...]
    accepted: str = ""
    carried: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that fail the gate."""
        return tuple(row for row in self.rows if row.status in FAILURES)


def compare(
    baseline: Record,
    candidate: Record,
    accept_gain: str | None = None,
    margins: Margins = Margins(),
) -> Comparison:
    """Compare a record with a baseline record.

    Parameters
    ----------
    baseline, candidate : Record
        The older and the newer record.
    accept_gain : str, optional
        Why gains are sound; without it a gain fails the gate, since a number that improved for
        no known reason is as suspect as one that got worse.
    margins : Margins
        Tolerances where there is no spread.

    Raises
    ------
    ReproError
        If the baseline is of a failed run or holds no metric, or the reason is empty.
    """
    if baseline.status == "failed" or not baseline.metrics:
        raise ReproError(
            f"The baseline {baseline.label} is of a failed run or holds no metric: compare with "
            f"a record of a run that succeeded."
        )
    if accept_gain is not None and not accept_gain.strip():
        raise ReproError("The reason for accepting a gain is empty: say why the gain is sound.")
    differences = tuple(_differences(baseline, candidate))
    pair = _Pair(baseline, candidate, accept_gain, margins, bool(differences))
    names = list(dict.fromkeys([*baseline.metrics, *candidate.metrics]))
    rows = tuple(pair.row(name) for name in names)
    status = _status(rows, differences)
    return Comparison(
        rows=rows,
        status=status,
        exit_status=EXIT_STATUS[status],
        differences=differences,
        changed=pair.changed,
        accepted=accept_gain or "",
        carried=tuple(
            f"{whose}: {earlier.code}, by {earlier.shown_by}"
            for whose, record in (("baseline", baseline), ("candidate", candidate))
            for earlier in record.carried
        ),
    )


def differences_beyond_code(old: Record, new: Record) -> list[str]:
    """Say in what two records of one run differ, beside the code; metrics to the last bit.

    Parameters
    ----------
    old, new : Record
        Records made by the old and by the new code. If they differ in nothing else, the new code
        gives the numbers of the old one.
    """
    differing = [
        f"{name} is {after} instead of {before}"
        for name in (*PROTOCOL, "seeds", "status")
        if (before := getattr(old, name)) != (after := getattr(new, name))
    ]
    differing += [
        f"the hash of the {name} differs"
        for name in type(old.hashes).model_fields
        if name != "code" and not _same(old, new, name)
    ]
    names = dict.fromkeys([*old.metrics, *new.metrics])
    return differing + [
        f"the metric {name} differs"
        for name in names
        if _to_the_last_bit(old.metrics.get(name)) != _to_the_last_bit(new.metrics.get(name))
    ]


def _to_the_last_bit(metric: RecordedMetric | None) -> Any:
    if metric is None:
        return None
    values = {seed: value.hex() for seed, value in metric.values.items()}  # so that NaN is NaN
    return metric.unit, metric.better, metric.definition, values


def _status(rows: tuple[Row, ...], differences: tuple[str, ...]) -> str:
    statuses = {row.status for row in rows}
    if statuses & set(FAILURES):
        return "failed"
    return "not comparable" if differences or "not comparable" in statuses else "passed"


def _differences(baseline: Record, candidate: Record) -> Iterator[str]:
    """Say why two records as a whole cannot be compared."""
    for field in PROTOCOL:
        old, new = getattr(baseline, field), getattr(candidate, field)
        if old != new:
            yield f"{field} {new} instead of {old}"
    if candidate.data is None or baseline.data is None:
        return
    if baseline.data.fingerprint != candidate.data.fingerprint:
        yield "the data spec differs (other parameters, counts, seed or version)"
    elif _same(baseline, candidate, "environment") and not _same(baseline, candidate, "data"):
        # Between environments the same spec may round differently; the fingerprint decides there.
        yield "the data differ although their spec is the same: the generator changed"


def _same(one: Record, other: Record, name: str) -> bool:
    return getattr(one.hashes, name) == getattr(other.hashes, name)


@dataclass(frozen=True)
class _Pair:
    """Two records, and how their metrics are held against one another."""

    baseline: Record
    candidate: Record
    accept_gain: str | None
    margins: Margins
    incomparable: bool

    @property
    def changed(self) -> tuple[str, ...]:
        names = type(self.baseline.hashes).model_fields
        return tuple(n for n in names if not _same(self.baseline, self.candidate, n))

    @property
    def explained(self) -> bool:
        """Whether anything that can move a number differs."""
        moved = {"code", "configuration", "data", "environment"} & set(self.changed)
        return bool(moved) or self.baseline.seeds != self.candidate.seeds

    @property
    def repeatable(self) -> bool:
        """Whether the candidate must repeat the baseline's numbers."""
        environment = self.baseline.environment
        return not self.explained and (environment.flags.determinism or environment.gpu is None)

    def row(self, name: str) -> Row:
        old, new = self.baseline.metrics.get(name), self.candidate.metrics.get(name)
        facts = {
            "metric": name,
            "unit": (old or new).unit,
            "baseline": _mean(old),
            "candidate": _mean(new),
        }
        if self.incomparable:
            return Row(**facts, status="not comparable")
        if old is None:
            return Row(**facts, status="new")
        reason = self._missing(old, new)
        if reason:
            return Row(**facts, status="missing", reason=reason)
        if not all(map(math.isfinite, new.values.values())):
            return Row(**facts, status="regression", reason="not a finite number")
        if not all(map(math.isfinite, old.values.values())):
            return Row(**facts, status="not comparable", reason="the baseline is no finite number")
        redefined = [
            f for f in ("definition", "unit", "better") if getattr(old, f) != getattr(new, f)
        ]
        if redefined:
            reason = f"its {' and '.join(redefined)} changed"
            return Row(**facts, status="not comparable", reason=reason)
        tolerance = self.tolerance(old, new)
        status, reason = self._moved(old, facts["candidate"] - facts["baseline"], tolerance)
        return Row(**facts, tolerance=tolerance, status=status, reason=reason)

    def tolerance(self, old: RecordedMetric, new: RecordedMetric) -> float:
        """Return how far the mean may move, by the rules at the head of this module."""
        values = list(old.values.values())
        size = abs(float(np.mean(values)))
        if self.repeatable:
            return ROUNDING * size
        if len(values) > 1:
            spread = float(np.std(values, ddof=1))
            half_width = student_t_half_width(spread, len(values))
            allowed = half_width * math.sqrt(1 + len(values) / len(new.values))
        elif "environment" in self.changed:
            allowed = self.margins.other_environment * size
        else:
            allowed = self.margins.same_environment * size
        return max(allowed, ROUNDING * size, self.margins.absolute)

    def _missing(self, old: RecordedMetric, new: RecordedMetric | None) -> str | None:
        if new is None or not new.values:
            if self.candidate.status == "failed":
                return f"the run failed: {self.candidate.reason}"
            return "the candidate lacks this metric"
        lacking = sorted(set(map(str, self.candidate.seeds)) - set(new.values), key=int)
        complete = len(old.values) == len(self.baseline.seeds)
        return f"no value for seed {lacking[0]}" if lacking and complete else None

    def _moved(self, old: RecordedMetric, by: float, tolerance: float) -> tuple[RowStatus, str]:
        if abs(by) <= tolerance:
            return "unchanged", ""
        if old.better == "neither":
            if self.explained:
                return "changed", "the metric has no better side"
            return "unexplained change", "no hash says what changed"
        if (by < 0) != (old.better == "lower"):
            return "regression", f"worse by {abs(by):.3g}, {tolerance:.3g} allowed"
        gain = f"better by {abs(by):.3g}, beyond {tolerance:.3g}"
        if not self.explained:
            return "unexplained gain", f"{gain}, and no hash says what changed"
        if self.accept_gain is None:
            return "unacknowledged gain", f"{gain}: accept it with a reason, or find the mistake"
        return "accepted gain", f"{gain}: {self.accept_gain}"


def _mean(metric: RecordedMetric | None) -> float | None:
    if metric is None or not metric.values:
        return None
    return float(np.mean(list(metric.values.values())))
