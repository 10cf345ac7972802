"""The claims as rows, for markdown and JSON, and the summary of all records."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.errors import ReproError
from repro.evaluation.metrics import student_t_interval
from repro.evaluation.outcomes import NOT_RUN, VERDICTS, judge, outcomes_by_scale
from repro.evaluation.power import power
from repro.reporting import formatting as write
from repro.reporting.labels import order_label
from repro.reporting.markers import markers, with_between

if TYPE_CHECKING:
    from repro.evaluation.claims import Claim
    from repro.evaluation.estimates import OfSamples
    from repro.evaluation.metrics import Interval
    from repro.evaluation.outcomes import Outcome
    from repro.evaluation.records import Record
    from repro.study import Study

NAME = "claims"  # in the markers of the README
BEGIN, END = markers(NAME)
OLDER = "older code"  # what made a record that is not of today's
OURS = "improved"  # the variant that is ours
MOST_UNTOLD = 8  # claims of a study without any run that are not folded away
SUMMARY_COLUMNS = (
    "study", "variant", "preset", "experiment", "status", "metric", "unit", "better", "seeds",
    "mean", "interval_low", "interval_high", "smallest", "largest", "record",
)  # fmt: skip

Entries = list[tuple[Path, "Record"]]


@dataclass(frozen=True)
class ClaimRow:
    """A claim with what the records say of it.

    Parameters
    ----------
    study, claim, statement, where, kind, unit : str
        The claim, as its study states it.
    reported, margin : float or None
        The paper's number and how far from it still counts as the same, in ``unit``.
    better : str
        Which way is better, ``"lower"`` or ``"higher"``.
    reported_text : str
        The paper's side in words or digits.
    value, interval : float and tuple, or None
        What the claim's variant gives: mean over seeds and its 95 % interval, in ``unit``.
    of_samples, of_seeds : float or None
        The two parts of the interval, as half widths.
    value_text, parts_text, scale : str
        The same in digits; what the interval is made of; at which preset.
    n_seeds : int
        How many seeds stand behind the value.
    ours_text, ours_scale : str
        What our own variant gives for the same metric, and at which preset.
    preset : str or None
        The preset of the run behind the value.
    status, verdict, word, symbol, reason : str
        The outcome; the verdict it amounts to, if any; both in a word.
    scales : dict
        The outcome at every preset that was run.
    differs : list of str
        In what the run differs from the paper's.
    notes : list of str
        What else a reader should know.
    power : dict or None
        Probability that the protocol recognises a run with the reported value, ``recognised``, and
        that it mistakes one two margins away for it, ``mistaken``.
    commands : list of str
        What was run, or what to run.
    records : list of str
        The records behind the value, relative to the page.
    stale, ours_stale : bool
        Whether another code than today's made a record behind the value, or behind ours.
    """

    study: str
    claim: str
    statement: str
    where: str
    kind: str
    unit: str
    reported: float | None
    margin: float | None
    better: str
    reported_text: str
    value: float | None
    interval: tuple[float, float] | None
    of_samples: float | None
    of_seeds: float | None
    value_text: str
    parts_text: str
    scale: str
    n_seeds: int
    ours_text: str
    ours_scale: str
    preset: str | None
    status: str
    verdict: str
    word: str
    symbol: str
    reason: str
    scales: dict[str, str]
    differs: list[str]
    notes: list[str]
    power: dict[str, float] | None
    commands: list[str]
    records: list[str]
    stale: bool = False
    ours_stale: bool = False

    @property
    def reported_label(self) -> str:
        """The paper's side for a reader: an order names its metrics in words, not by keys."""
        keys = self.reported_text.split(" > ")
        return order_label(keys) if self.kind == "order" else self.reported_text

    @property
    def behind(self) -> str:
        """At which preset the value was found, and what its interval is made of."""
        return "; ".join(filter(None, (self.scale, self.parts_text)))

    @property
    def age(self) -> str:
        """That another code made the value; empty if today's did."""
        return OLDER if self.stale else ""

    @property
    def ours_age(self) -> str:
        """The same of ours."""
        return OLDER if self.ours_stale else ""

    @property
    def power_text(self) -> str:
        """The claim's power in words."""
        return power_text(self.power)


def power_text(power: dict[str, Any] | None) -> str:
    """Write what a claim's protocol can tell."""
    if power is None:
        return "power unknown"
    return f"power {power['recognised']:.2f}, mistaken {power['mistaken']:.2f}"


def select(
    rows: list[ClaimRow], study: str | None = None, status: str | None = None
) -> list[ClaimRow]:
    """Return the rows of one study, with one outcome, or both.

    Raises
    ------
    ReproError
        If no study or no outcome has this name.
    """
    words = set(write.STATUSES) | set(VERDICTS.values())
    for asked, known in ((study, {row.study for row in rows}), (status, words)):
        if asked is not None and asked not in known:
            raise ReproError(f"There is no {asked!r}: choose one of {', '.join(sorted(known))}.")
    return [
        row
        for row in rows
        if study in (None, row.study) and status in (None, row.status, row.verdict)
    ]


def numbered_reasons(rows: list[ClaimRow]) -> dict[str, int]:
    """Number the reasons of some rows from 1, each once, so that rows can refer to them."""
    reasons = dict.fromkeys(row.reason for row in rows)
    return {reason: i for i, reason in enumerate(reasons, start=1)}


def scale_notes(rows: list[ClaimRow]) -> list[str]:
    """Say once for the claims of a study in what the runs at each smaller preset differ."""
    notes = []
    for preset in dict.fromkeys(row.preset for row in rows if row.differs and row.preset):
        texts = [text for row in rows if row.preset == preset for text in row.differs]
        own = dict.fromkeys(shortened(text) for text in texts)
        notes.append(f"{preset} differs from the paper's run: {', '.join(own)}")
    return notes


def shortened(difference: str) -> str:
    """Name a field that differs by its last part, and the network if it is not every one."""
    text = difference.rpartition(": ")[2]
    place, _, rest = text.partition(" ")
    head, *others = place.split(".")
    name = others[-1] if others else head
    network = others[0] if head == "networks" else "*"
    return f"{name} {rest}" if network == "*" else f"{name} of {network} {rest}"


def relative(path: Path, base: Path) -> str:
    """Return a path as seen from a folder, with forward slashes."""
    return Path(os.path.relpath(path, base)).as_posix()


def claim_rows(
    study: Study, entries: Entries, base: Path, stale: Collection[Path] = ()
) -> list[ClaimRow]:
    """Judge every claim of a study by the records of that study.

    Parameters
    ----------
    study : Study
        The study with its claims.
    entries : list
        Paths and records, of any study.
    base : Path
        The folder to which the paths of records are relative.
    stale : collection of Path
        Records that another code than today's made.
    """
    own = [(path, record) for path, record in entries if record.study == study.name]
    return [claim_row(study.name, claim, own, base, stale) for claim in study.claims.claims]


def claim_row(
    study: str, claim: Claim, entries: Entries, base: Path, stale: Collection[Path] = ()
) -> ClaimRow:
    """Put a claim, its outcome and the records behind it into one row."""
    records = [record for _, record in entries]
    outcome, told = judge(claim, records), power(claim, records)
    paths = {id(record): path for path, record in entries}
    ours = judge(claim.model_copy(update={"variant": OURS}), records)
    return ClaimRow(
        study=study,
        claim=claim.id,
        statement=claim.statement,
        where=claim.where,
        kind=claim.kind,
        unit=claim.unit,
        reported=claim.reported,
        margin=claim.margin,
        better=claim.better,
        reported_text=reported_text(claim),
        value=outcome.value,
        interval=outcome.interval,
        of_samples=half(outcome.of_samples),
        of_seeds=None if outcome.of_seeds is None else outcome.of_seeds.half_width,
        value_text=value_text(claim, outcome.value, outcome.interval),
        parts_text=parts_text(outcome),
        scale=outcome.preset,
        n_seeds=outcome.n_seeds,
        ours_text=value_text(claim, ours.value, ours.interval),
        ours_scale=scale_text(ours.preset, ours.n_seeds),
        preset=outcome.preset or None,
        status=outcome.status,
        verdict=outcome.verdict,
        word=outcome.word,
        symbol=write.STATUSES[outcome.status].symbol,
        reason=outcome.reason,
        scales={preset: o.status for preset, o in outcomes_by_scale(claim, records).items()},
        differs=list(outcome.differs.values()),
        notes=list(outcome.notes),
        power=None if told is None else asdict(told),
        commands=commands_of(outcome.sources) or [suggested_command(study, claim)],
        records=[relative(paths[id(record)], base) for record in outcome.sources],
        stale=any(paths[id(record)] in stale for record in outcome.sources),
        ours_stale=any(paths[id(record)] in stale for record in ours.sources),
    )


def commands_of(records: Iterable[Record]) -> list[str]:
    """Return what to type for some records, what makes the file that a run takes before it."""
    return [command for r in records for command in (r.data_command, r.command) if command]


def scale_text(preset: str, n_seeds: int) -> str:
    """Write at which preset a value was found, with how many seeds; empty if at none."""
    return f"{preset}, {write.count(n_seeds, 'seed')}" if preset else ""


def half(part: OfSamples | None) -> float | None:
    """Return half the width of the part of an interval that the samples make."""
    return None if part is None else (part.below + part.above) / 2


def parts_text(outcome: Outcome) -> str:
    """Write what an interval is made of: the test samples and the seeds."""
    if outcome.value is None:
        return ""
    samples, seeds = outcome.of_samples, outcome.of_seeds
    texts = []
    if samples is None:
        texts.append("test samples unknown")
    elif samples.n_units:
        width = write.half_width((samples.below + samples.above) / 2)
        texts.append(f"{write.count(samples.n_units, samples.unit)} ± {width}")
    if seeds is None:
        texts.append("seeds unknown")
    else:
        borrowed = "spread borrowed, " if seeds.borrowed_from else ""
        width = write.half_width(seeds.half_width)
        texts.append(f"{borrowed}{write.count(seeds.n, 'seed')} ± {width}")
    return "; ".join(texts)


def suggested_command(study: str, claim: Claim) -> str:
    """Return the command whose record can answer a claim."""
    seeds = ",".join(map(str, range(claim.seeds)))
    which = f"--variant {claim.variant} --preset {claim.preset} --experiment {claim.experiment}"
    is_read = claim.data_name not in (None, study)
    return f"repro run {study} {which} --seeds {seeds}{' --data FILE' if is_read else ''}"


def reported_text(claim: Claim) -> str:
    """Write the paper's side of a claim: a number, a bound or an order."""
    if claim.kind == "order":
        return " > ".join(claim.metrics)
    sign = {"lower": "≤ ", "higher": "≥ "}[claim.better] if claim.kind == "bound" else ""
    if claim.limit is not None:  # the number is our reading, not the paper's
        read_as = write.with_unit(write.reported_number(claim.limit), claim.unit)
        return f"in words, read as {sign}{read_as}"
    return sign + write.with_unit(write.reported_number(claim.reported), claim.unit)


def value_text(claim: Claim, value: float | None, interval: Interval | None) -> str:
    """Write a value of a claim; of an order, by how much the first exceeds the second."""
    if value is None:
        return write.MISSING
    text = write.with_unit(write.estimate(value, interval), claim.unit)
    if claim.each and len(claim.each) > 1:
        return f"{text} in the worst case"
    if claim.kind != "order":
        return text
    return f"by {text}" if len(claim.metrics) == 2 else f"each by at least {text}"


def json_rows(rows: list[ClaimRow]) -> list[dict[str, Any]]:
    """Return the rows as plain dictionaries, numbers as numbers."""
    return [asdict(row) for row in rows]


def markdown_table(rows: list[ClaimRow], titles: dict[str, str] | None = None) -> str:
    """Write the claims as markdown tables, one a study; many without any run are only counted.

    Parameters
    ----------
    rows : list of ClaimRow
        The rows in their order.
    titles : dict, optional
        Headings by study.
    """
    blocks = []
    for study in dict.fromkeys(row.study for row in rows):
        lines = [
            f"**{markdown_cell((titles or {}).get(study, study))}**",
            "",
            "| Claim | Where | Reported | Faithful, 95 % interval | Ours | Outcome |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        shown, folded = told_apart([row for row in rows if row.study == study])
        lines += [markdown_row(row) for row in shown]
        if folded:
            lines += [
                "",
                f"{len(folded)} more claims have no run yet: `repro claims --study {study}`.",
            ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "No claims yet."


def told_apart(rows: list[ClaimRow]) -> tuple[list[ClaimRow], list[ClaimRow]]:
    """Return the claims of a study to show, and those to fold away: many without any run."""
    untold = [row for row in rows if row.status == NOT_RUN and not row.ours_scale]
    folded = untold if len(untold) > MOST_UNTOLD else []
    return [row for row in rows if row not in folded], folded


def markdown_row(row: ClaimRow) -> str:
    """Write one claim as a row of a markdown table."""
    faithful = f"{row.value_text} ({row.behind})" if row.behind else row.value_text
    ours = f"{row.ours_text} ({row.ours_scale})" if row.ours_scale else row.ours_text
    outcome = f"{row.symbol} {row.word}"
    cells = (row.statement, row.where, row.reported_label, faithful, ours, outcome)
    return f"| {' | '.join(map(markdown_cell, cells))} |"


def markdown_cell(text: str) -> str:
    """Write a text so that it stays in its cell and means what it says."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", one_line)


def readme_text(path: Path, rows: list[ClaimRow], titles: dict[str, str] | None = None) -> str:
    """Return a README's text with the table of claims between its markers.

    Parameters
    ----------
    path : Path
        The README.
    rows : list of ClaimRow
        The claims.
    titles : dict, optional
        Headings by study.

    Raises
    ------
    ReproError
        If the file cannot be read, or the two markers are not there once each, in order.
    """
    return with_between(path, NAME, markdown_table(rows, titles), "the table of claims")


def summary_rows(entries: Entries, base: Path) -> list[dict[str, Any]]:
    """Return a row for each metric of each record; a record without metrics has one row.

    Parameters
    ----------
    entries : list
        Paths and records.
    base : Path
        The folder to which the paths of records are relative.
    """
    rows = []
    for path, record in sorted(entries, key=lambda entry: relative(entry[0], base)):
        shared = {
            key: getattr(record, key)
            for key in ("study", "variant", "preset", "experiment", "status")
        } | {"seeds": len(record.seeds), "record": relative(path, base)}
        metrics = record.metrics.items() or [("", None)]
        rows += [shared | metric_columns(name, metric) for name, metric in metrics]
    return rows


def metric_columns(name: str, metric: Any) -> dict[str, Any]:
    """Return the columns of the summary that a metric fills."""
    if metric is None or not metric.values:
        return {"metric": name}
    values = list(metric.values.values())
    low, high = student_t_interval(values) or ("", "")
    return {
        "metric": name,
        "unit": metric.unit,
        "better": metric.better,
        "seeds": len(values),
        "mean": float(np.mean(values)),
        "interval_low": low,
        "interval_high": high,
        "smallest": min(values),
        "largest": max(values),
    }


def summary_text(entries: Entries, base: Path) -> str:
    """Return ``summary.csv``: every metric of every record; the same records, the same text.

    Parameters
    ----------
    entries, base
        As `summary_rows` takes them.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, SUMMARY_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary_rows(entries, base))
    return buffer.getvalue()
