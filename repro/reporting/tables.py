"""The claims as rows, for markdown and JSON, and the summary of all records."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.errors import ReproError
from repro.evaluation.metrics import student_t_interval
from repro.evaluation.verdicts import judge
from repro.files import write_text
from repro.reporting import formatting as write
from repro.reporting.labels import order_label
from repro.reporting.markers import markers, put_between

if TYPE_CHECKING:
    from repro.evaluation.claims import Claim
    from repro.evaluation.records import Record, Verdict
    from repro.study import Study

NAME = "claims"  # in the markers of the README
BEGIN, END = markers(NAME)
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
        Our mean over seeds and its 95 % interval, in ``unit``.
    ours_text, scale : str
        The same in digits; how many seeds, at which preset.
    seeds : list of int
        The seeds behind the value.
    preset : str or None
        The preset of the run behind the value.
    status, symbol, reason : str
        The verdict.
    commands : list of str
        What was run, or what to run.
    records : list of str
        The records behind the value, relative to the page.
    source : str
        The same by study, variant, preset and experiment.
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
    ours_text: str
    scale: str
    seeds: list[int]
    preset: str | None
    status: str
    symbol: str
    reason: str
    commands: list[str]
    records: list[str]
    source: str

    @property
    def reported_label(self) -> str:
        """The paper's side for a reader: an order names its metrics in words, not by keys."""
        keys = self.reported_text.split(" > ")
        return order_label(keys) if self.kind == "order" else self.reported_text

    @property
    def is_judged(self) -> bool:
        """Whether the claim has a verdict, and not only a number or none."""
        return self.status not in ("not comparable", "not run")


def select(
    rows: list[ClaimRow], study: str | None = None, status: str | None = None
) -> list[ClaimRow]:
    """Return the rows of one study, with one verdict, or both.

    Raises
    ------
    ReproError
        If no study or no verdict has this name.
    """
    for asked, known in ((study, {row.study for row in rows}), (status, set(write.STATUSES))):
        if asked is not None and asked not in known:
            raise ReproError(f"There is no {asked!r}: choose one of {', '.join(sorted(known))}.")
    return [row for row in rows if row.study == (study or row.study)
            and row.status == (status or row.status)]  # fmt: skip


def numbered_reasons(rows: list[ClaimRow]) -> dict[str, int]:
    """Number the reasons of some rows from 1, each once, so that rows can refer to them."""
    reasons = dict.fromkeys(row.reason for row in rows)
    return {reason: i for i, reason in enumerate(reasons, start=1)}


def relative(path: Path, base: Path) -> str:
    """Return a path as seen from a folder, with forward slashes."""
    return Path(os.path.relpath(path, base)).as_posix()


def claim_rows(study: Study, entries: Entries, base: Path) -> list[ClaimRow]:
    """Judge every claim of a study by the records of that study.

    Parameters
    ----------
    study : Study
        The study with its claims.
    entries : list
        Paths and records, of any study.
    base : Path
        The folder to which the paths of records are relative.
    """
    own = [(path, record) for path, record in entries if record.study == study.name]
    records = [record for _, record in own]
    return [
        claim_row(study.name, claim, judge(claim, records), own, base)
        for claim in study.claims.claims
    ]


def claim_row(study: str, claim: Claim, verdict: Verdict, entries: Entries, base: Path) -> ClaimRow:
    """Put a claim, its verdict and the records behind it into one row."""
    sources = source_entries(verdict, entries)
    presets = list(dict.fromkeys(record.preset for _, record in sources))
    made_by = list(dict.fromkeys(f"{record.variant}, {record.preset}" for _, record in sources))
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
        value=verdict.value,
        interval=verdict.interval,
        ours_text=ours_text(claim, verdict),
        scale=", ".join([write.count(len(verdict.seeds), "seed"), *made_by]) if sources else "",
        seeds=list(verdict.seeds),
        preset=presets[0] if presets else None,
        status=verdict.status,
        symbol=write.STATUSES[verdict.status].symbol,
        reason=verdict.reason,
        commands=[record.command for _, record in sources] or [suggested_command(study, claim)],
        records=[relative(path, base) for path, _ in sources],
        source=verdict.source,
    )


def source_entries(verdict: Verdict, entries: Entries) -> Entries:
    """Return the records that a verdict names as its source, in its order.

    Of several with one label the verdict rests on one in float32, then on the one with most seeds,
    and of these on the last.
    """
    sources = []
    for label in filter(None, verdict.source.split("; ")):
        named = [entry for entry in reversed(entries) if entry[1].label == label]
        sources.append(max(named, key=weight))
    return sources


def weight(entry: tuple[Path, Record]) -> tuple[bool, bool, int]:
    """Return what the run is chosen by that speaks for several with one label."""
    _, record = entry
    return record.status == "ok", record.in_float32, len(record.seeds)


def suggested_command(study: str, claim: Claim) -> str:
    """Return the command whose record can answer a claim."""
    seeds = ",".join(map(str, range(claim.seeds)))
    which = f"--variant {claim.variant} --preset {claim.preset} --experiment {claim.experiment}"
    return f"repro run {study} {which} --seeds {seeds}"


def reported_text(claim: Claim) -> str:
    """Write the paper's side of a claim: a number, a bound or an order."""
    if claim.kind == "order":
        return " > ".join(claim.order)
    sign = {"lower": "≤ ", "higher": "≥ "}[claim.better] if claim.kind == "bound" else ""
    if claim.limit is not None:  # the number is our reading, not the paper's
        read_as = write.with_unit(write.reported_number(claim.limit), claim.unit)
        return f"in words, read as {sign}{read_as}"
    return sign + write.with_unit(write.reported_number(claim.reported), claim.unit)


def ours_text(claim: Claim, verdict: Verdict) -> str:
    """Write our side of a claim; of an order, by how much the first exceeds the second."""
    if verdict.value is None:
        return write.MISSING
    text = write.with_unit(write.estimate(verdict.value, verdict.interval), claim.unit)
    if claim.kind != "order":
        return text
    return f"by {text}" if len(claim.order) == 2 else f"each by at least {text}"


def json_rows(rows: list[ClaimRow]) -> list[dict[str, Any]]:
    """Return the rows as plain dictionaries, numbers as numbers."""
    return [asdict(row) for row in rows]


def markdown_table(rows: list[ClaimRow], titles: dict[str, str] | None = None) -> str:
    """Write the claims as markdown tables, one a study.

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
            "| Claim | Where | Reported | Ours, 95 % interval | Verdict |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [markdown_row(row) for row in rows if row.study == study]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "No claims yet."


def markdown_row(row: ClaimRow) -> str:
    """Write one claim as a row of a markdown table."""
    ours = f"{row.ours_text} ({row.scale})" if row.scale else row.ours_text
    cells = (row.statement, row.where, row.reported_label, ours, f"{row.symbol} {row.status}")
    return f"| {' | '.join(map(markdown_cell, cells))} |"


def markdown_cell(text: str) -> str:
    """Write a text so that it stays in its cell and means what it says."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", one_line)


def update_readme(path: Path, rows: list[ClaimRow], titles: dict[str, str] | None = None) -> bool:
    """Put the table of claims between a README's markers.

    Parameters
    ----------
    path : Path
        The README.
    rows : list of ClaimRow
        The claims.
    titles : dict, optional
        Headings by study.

    Returns
    -------
    bool
        Whether the file changed.

    Raises
    ------
    ReproError
        If the file cannot be read, or the two markers are not there once each, in order.
    """
    return put_between(path, NAME, markdown_table(rows, titles), "the table of claims")


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


def write_summary(entries: Entries, path: Path) -> Path:
    """Write ``summary.csv``: every metric of every record; the same records, the same bytes.

    Parameters
    ----------
    entries : list
        Paths and records.
    path : Path
        The file; paths of records in it are relative to its folder.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, SUMMARY_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary_rows(entries, path.parent))
    write_text(path, buffer.getvalue())
    return path
