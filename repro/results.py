"""All studies together: run them, collect their records, judge their claims, report."""

from __future__ import annotations

import shutil
from pathlib import Path

from repro import recording
from repro.errors import GateFailed, ReproError
from repro.evaluation.records import Record, read_record
from repro.reporting.report import write_report
from repro.reporting.tables import ClaimRow, claim_rows, update_readme, write_summary
from repro.runs import DATA_FILE, RECORD_FILE, SILENT, Choices, Display
from repro.study import studies

REPORT_FILE = "report.html"
RECORDS, SUMMARY_FILE = "records", "summary.csv"  # under the results folder
REPRODUCED_VARIANTS = ("faithful", "improved")


def reproduce(
    preset: str,
    seeds: list[int],
    out: Path,
    workers: int = 1,
    display: Display = SILENT,
    baselines: list[Path] | None = None,
) -> Path:
    """Run every study in its faithful and its improved variant, then write the report.

    A study that fails does not keep the others from being run.

    Parameters
    ----------
    preset, seeds, out, workers, display
        As in `recording.run`; each run has its folder in ``out``.
    baselines : list of Path, optional
        Folders of earlier records that the report shows beside.

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
    page = report([out, *(baselines or [])], out / REPORT_FILE)
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


def accept(folders: list[Path], results: Path) -> list[Path]:
    """Make runs' records baseline records, and renew what is generated from these.

    Record and figures of each run are copied to ``RESULTS/records/NAME``, NAME being the run's
    folder; then ``summary.csv`` and the README's table of claims are written.

    Parameters
    ----------
    folders : list of Path
        Folders of runs that ended well.
    results : Path
        The folder of results, beside the README.

    Raises
    ------
    ReproError
        If a folder has no record or no figures, the record is of a run that failed, or two folders
        have the same name.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        if not (folder / RECORD_FILE).is_file():
            raise ReproError(f"{folder} holds no {RECORD_FILE}: make one with `repro evaluate`.")
        record = read_record(folder / RECORD_FILE)
        if record.status != "ok":
            raise ReproError(f"{folder} failed ({record.reason}): it is no baseline.")
        if not (folder / "figures").is_dir():
            raise ReproError(f"{folder} has no figures: draw them with `repro evaluate`.")
        name = folder.resolve().name  # of `.` too
        if not name:
            raise ReproError(f"{folder} has no name to file the record under: move it to a folder.")
        if name in named:
            raise ReproError(f"{folder} and {named[name]} have the same name: rename one.")
        named[name] = folder
    accepted = [_copy_record(folder, results / RECORDS / name) for name, folder in named.items()]
    renew(results)
    return accepted


def renew(results: Path) -> None:
    """Write what is generated from the baseline records: the summary and the README's claims."""
    entries = find_records([results / RECORDS])
    write_summary(entries, results / SUMMARY_FILE)
    rows = [row for study in studies().values() for row in claim_rows(study, entries, results)]
    titles = {name: study.title for name, study in studies().items()}
    update_readme(results.resolve().parent / "README.md", rows, titles)


def _copy_record(folder: Path, target: Path) -> Path:
    """Copy a record with its figures; what stood there is replaced once the copy is whole."""
    copy = target.with_name(f".{target.name}.new")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    shutil.copy2(folder / RECORD_FILE, copy)
    shutil.copytree(folder / "figures", copy / "figures")
    shutil.rmtree(target, ignore_errors=True)
    return copy.rename(target)


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
