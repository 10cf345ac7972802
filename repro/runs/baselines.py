"""The baseline records under ``results/``: accepted from runs, judged and reported together."""

from __future__ import annotations

import shutil
from pathlib import Path

from repro.errors import ReproError
from repro.evaluation.records import Record, read_record
from repro.reporting.report import write_report
from repro.reporting.tables import ClaimRow, claim_rows, update_readme, write_summary
from repro.runs.folder import RECORD_FILE
from repro.study import studies

RECORDS, SUMMARY_FILE = "records", "summary.csv"  # under the results folder


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
        name = baseline_name(folder)
        if name in named:
            raise ReproError(f"{folder} and {named[name]} have the same name: rename one.")
        named[name] = folder
    accepted = [_copy_record(folder, results / RECORDS / name) for name, folder in named.items()]
    renew(results)
    return accepted


def baseline_name(folder: Path) -> str:
    """Return the name that a run's record is filed under: its folder's, however it is typed.

    Of a run that other samples judge, ``RUN/on-NAME``, both names.

    Raises
    ------
    ReproError
        If the folder has no name, since it is the root of a disk.
    """
    resolved = folder.resolve()  # `.` and `..` too
    if not resolved.name:
        raise ReproError(f"{folder} has no name to file the record under: move it to a folder.")
    inner = resolved.name.startswith("on-")
    return f"{resolved.parent.name}-{resolved.name}" if inner else resolved.name


def renew(results: Path) -> None:
    """Write what is generated from the baseline records: the summary and the README's claims."""
    entries = find_records([results / RECORDS])
    write_summary(entries, results / SUMMARY_FILE)
    known = studies()
    rows = [row for study in known.values() for row in claim_rows(study, entries, results)]
    titles = {name: study.title for name, study in known.items()}
    update_readme(results.resolve().parent / "README.md", rows, titles)


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


def report(folders: list[Path], out: Path) -> Path:
    """Write the report of all records under some folders as one HTML file."""
    return write_report(find_records(folders), studies(), out)


def judged_claims(folders: list[Path]) -> list[ClaimRow]:
    """Judge every claim of every study by the records under some folders.

    Paths of records in the rows are relative to the working folder.
    """
    entries = find_records(folders)
    return [row for study in studies().values() for row in claim_rows(study, entries, Path())]


def _copy_record(folder: Path, target: Path) -> Path:
    """Copy a record with its figures; what stood there goes once the copy is whole."""
    copy, old = (target.with_name(f".{target.name}.{end}") for end in ("new", "old"))
    for leftover in (copy, old):
        shutil.rmtree(leftover, ignore_errors=True)
    copy.mkdir(parents=True)
    shutil.copy2(folder / RECORD_FILE, copy)
    shutil.copytree(folder / "figures", copy / "figures")
    if target.exists():
        target.rename(old)
    copy.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target
