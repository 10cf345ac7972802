"""Whether a newer record is as good as an older one, metric by metric and all together.

A few primary metrics gate: those that the study's claims name. The gate fails (exit status 1)
where one of them regressed, gained for a reason that nobody acknowledged, or changed although no
hash says why; where all metrics together got worse; where training became much slower on the same
machine; and where any metric or seed disappeared, is no number, or has another metric's values.
All other metrics are watched: those that moved are listed, one in twenty of them wrongly
(Benjamini and Hochberg, J. R. Stat. Soc. B 57, 289 (1995)), and none fails alone. Records that
cannot be compared give exit status 2 and not 0: nothing was checked, so a pipeline must not go on
as if all were well. The figures are shown all the same, and the remedy is a new baseline record.

A metric may move by a tolerance before it counts as changed:

1. by rounding alone where environment, code, configuration, data and seeds are those of the
   baseline and operations repeat bit for bit;
2. else, with two or more baseline seeds, within the prediction interval for the mean of the
   candidate's seeds, so wide that a primary metric leaves it by chance in one of a hundred
   comparisons of records, however many there are (Bonferroni). It rests on the baseline's spread
   only, lest a candidate that collapses for one seed widen its own tolerance. Three seeds tell a
   spread poorly: it is moderated by that of metrics of its kind
   (Smyth, Stat. Appl. Genet. Mol. Biol. 3, 3 (2004));
3. with a single baseline seed, by a stated fraction of the baseline, smaller where the environment
   is the same.

Below what seeds scatter by nothing can be seen: where the mean shift of a seed has a standard
deviation s, no test that fails by chance as rarely as this one finds a shift by s in more than one
of eleven pairs of three seeds. Every comparison says by how much metrics may shift together.

No tolerance of 2 and 3 is below a floor: a fraction of the value, a fraction of what metrics of
its kind amount to where it is near zero, and one answer of a share of answers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from repro.errors import ReproError
from repro.evaluation.claims import Claim
from repro.evaluation.estimates import names_metric
from repro.evaluation.records import Record, RecordedMetric

PROTOCOL = ("study", "variant", "preset", "experiment")
ROUNDING = 1e-6  # relative
# How often one of the primary metrics, and all metrics together, fail by chance.
CHANCE_PRIMARY, CHANCE_JOINT = 0.01, 0.005
FALSE_DISCOVERIES = 0.05  # among the watched metrics that are listed
# Of a value. Records of strain_ae made by one configuration on three processors differ by less in
# 19 of 20 metrics; see `test_tolerances_cover_what_another_processor_moves`.
FLOOR = 0.005
NEAR_ZERO = 0.01  # of the median size of metrics of the same kind
# Seeds that the spread of other metrics counts for; with 2 to 4, up to 12 % of null pairs
# failed, since some metrics scatter more than their kind.
MODERATION = 1
FEWEST_OF_A_KIND = 3
FEWEST_JOINT = 3  # metrics
JOINT_FLOOR = 0.002  # standard deviation over seeds of the mean shift, relative
SLOWER = 1.5  # training on a machine that others may share

Status = Literal["passed", "failed", "not comparable"]
RowStatus = Literal[
    "unchanged",
    "regression",
    "missing",
    "swapped",
    "unexplained gain",
    "unacknowledged gain",
    "accepted gain",
    "changed",
    "unexplained change",
    "new",
    "not comparable",
    "worse, watched",
    "better, watched",
    "changed, watched",
]
FAILURES = (
    "regression",
    "missing",
    "swapped",
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
    primary : bool
        Whether it gates.
    """

    metric: str
    unit: str
    status: RowStatus
    reason: str = ""
    baseline: float | None = None
    candidate: float | None = None
    tolerance: float | None = None
    primary: bool = True

    @property
    def by(self) -> float:
        """By how much the mean rose, in ``unit``; NaN where a record lacks it."""
        if self.baseline is None or self.candidate is None:
            return math.nan
        return self.candidate - self.baseline


@dataclass(frozen=True)
class Joint:
    """How far many metrics together moved to the worse side.

    Parameters
    ----------
    metrics : str
        Which: ``"trained"``, those that scatter over seeds, or ``"repeated"``, those that do not,
        such as what a simpler method reaches. The many of one sort must not hide the other.
    worse : float
        Mean shift to the worse side, each metric in parts of its value and weighted by how well it
        repeats.
    tolerance : float
        The shift that fails.
    n_metrics : int
        How many metrics were taken together.
    """

    metrics: Literal["trained", "repeated"]
    worse: float
    tolerance: float
    n_metrics: int

    @property
    def fails(self) -> bool:
        """Whether they are worse together."""
        return self.worse > self.tolerance


@dataclass(frozen=True)
class Speed:
    """How fast training was: samples of all networks over their time [samples/s].

    Parameters
    ----------
    baseline, candidate : float
        [samples/s]
    same_machine : bool
        Whether processor, accelerator, software and settings are the same; else it cannot fail.
    """

    baseline: float
    candidate: float
    same_machine: bool

    @property
    def fails(self) -> bool:
        """Whether training became much slower on the same machine."""
        return self.same_machine and self.candidate * SLOWER < self.baseline


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
    joint : tuple of Joint
        The trained metrics together, and the repeated ones; neither where there are too few.
    speed : Speed, optional
        None where a record has no time of training.
    """

    rows: tuple[Row, ...]
    status: Status
    exit_status: int
    differences: tuple[str, ...]
    changed: tuple[str, ...]
    accepted: str = ""
    carried: tuple[str, ...] = ()
    joint: tuple[Joint, ...] = ()
    speed: Speed | None = None

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that fail the gate."""
        return tuple(row for row in self.rows if row.status in FAILURES)

    @property
    def moved(self) -> tuple[Row, ...]:
        """The rows whose metric is not what it was."""
        return tuple(row for row in self.rows if row.status != "unchanged")


def primary_metrics(record: Record, claims: Iterable[Claim]) -> tuple[str, ...]:
    """Return the metrics of a record that gate: those that claims of its study name.

    Claims on other variants and experiments count too, since ours are measured alike. Where none of
    the metrics is in the record, all of its metrics gate.
    """
    patterns = {claim.place_of(name)[1] for claim in claims for name in claim.metrics}
    found = [m for m in record.metrics if any(names_metric(pattern, m) for pattern in patterns)]
    return tuple(found or record.metrics)


def compare(
    baseline: Record,
    candidate: Record,
    accept_gain: str | None = None,
    margins: Margins = Margins(),
    primary: Collection[str] | None = None,
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
    primary : collection of str, optional
        The metrics that gate, by default all; see `primary_metrics`.

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
    gating = frozenset(baseline.metrics if primary is None else primary)
    pair = _Pair(baseline, candidate, accept_gain, margins, bool(differences), gating)
    names = list(dict.fromkeys([*baseline.metrics, *candidate.metrics]))
    rows = pair.rows(names)
    joint = () if differences else tuple(pair.joint(rows))
    speed = None if differences else _speed(baseline, candidate)
    failing = any(found.fails for found in joint) or (speed is not None and speed.fails)
    status: Status = "failed" if failing else _status(rows, differences)
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
        joint=joint,
        speed=speed,
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


def _status(rows: tuple[Row, ...], differences: tuple[str, ...]) -> Status:
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
    primary: frozenset[str]

    @cached_property
    def spreads(self) -> dict[str, _Spread]:
        """The spread of every metric of the baseline that has one."""
        return _spreads(self.baseline)

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

    def rows(self, names: list[str]) -> tuple[Row, ...]:
        """Return what became of each metric; among the watched ones, false discoveries are few."""
        rows = [replace(self.row(name), primary=name in self.primary) for name in names]
        watched = [
            i
            for i, row in enumerate(rows)
            if not row.primary and row.tolerance is not None and row.by
        ]
        n_tried = sum(not row.primary and row.tolerance is not None for row in rows)
        chances = {i: self.chance(rows[i]) for i in watched}
        moved = _discoveries(chances, n_tried)
        for i, row in enumerate(rows):
            if not row.primary and row.tolerance is not None:
                status = self._watched(row) if i in moved else "unchanged"
                rows[i] = replace(row, status=status, reason="")
        for i, row in enumerate(rows):
            if row.metric in self.swapped and row.tolerance is not None:
                reason = f"it has the values of {self.swapped[row.metric]}, to the last bit"
                rows[i] = replace(row, status="swapped", reason=reason)
        return tuple(rows)

    @cached_property
    def swapped(self) -> dict[str, str]:
        """Metrics that took each other's values: the one whose values each has."""
        old, new = ({n: m.values for n, m in one.metrics.items()} for one in self._both)
        common = old.keys() & new.keys()
        moved = {name for name in common if old[name] != new[name]}
        holders = {tuple(sorted(old[name].items())): name for name in moved}
        taken = {name: holders.get(tuple(sorted(new[name].items()))) for name in moved}
        return {name: other for name, other in taken.items() if other and taken[other] == name}

    @property
    def _both(self) -> tuple[Record, Record]:
        return self.baseline, self.candidate

    def _watched(self, row: Row) -> RowStatus:
        better = self.baseline.metrics[row.metric].better
        if better == "neither":
            return "changed, watched"
        worse = (row.by < 0) != (better == "lower")
        return "worse, watched" if worse else "better, watched"

    def chance(self, row: Row) -> float:
        """Return how likely chance moves a metric as far, or 0 and 1 where no spread tells."""
        by, spread = abs(row.by), self.spreads.get(row.metric)
        if self.repeatable or spread is None:
            return float(row.tolerance is not None and by <= row.tolerance)
        if by <= spread.floor:
            return 1.0
        error = spread.of_seeds * self._of_means(row.metric)
        return 2 * _tail(by / error, spread.freedom) if error > 0 else 0.0

    def _of_means(self, name: str) -> float:
        """Return by what a spread over seeds becomes that of the difference of two means."""
        old, new = self.baseline.metrics[name], self.candidate.metrics[name]
        return math.sqrt(1 / len(old.values) + 1 / len(new.values))

    def joint(self, rows: tuple[Row, ...]) -> Iterator[Joint]:
        """Hold many metrics together against chance, those that scatter and those that repeat."""
        parts = [row.metric for row in rows if row.tolerance is not None and self._scores(row)]
        for metrics in () if self.repeatable else ("trained", "repeated"):
            chosen = [n for n in parts if (self.spreads[n].of_seeds > 0) == (metrics == "trained")]
            if len(chosen) >= FEWEST_JOINT:
                yield Joint(metrics, *self._shift(chosen), len(chosen))

    def _scores(self, row: Row) -> bool:
        """Whether a metric has a worse side, a nonzero value, a number for each seed."""
        return (
            self.baseline.metrics[row.metric].better != "neither"
            and row.metric in self.spreads
            and row.baseline != 0
            and all(len(one.metrics[row.metric].values) == len(one.seeds) for one in self._both)
        )

    def _shift(self, names: list[str]) -> tuple[float, float]:
        """Return by how much metrics are worse together, and what may be.

        A seed's score is the mean of its metrics' shifts to the worse side. Seeds are independent
        of one another where metrics are not, so that Student's t test of the scores holds.
        """
        weights: list[float] = []
        shifts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for name in names:
            old, spread = _values(self.baseline, name), self.spreads[name]
            mean = float(np.mean(old))
            worse = 1 if self.baseline.metrics[name].better == "lower" else -1
            weights.append((mean / max(spread.of_seeds, spread.floor)) ** 2)
            for record, found in zip(self._both, shifts, strict=True):
                found.append(worse * (_values(record, name) - mean) / abs(mean))
        old, new = (np.average(found, axis=0, weights=weights) for found in shifts)
        freedom = len(old) + len(new) - 2
        squares = sum(float(np.sum((scores - np.mean(scores)) ** 2)) for scores in (old, new))
        of_seeds = max(math.sqrt(squares / freedom), JOINT_FLOOR)
        allowed = _quantile(1 - CHANCE_JOINT, freedom) * of_seeds
        return float(np.mean(new)), allowed * math.sqrt(1 / len(old) + 1 / len(new))

    def row(self, name: str) -> Row:
        """Return what became of a metric that at least one of the records has."""
        old, new = self.baseline.metrics.get(name), self.candidate.metrics.get(name)
        unit = next(metric.unit for metric in (old, new) if metric is not None)
        plain = Row(name, unit, "not comparable", baseline=_mean(old), candidate=_mean(new))
        if self.incomparable:
            return plain
        if old is None:
            return replace(plain, status="new")
        reason = self._missing(old, new)
        if new is None or reason:
            return replace(plain, status="missing", reason=reason)
        if not all(map(math.isfinite, new.values.values())):
            if name not in self.primary and _to_the_last_bit(old) == _to_the_last_bit(new):
                return replace(plain, status="unchanged", reason="no finite number, as before")
            return replace(plain, status="regression", reason="not a finite number")
        if not all(map(math.isfinite, old.values.values())):
            return replace(plain, reason="the baseline is no finite number")
        redefined = [
            f for f in ("definition", "unit", "better") if getattr(old, f) != getattr(new, f)
        ]
        if redefined:
            return replace(plain, reason=f"its {' and '.join(redefined)} changed")
        tolerance = self.tolerance(name, old)
        status, reason = self._moved(old, plain.by, tolerance)
        return replace(plain, tolerance=tolerance, status=status, reason=reason)

    def tolerance(self, name: str, old: RecordedMetric) -> float:
        """Return how far the mean may move, by the rules at the head of this module."""
        size = abs(float(np.mean(list(old.values.values()))))
        if self.repeatable:
            return ROUNDING * size
        spread = self.spreads.get(name)
        if spread is not None:
            quantile = _quantile(1 - CHANCE_PRIMARY / 2 / max(len(self.primary), 1), spread.freedom)
            allowed = max(quantile * spread.of_seeds * self._of_means(name), spread.floor)
        elif "environment" in self.changed:
            allowed = self.margins.other_environment * size
        else:
            allowed = self.margins.same_environment * size
        return max(allowed, ROUNDING * size, self.margins.absolute)

    def _missing(self, old: RecordedMetric, new: RecordedMetric | None) -> str:
        if new is None or not new.values:
            if self.candidate.status == "failed":
                return f"the run failed: {self.candidate.reason}"
            return "the candidate lacks this metric"
        lacking = sorted(set(map(str, self.candidate.seeds)) - set(new.values), key=int)
        complete = len(old.values) == len(self.baseline.seeds)
        return f"no value for seed {lacking[0]}" if lacking and complete else ""

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


@dataclass(frozen=True)
class _Spread:
    """Spread of a metric over seeds, moderated; how well it is known; the smallest tolerance."""

    of_seeds: float
    freedom: float
    floor: float


def _spreads(record: Record) -> dict[str, _Spread]:
    """Return the spread of every metric that has two seeds or more and finite numbers."""
    values = {name: _values(record, name) for name in record.metrics}
    values = {n: v for n, v in values.items() if len(v) > 1 and np.all(np.isfinite(v))}
    kinds: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in values:
        kinds[_kind(name, record.metrics[name])].append(name)
    variances = {name: _variance(v) for name, v in values.items()}
    sizes = {name: abs(float(np.mean(v))) for name, v in values.items()}
    relative = {n: v / sizes[n] ** 2 for n, v in variances.items() if sizes[n] and v}
    typical = float(np.median(list(relative.values()))) if relative else 0.0
    found = {}
    for names in kinds.values():
        spread_out = [name for name in names if variances[name] > 0]
        size_of_kind = float(np.median([sizes[name] for name in names]))
        for name in names:
            own, freedom = variances[name], len(values[name]) - 1
            others = [variances[other] for other in spread_out if other != name]
            if own > 0 and len(others) + 1 >= FEWEST_OF_A_KIND:
                prior, counts = float(np.mean(others)), min(MODERATION, len(others))
            elif own > 0 and len(relative) >= FEWEST_OF_A_KIND:
                prior, counts = typical * sizes[name] ** 2, MODERATION
            else:
                prior, counts = 0.0, 0
            moderated = (freedom * own + counts * prior) / (freedom + counts)
            floor = max(FLOOR * sizes[name], NEAR_ZERO * size_of_kind, _one_answer(record, name))
            found[name] = _Spread(math.sqrt(moderated), freedom + counts, floor)
    return found


def _kind(name: str, metric: RecordedMetric) -> tuple[str, ...]:
    """Return what metrics have in common that scatter alike: their first word and their unit."""
    return name.partition("/")[0], metric.unit, metric.better


def _variance(values: np.ndarray) -> float:
    # Rounding of the mean would leave 1e-32 of equal values.
    return float(np.var(values, ddof=1)) if np.ptp(values) > 0 else 0.0


def _one_answer(record: Record, name: str) -> float:
    """Return what one answer of a share of right answers amounts to, mean over seeds."""
    sampled = record.metrics[name].sampled
    if sampled is None or not sampled.is_share:
        return 0.0
    return 1 / (sampled.n_samples * len(record.metrics[name].values))


def _discoveries(chances: dict[int, float], n_tried: int) -> set[int]:
    """Return which of several tests tell something, by Benjamini and Hochberg's procedure."""
    ranked = sorted(chances, key=lambda i: chances[i])
    kept = [
        rank
        for rank, i in enumerate(ranked, start=1)
        if chances[i] <= FALSE_DISCOVERIES * rank / n_tried
    ]
    return set(ranked[: max(kept, default=0)])


@lru_cache(maxsize=1024)
def _quantile(probability: float, freedom: float) -> float:
    from scipy.special import stdtrit  # takes half of what importing a study takes

    return float(stdtrit(freedom, probability))


def _tail(t: float, freedom: float) -> float:
    """Return how likely Student's t exceeds a value."""
    from scipy.special import stdtr

    return float(stdtr(freedom, -t))


def _values(record: Record, name: str) -> np.ndarray:
    return np.array(list(record.metrics[name].values.values()))


def _speed(baseline: Record, candidate: Record) -> Speed | None:
    old, new = training_speed(baseline), training_speed(candidate)
    if old is None or new is None:
        return None
    return Speed(old, new, _same(baseline, candidate, "environment"))


def training_speed(record: Record) -> float | None:
    """Return samples of all trainings of a run over their time [samples/s]; None without one."""
    trained = [
        (timing.wall_s, timing.samples_per_s)
        for stage, timing in record.timings.items()
        if stage.startswith("train ") and timing.samples_per_s
    ]
    seconds = sum(wall for wall, _ in trained)
    return sum(wall * rate for wall, rate in trained) / seconds if seconds else None


def _mean(metric: RecordedMetric | None) -> float | None:
    if metric is None or not metric.values:
        return None
    return float(np.mean(list(metric.values.values())))
