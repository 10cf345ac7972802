"""The ledger of baseline records: what was accepted, when, from which code, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from repro.bench.machine import commit
from repro.errors import ReproError
from repro.evaluation.records import Record, first_problem
from repro.evaluation.regression import primary_metrics, training_speed
from repro.study import get_study

HISTORY_FILE = "history.jsonl"  # under the results folder
Compared = Literal["first", "passed", "failed", "not comparable"]
LIBRARIES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "numpy")


class Entry(BaseModel):
    """One record as it was accepted.

    Parameters
    ----------
    date : str
        Day, ``YYYY-MM-DD``, in UTC.
    commit : str, optional
        The commit that accepted it, marked if files had changed since; None without git.
    name : str
        The record's folder under ``records``.
    study, variant, preset, experiment : str
        What was run.
    code : str
        Hash of the code that made it.
    machine : str
        Accelerator, else processor.
    versions : dict
        Of the libraries that compute.
    seeds : int
        How many.
    metrics : dict
        Mean of each primary metric over seeds, in the metric's unit.
    speed : float, optional
        Of training [samples/s]; None where nothing was trained.
    compared : str
        What the comparison with the record before it gave; ``"first"`` without one.
    forced : bool
        Whether it was accepted although it is worse, or fails a gate.
    reason : str
        Why it was accepted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    date: str
    commit: str | None
    name: str
    study: str
    variant: str
    preset: str
    experiment: str
    code: str
    machine: str
    versions: dict[str, str]
    seeds: int
    metrics: dict[str, float]
    speed: float | None
    compared: Compared
    forced: bool
    reason: str


def entry_of(name: str, record: Record, compared: Compared, forced: bool, reason: str) -> Entry:
    """Return what the ledger says of a record that is accepted today."""
    means = {
        metric: float(np.mean(list(record.metrics[metric].values.values())))
        for metric in primary_metrics(record, get_study(record.study).claims.claims)
    }
    packages = record.environment.packages
    return Entry(
        date=datetime.now(UTC).date().isoformat(),
        commit=commit(),
        name=name,
        study=record.study,
        variant=record.variant,
        preset=record.preset,
        experiment=record.experiment,
        code=record.hashes.code,
        machine=record.environment.gpu or record.environment.processor,
        versions={library: packages[library] for library in LIBRARIES if library in packages},
        seeds=len(record.seeds),
        metrics=means,
        speed=training_speed(record),
        compared=compared,
        forced=forced,
        reason=reason,
    )


def read_history(results: Path) -> list[Entry]:
    """Return the entries of a ledger, oldest first; none where there is no file.

    Raises
    ------
    ReproError
        If a line is no entry.
    """
    path = results / HISTORY_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(Entry.model_validate(json.loads(line)))
        except json.JSONDecodeError:
            raise ReproError(f"{path}, line {number}, is not JSON: restore the file.") from None
        except ValidationError as error:
            problem = first_problem(error)
            raise ReproError(f"{path}, line {number}, is no entry: {problem}.") from None
    return entries


def history_text(results: Path, added: Mapping[str, Entry]) -> str:
    """Return the ledger with entries added; what stands in it stays as it is."""
    entries = [*read_history(results), *added.values()]
    return "".join(f"{entry.model_dump_json()}\n" for entry in entries)
