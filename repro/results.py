"""All studies together: run them, collect their records, judge their claims, report."""

from __future__ import annotations

from pathlib import Path

from repro import recording
from repro.errors import GateFailed, ReproError
from repro.evaluation.records import Record, read_record
from repro.reporting.report import write_report
from repro.reporting.tables import ClaimRow, claim_rows
from repro.runs import DATA_FILE, RECORD_FILE, SILENT, Choices, Display
from repro.study import studies

REPORT_FILE = "report.html"
REPRODUCED_VARIANTS = ("faithful", "improved")


def reproduce(
    preset: str, seeds: list[int], out: Path, workers: int = 1, display: Display = SILENT
) -> Path:
    """Run every study in its faithful and its improved variant, then write the report.

    A study that fails does not keep the others from being run.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    GateFailed
        At the end, if a run failed: names the runs and the first reason.
    """
    failures = []
    for study in studies().values():
        shared = None
        for variant in REPRODUCED_VARIANTS:
            if variant not in study.variants:
                continue
            choices = Choices(study=study.name, variant=variant, preset=preset)
            folder = out / f"{study.name}-{variant}"
            try:
                recording.run(choices, seeds, folder, shared, workers, display)
            except ReproError as error:
                failures.append(f"{study.name} {variant}: {error}")
            else:
                shared = shared or folder / DATA_FILE
    page = report([out], out / REPORT_FILE)
    if failures:
        raise GateFailed(f"{len(failures)} of the runs failed; {failures[0]}")
    return page


def report(folders: list[Path], out: Path) -> Path:
    """Write the report of all records under some folders as one HTML file."""
    return write_report(find_records(folders), studies(), out)


def judged_claims(folders: list[Path]) -> list[ClaimRow]:
    """Judge every claim of every study by the records under some folders.

    Paths of records in the rows are relative to the working folder.
    """
    entries = find_records(folders)
    return [row for study in studies().values() for row in claim_rows(study, entries, Path())]


def find_records(folders: list[Path]) -> list[tuple[Path, Record]]:
    """Read every ``record.json`` under some folders, by path.

    Raises
    ------
    ReproError
        If a folder is missing, or a record cannot be read.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ReproError(f"There is no folder {folder}: name one that holds records.")
    paths = sorted({path for folder in folders for path in folder.rglob(RECORD_FILE)})
    return [(path, read_record(path)) for path in paths]
