"""What the records of a study say of a claim, at each scale that was run.

An outcome rests on the 95 % interval of `repro.evaluation.estimates` and on a margin that was
written down before the run, so that few or scattered results cannot pass by being vague. A verdict
is an outcome at the paper's scale of a run that differs from the paper's in nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from repro.datasets.spec import PRESETS
from repro.errors import ReproError
from repro.evaluation.claims import Claim, Condition
from repro.evaluation.estimates import (
    FEWEST_SEEDS,
    Estimate,
    OfSamples,
    OfSeeds,
    estimate,
    lacking,
)
from repro.evaluation.metrics import MOST_SEEDS, Interval, student_t
from repro.evaluation.precision_pairs import shown_harmless
from repro.evaluation.protocol import OF_PRECISION, differing_fields
from repro.evaluation.records import Record

HOLDS: Final = "holds"
BETTER: Final = "better"
SHORT: Final = "falls short"
OPEN: Final = "open"
NOT_RUN: Final = "not run"
Status = Literal["holds", "better", "falls short", "open", "not run"]
VERDICTS = {HOLDS: "reproduced", BETTER: "better", SHORT: "below"}
PAPER = "paper"
SCALES = tuple(preset for preset in reversed(PRESETS) if preset != "smoke")  # the largest first
WORST_FIRST = (SHORT, OPEN, HOLDS, BETTER)


@dataclass(frozen=True)
class Outcome:
    """What the records say of a claim at one scale.

    Parameters
    ----------
    claim : str
        The claim's id.
    status : str
        ``holds``, ``better``, ``falls short``, ``open`` or ``not run``.
    reason : str
        Why, in one sentence with the numbers.
    preset : str
        The scale; empty if nothing was run.
    estimates : tuple of Estimate
        One a condition of the claim, the one that decides first.
    differs : dict
        In what the records differ from the paper's run, by place.
    notes : tuple of str
        What else a reader should know, such as a precision that was shown to be harmless.
    sources : tuple of Record
        The records behind the value.
    """

    claim: str
    status: Status
    reason: str
    preset: str = ""
    estimates: tuple[Estimate, ...] = ()
    differs: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sources: tuple[Record, ...] = ()

    @property
    def verdict(self) -> str:
        """``reproduced``, ``better`` or ``below``; empty where there is no verdict."""
        is_of_paper = self.preset == PAPER and not self.differs
        return VERDICTS.get(self.status, "") if is_of_paper else ""

    @property
    def word(self) -> str:
        """The verdict, or the outcome with its scale."""
        if self.verdict or not self.preset:
            return self.verdict or self.status
        return f"{self.status} at {self.preset}"

    @property
    def value(self) -> float | None:
        """The estimate that decides: mean over seeds; of an order, the smallest difference."""
        value = self.estimates[0].value if self.estimates else math.nan
        return value if math.isfinite(value) else None

    @property
    def interval(self) -> Interval | None:
        """Its 95 % interval, with both parts."""
        return self.estimates[0].interval if self.value is not None else None

    @property
    def of_samples(self) -> OfSamples | None:
        """The part of the interval that the test samples make."""
        return self.estimates[0].of_samples if self.estimates else None

    @property
    def of_seeds(self) -> OfSeeds | None:
        """The part of the interval that the seeds make."""
        return self.estimates[0].of_seeds if self.estimates else None

    @property
    def n_seeds(self) -> int:
        """The fewest seeds of the records behind it."""
        return min((len(record.seeds) for record in self.sources), default=0)


def judge(claim: Claim, records: Sequence[Record], lenders: Sequence[Record] = ()) -> Outcome:
    """Hold a claim against the records of its study, at the largest scale that was run.

    Parameters
    ----------
    claim : Claim
        The claim.
    records : sequence of Record
        Records of the study, of any variant, preset and experiment.
    lenders : sequence of Record
        Further records that are not judged, but may lend their spread over seeds.

    Raises
    ------
    ReproError
        If the records are of more than one study.
    """
    found = outcomes_by_scale(claim, records, lenders)
    return next(iter(found.values())) if found else _not_run(claim, records)


def outcomes_by_scale(
    claim: Claim, records: Sequence[Record], lenders: Sequence[Record] = ()
) -> dict[str, Outcome]:
    """Return the outcome of a claim at every scale that was run, by preset, the largest first.

    Parameters and errors are those of `judge`.
    """
    if len({record.study for record in records}) > 1:
        raise ReproError("A claim is judged by the records of its own study: pass those alone.")
    found = {}
    for preset in SCALES:
        used = best_records(claim, records, preset)
        if used is not None and not lacking(claim, used):
            found[preset] = _judged(claim, preset, used, [*records, *lenders])
    return found


def best_records(claim: Claim, records: Sequence[Record], preset: str) -> dict[str, Record] | None:
    """Return the best record of each of a claim's experiments; None where one has none."""
    found = {e: best_record(claim, e, records, preset) for e in claim.experiments}
    used = {experiment: record for experiment, record in found.items() if record is not None}
    return used if len(used) == len(found) else None


def best_record(
    claim: Claim, experiment: str, records: Iterable[Record], preset: str
) -> Record | None:
    """Return the record of a claim's variant that speaks for an experiment at a preset.

    One of the data set that the claim's protocol names, if it names one, that has what the claim
    asks for, which a run of some networks alone may lack; of these that which differs from the
    paper's run in least, then the one in float32, with most seeds, the later in the list.
    """

    def closeness(numbered: tuple[int, Record]) -> tuple:
        place, record = numbered
        tells = not lacking(claim, {experiment: record})
        differing = differing_fields(claim, experiment, record)
        return tells, -len(differing), record.in_float32, len(record.seeds), place

    candidates = [
        (place, record)
        for place, record in enumerate(records)
        if (record.status, record.variant) == ("ok", claim.variant)
        and (record.experiment, record.preset) == (experiment, preset)
        and is_of_data_asked(claim, record)
    ]
    return max(candidates, key=closeness)[1] if candidates else None


def is_of_data_asked(claim: Claim, record: Record) -> bool:
    """Whether a record is of the data set that a claim's protocol names, if it names one."""
    name = claim.data_name
    return name is None or (record.data is not None and record.data.name == name)


def decide(condition: Condition, interval: Interval, is_number: bool, better: str) -> Status:
    """Return what an interval says of a condition.

    Parameters
    ----------
    condition : Condition
        The condition.
    interval : tuple of float
        The 95 % interval of the value.
    is_number : bool
        Whether the condition has two sides, of which one is better.
    better : str
        ``"lower"`` or ``"higher"``.
    """
    low, high = interval
    if condition.floor <= low and high <= condition.ceiling:
        return HOLDS
    is_below, is_above = high < condition.floor, low > condition.ceiling
    if not (is_below or is_above):
        return OPEN
    return BETTER if is_number and is_below == (better == "lower") else SHORT


def _judged(
    claim: Claim, preset: str, used: dict[str, Record], records: Sequence[Record]
) -> Outcome:
    estimates = [estimate(claim, c, used, records) for c in claim.conditions]
    judged = [(_status(claim, e), e) for e in estimates]
    judged.sort(key=lambda pair: (WORST_FIRST.index(pair[0]), _margin_left(pair[1])))
    status, deciding = judged[0]
    differs, notes = _differences(claim, used, records)
    if deciding.of_seeds is not None and deciding.of_seeds.borrowed_from:
        n = deciding.of_seeds.n
        seeds = f"{n} seed{'s' if n > 1 else ''}"
        notes = (f"{seeds}, spread borrowed from {deciding.of_seeds.borrowed_from}", *notes)
    return Outcome(
        claim=claim.id,
        status=status,
        reason=_reason(claim, status, deciding),
        preset=preset,
        estimates=tuple(e for _, e in judged),
        differs=differs,
        notes=notes,
        sources=tuple(used.values()),
    )


def _status(claim: Claim, found: Estimate) -> Status:
    if not math.isfinite(found.value):
        return SHORT
    if found.interval is None:
        return OPEN
    return decide(found.condition, found.interval, claim.kind == "number", claim.better)


def _differences(
    claim: Claim, used: dict[str, Record], records: Sequence[Record]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return in what records differ from the paper's run, but for a precision without effect."""
    differs: dict[str, str] = {}
    notes: list[str] = []
    for experiment, record in used.items():
        fields = differing_fields(claim, experiment, record)
        of_precision = fields.keys() & set(OF_PRECISION)
        shown = shown_harmless(claim, record, records) if of_precision else ""
        if shown:
            notes.append(shown)
            fields = {place: text for place, text in fields.items() if place not in of_precision}
        whose = f"{experiment}: " if len(used) > 1 else ""
        differs |= {f"{whose}{place}": f"{whose}{text}" for place, text in fields.items()}
    return differs, tuple(notes)


def _not_run(claim: Claim, records: Sequence[Record]) -> Outcome:
    """Say why a claim has no outcome."""
    for experiment in claim.experiments:
        own = [
            r
            for r in records
            if (r.variant, r.experiment) == (claim.variant, experiment)
            and is_of_data_asked(claim, r)
        ]
        failed = [record for record in own if record.status == "failed"]
        succeeded = [record for record in own if record.status == "ok"]
        large = [record for record in succeeded if record.preset in SCALES]
        if large:
            continue
        if succeeded:
            reason = f"{experiment} was run at preset smoke alone, which says nothing of the paper"
        elif failed:
            reason = f"the run {failed[-1].label} failed: {failed[-1].reason}"
        else:
            of_data = f" on {claim.data_name}" if claim.data_name else ""
            reason = f"no record of the experiment {experiment}, variant {claim.variant}{of_data}"
        return Outcome(claim.id, NOT_RUN, reason)
    by_scale = [best_records(claim, records, preset) for preset in SCALES]
    reasons = [lacking(claim, used) for used in by_scale if used is not None]
    apart = "its experiments were run at different presets"
    return Outcome(claim.id, NOT_RUN, reasons[0] if reasons else apart)


# ---- in words


def _reason(claim: Claim, status: Status, found: Estimate) -> str:
    condition, names = found.condition, found.condition.metrics
    if not math.isfinite(found.value):
        return f"{names[0]} is not a finite number"
    if found.of_samples is None:
        return "its record does not tell how far the test samples leave it open: evaluate it again"
    stated = _stated(found)
    if len(names) == 2:
        least = f" by more than {condition.floor:.4g}" if condition.floor else ""
        what = f"{names[0]} exceeds {names[1]}{least}"
        stated = f"difference {stated}"
    elif claim.kind == "number":
        what = f"within {claim.reported:.4g} ± {claim.margin:.2g}"
    else:
        side = "at least" if math.isfinite(condition.floor) else "at most"
        what = f"{side} {claim.threshold:.4g}"
        what = f"{names[0]} {what}" if len(claim.metrics) > 1 else what
    if status == OPEN:
        return f"{stated} leaves open whether {what}; {_what_closes_it(claim, found)}"
    words = {HOLDS: "", BETTER: "better than ", SHORT: "not "}
    return f"{stated}: {words[status]}{what}"


def _stated(found: Estimate) -> str:
    if found.interval is None:
        return f"{found.value:.4g}"
    low, high = found.interval
    return f"{found.value:.4g} (95 % interval {low:.4g} to {high:.4g})"


def _what_closes_it(claim: Claim, found: Estimate) -> str:
    """Say how many more seeds, or test samples, would turn an open outcome into another."""
    samples = found.of_samples
    if samples is None:
        return "an evaluation that tells how far the test samples leave it open"
    if found.of_seeds is None:
        return _count(FEWEST_SEEDS - found.n_seeds, "more seed")
    room, reach = _room(found), max(samples.below, samples.above)
    if room <= 0:
        return "no number of seeds closes it: the value lies on the edge"
    if reach >= room:
        n = math.ceil(samples.n_units * ((reach / room) ** 2 - 1))
        return _count(n, f"more test {samples.unit}")
    runs = claim.reported_runs if claim.kind == "number" else None
    left = math.sqrt(room**2 - reach**2)
    wanted = _seeds_for(found.of_seeds.spread, left, runs)
    if wanted is None and found.of_seeds.borrowed_from:
        lacking_seeds = _count(FEWEST_SEEDS - found.of_seeds.n, "more seed")
        return f"{lacking_seeds} to tell the spread at this scale"
    if wanted is None:
        return f"over {MOST_SEEDS} more seeds at this spread"
    return _count(max(wanted - found.of_seeds.n, 1), "more seed")


def _seeds_for(spread: float, half_width: float, runs: int | None) -> int | None:
    """Return how many seeds of a spread bring their part of the interval down to a half width."""
    extra = 1 / runs if runs else 0.0
    counts = range(FEWEST_SEEDS, MOST_SEEDS + 1)
    return next(
        (n for n in counts if student_t(n - 1) * spread * math.sqrt(1 / n + extra) <= half_width),
        None,
    )


def _room(found: Estimate) -> float:
    """Return how far the value lies from the nearest edge of its condition."""
    return abs(_margin_left(found))


def _margin_left(found: Estimate) -> float:
    """Return how far the value lies within its condition; negative outside."""
    return min(found.value - found.condition.floor, found.condition.ceiling - found.value)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n > 1 else ''} needed"
