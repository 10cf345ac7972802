"""The variants of a study side by side, wherever two were run on the same data and scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.evaluation.estimates import metric_values
from repro.evaluation.metrics import student_t_interval
from repro.reporting import formatting as write
from repro.reporting.labels import metric_label
from repro.reporting.tables import Entries, relative

if TYPE_CHECKING:
    from repro.evaluation.claims import Claim
    from repro.evaluation.records import Record


@dataclass(frozen=True)
class VariantCell:
    """What one variant reaches, and the record that says so."""

    variant: str
    text: str
    record: str


@dataclass(frozen=True)
class VariantRow:
    """One metric of the claims, over all variants."""

    key: str
    label: str
    better: str
    cells: list[VariantCell]


@dataclass(frozen=True)
class VariantTable:
    """All variants that were run at one preset, on one experiment."""

    preset: str
    experiment: str
    variants: list[str]
    rows: list[VariantRow]


def variant_tables(claims: list[Claim], entries: Entries, base: Path) -> list[VariantTable]:
    """Return a table for each preset and experiment at which two variants or more were run.

    Parameters
    ----------
    claims : list of Claim
        The study's claims; their metrics make the rows.
    entries : list
        Paths and records of the study.
    base : Path
        The folder to which the paths of records are relative.
    """
    runs: dict[tuple[str, str], dict[str, tuple[Path, Record]]] = {}
    for path, record in entries:
        if record.status == "ok":
            variants = runs.setdefault((record.preset, record.experiment), {})
            there = variants.get(record.variant)
            if there is None or weight(record) >= weight(there[1]):
                variants[record.variant] = (path, record)
    tables = [variant_table(claims, *key, found, base) for key, found in runs.items()]
    return [table for table in tables if len(table.variants) > 1 and table.rows]


def weight(record: Record) -> tuple[bool, int]:
    """Return what the run is chosen by that speaks for several of one variant."""
    return record.in_float32, len(record.seeds)


def variant_table(
    claims: list[Claim],
    preset: str,
    experiment: str,
    variants: dict[str, tuple[Path, Record]],
    base: Path,
) -> VariantTable:
    """Put the metrics that the claims name on one experiment into a table."""
    named = [(c, *name.rpartition(":")[::2]) for c in claims for name in c.metrics]
    names = {name: c for c, where, name in named if (where or c.experiment) == experiment}
    rows = []
    for name, claim in names.items():
        cells = [
            VariantCell(variant, variant_text(record, name, claim), relative(path, base))
            for variant, (path, record) in variants.items()
        ]
        if any(cell.text != write.MISSING for cell in cells):
            rows.append(
                VariantRow(
                    key=name,
                    label=metric_label(name),
                    better="higher" if claim.kind == "order" else claim.better,
                    cells=cells,
                )
            )
    return VariantTable(preset, experiment, list(variants), rows)


def variant_text(record: Record, metric: str, claim: Claim) -> str:
    """Write a metric's mean over seeds with its 95 % interval."""
    values = list(metric_values(record, metric).values())
    if not values:
        return write.MISSING
    text = write.estimate(float(np.mean(values)), student_t_interval(values))
    return write.with_unit(text, claim.unit)
