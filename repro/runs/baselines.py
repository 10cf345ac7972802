"""The baseline records under ``results/``: accepted from runs, judged and reported together."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import repro
from repro.bench.rows import find_benchmarks
from repro.bench.summary import find_ratios
from repro.code_hash import hash_code
from repro.errors import GateFailed, ReproError
from repro.evaluation.gates import GateResult, check_gates
from repro.evaluation.outcomes import Outcome, judge
from repro.evaluation.power import Power, power
from repro.evaluation.records import Carried, Record, read_record, write_record
from repro.evaluation.regression import compare, differences_beyond_code, primary_metrics
from repro.files import (
    changing_folder,
    exclusive,
    is_leftover,
    make_folder,
    replacing,
    write_text,
)
from repro.reporting.formatting import count
from repro.reporting.history import HISTORY_FILE, Compared, entry_of, history_text, read_history
from repro.reporting.matrix import find_matrices
from repro.reporting.queue import document_text
from repro.reporting.report import write_report
from repro.reporting.tables import ClaimRow, claim_rows, readme_text, summary_text
from repro.runs.folder import RECORD_FILE
from repro.runs.queue import BUDGET_S, Wanted, wanted_runs
from repro.study import get_study, studies

RECORDS, SUMMARY_FILE = "records", "summary.csv"  # under the results folder
FIGURES = "figures"  # beside a record
LOCK = ".lock"
QUEUE_DOCUMENT = "docs/paper_runs.md"  # beside it


def accept(
    folders: list[Path], results: Path, reason: str | None = None, force: bool = False
) -> list[Path]:
    """Make runs' records baseline records, and renew what is generated from these.

    Record and figures of each run are copied to ``RESULTS/records/NAME``, NAME being the run's
    folder; then ``summary.csv`` and the README's table of claims are written, and the ledger gets
    an entry for each.

    Parameters
    ----------
    folders : list of Path
        Folders of runs that ended well.
    results : Path
        The folder of results, beside the README.
    reason : str, optional
        Why they are accepted, for the ledger.
    force : bool
        Accept them although one fails a gate or is worse than the record it replaces; the reason
        is kept in them.

    Raises
    ------
    ReproError
        If a folder has no record or lacks figures, the record is of a run that failed, two folders
        have the same name, the reason is empty, none is given although it is forced, or a file
        cannot be written: nothing changes then.
    GateFailed
        If a record fails a gate of its study, or is worse than the baseline record of its name, and
        it is not forced.
    """
    if (reason is not None or force) and not (reason or "").strip():
        raise ReproError("The reason for accepting is empty: say why these records are sound.")
    named: dict[str, Path] = {}
    records: dict[str, Record] = {}
    for folder in folders:
        record = _acceptable(folder)
        name = baseline_name(folder)
        if name in named:
            raise ReproError(f"{folder} and {named[name]} have the same name: rename one.")
        named[name] = folder
        records[name] = record.model_copy(update={"accepted_because": reason if force else ""})
    compared = {name: _compared(results / RECORDS, name, new) for name, new in records.items()}
    if not force:
        _refuse_failing(check_baselines(results, records))
        _refuse_regressions(compared)
    entries = {
        name: entry_of(name, record, compared[name], force, reason or "")
        for name, record in records.items()
    }
    ledger = {results / HISTORY_FILE: history_text(results, entries)}
    with _changing(results, records, ledger) as made:
        for name, folder in named.items():
            shutil.rmtree(made / name, ignore_errors=True)
            (made / name).mkdir()
            shutil.copytree(folder / FIGURES, made / name / FIGURES)
            write_record(records[name], made / name / RECORD_FILE)
    return [results / RECORDS / name for name in named]


def _acceptable(folder: Path) -> Record:
    """Return the record of a run that ended well and has all its figures."""
    if not (folder / RECORD_FILE).is_file():
        raise ReproError(f"{folder} holds no {RECORD_FILE}: make one with `repro evaluate`.")
    record = read_record(folder / RECORD_FILE)
    if record.status != "ok":
        raise ReproError(f"{folder} failed ({record.reason}): it is no baseline.")
    if not (folder / FIGURES).is_dir():
        raise ReproError(f"{folder} has no figures: draw them with `repro evaluate`.")
    for figure in record.figures.values():
        if not (folder / figure.file).is_file():
            raise ReproError(f"{folder} has no {figure.file}: draw it with `repro evaluate`.")
    return record


@contextlib.contextmanager
def _changing(
    results: Path,
    accepted: Mapping[str, Record] | None = None,
    texts: Mapping[Path, str] | None = None,
) -> Iterator[Path]:
    """Give the folder of baseline records to change; what it holds changes at once.

    Parameters
    ----------
    results : Path
        The folder of results.
    accepted : mapping, optional
        The records that will be there, by name, for what is generated from them to change too.
    texts : mapping, optional
        What else changes with them, by file.
    """
    folder = results / RECORDS
    make_folder(results)
    with exclusive(results / LOCK, f"changing the records in {results}"), ExitStack() as written:
        if accepted:
            entries = dict(find_records([folder])) if folder.is_dir() else {}
            entries |= {folder / name / RECORD_FILE: record for name, record in accepted.items()}
            generated = _generated(results, sorted(entries.items()))
            for path, text in (generated | dict(texts or {})).items():
                partial = written.enter_context(replacing(path))
                partial.write_text(text, encoding="utf-8")
        with changing_folder(folder) as made:
            yield made


def _refuse_failing(checked: list[GateResult]) -> None:
    failing = [result for result in checked if not result.holds]
    if failing:
        first = failing[0]
        more = f"; {count(len(failing) - 1, 'gate')} more" if len(failing) > 1 else ""
        raise GateFailed(
            f"{first.gate.record} fails the gate {first.gate.id} ({first.said}){more}: "
            f"find out why, or accept it with --force and the reason."
        )


def _refuse_regressions(compared: Mapping[str, str]) -> None:
    for name, status in compared.items():
        if status == "failed":
            raise GateFailed(
                f"{name} is worse than the baseline record of that name (`repro compare` says in "
                "what): find out why, or accept it with --force and the reason."
            )


def _compared(folder: Path, name: str, record: Record) -> Compared:
    """Say what comparing a record with the baseline record of its name gives; gains are sound."""
    before = folder / name / RECORD_FILE
    if not before.is_file():
        return "first"
    old = read_record(before)
    primary = primary_metrics(old, get_study(old.study).claims.claims)
    return compare(old, record, "it takes that one's place", primary=primary).status


def check_baselines(
    results: Path, accepted: Mapping[str, Record] | None = None, study: str | None = None
) -> list[GateResult]:
    """Check the gates that the studies declare on the baseline records.

    Parameters
    ----------
    results : Path
        The folder of results.
    accepted : mapping, optional
        Records that are about to become baseline records, by name: only their gates are checked.
    study : str, optional
        Check the gates of this study alone.
    """
    chosen = [get_study(study)] if study else studies().values()
    checked = []
    for one in chosen:
        gates = one.gates
        files = {name: results / RECORDS / name / RECORD_FILE for name in gates.records}
        records = {name: read_record(file) for name, file in files.items() if file.is_file()}
        checked += check_gates(one.name, gates, records | dict(accepted or {}), accepted)
    return checked


def carry(old: Path, new: Path, results: Path) -> list[Path]:
    """Show that a new code gives the numbers of an old one; let the baseline records say so.

    The baseline records of the same study and variant that the old code made get the hash of the
    new code, and an entry in ``carried``.

    Parameters
    ----------
    old, new : Path
        Records of the same run, made by the old and by the new code.
    results : Path
        The folder of results.

    Returns
    -------
    list of Path
        The records that were changed.

    Raises
    ------
    GateFailed
        If the two differ in anything but the code, or not in that.
    ReproError
        If no baseline record is of the old code.
    """
    before, after = read_record(old), read_record(new)
    problem = _why_not_carried(before, after)
    if problem:
        raise GateFailed(f"{old} and {new} do not show that nothing moved: {problem}.")
    made_by = before.study, before.variant, before.hashes.code
    found = [
        (path, record)
        for path, record in find_records([results / RECORDS])
        if (record.study, record.variant, record.hashes.code) == made_by
    ]
    if not found:
        raise ReproError(
            f"No baseline record of {before.study} {before.variant} is of the code "
            f"{before.hashes.code}: nothing is carried."
        )
    evidence = f"{after.command}: {count(len(after.metrics), 'metric')} equal to the last bit"
    earlier = Carried(code=before.hashes.code, shown_by=evidence)
    with _changing(results) as made:
        for path, record in found:
            hashes = record.hashes.model_copy(update={"code": after.hashes.code})
            carried = [*record.carried, earlier]
            changed = record.model_copy(update={"hashes": hashes, "carried": carried})
            write_record(changed, made / path.relative_to(results / RECORDS))
    return [path for path, _ in found]


def _why_not_carried(old: Record, new: Record) -> str | None:
    if old.status != "ok" or not old.metrics:
        return "the run failed or measured nothing"
    differing = differences_beyond_code(old, new)
    if differing:
        more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
        return f"{differing[0]}{more}"
    return "both are of the same code" if old.hashes.code == new.hashes.code else None


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
    """Write what is generated from the baseline records: summary, README's claims and queue."""
    for path, text in _generated(results, find_records([results / RECORDS])).items():
        write_text(path, text)


def _generated(results: Path, entries: list[tuple[Path, Record]]) -> dict[Path, str]:
    """Return what is generated from baseline records, by file."""
    known = studies()
    rows = [row for study in known.values() for row in claim_rows(study, entries, results)]
    titles = {name: study.title for name, study in known.items()}
    root = results.resolve().parent
    readme, queue = root / "README.md", root / QUEUE_DOCUMENT
    texts = {
        results / SUMMARY_FILE: summary_text(entries, results),
        readme: readme_text(readme, rows, titles),
    }
    if queue.exists():
        runs = wanted_runs([record for _, record in entries], results, BUDGET_S, None)
        texts[queue] = document_text(queue, runs)
    return texts


def wanted(results: Path, budget_s: float = BUDGET_S, study: str | None = None) -> list[Wanted]:
    """Return the runs at preset paper that no baseline record answers, most valuable first."""
    folder = results / RECORDS
    records = [record for _, record in find_records([folder] if folder.is_dir() else [])]
    return wanted_runs(records, results, budget_s, study)


def shipped_results() -> Path | None:
    """Return the folder of results that came with the package, in a wheel or a checkout."""
    package = Path(repro.__file__).parent
    places = (package / "results", package.parent / "results")
    return next((place for place in places if (place / RECORDS).is_dir()), None)


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
    paths = sorted(
        {
            path
            for folder in folders
            for path in folder.rglob(RECORD_FILE)
            if not is_leftover(path, folder)
        }
    )
    return [(path, read_record(path)) for path in paths]


def of_older_code(entries: list[tuple[Path, Record]]) -> list[Path]:
    """Return the records that another code made than today's; a study that is gone has none."""
    today = {
        name: hash_code(name) for name in studies() if any(r.study == name for _, r in entries)
    }
    return [path for path, r in entries if today.get(r.study, r.hashes.code) != r.hashes.code]


def report(folders: list[Path], out: Path) -> Path:
    """Write the report of all records under some folders as one HTML file."""
    entries = find_records(folders)
    return write_report(
        entries,
        studies(),
        out,
        benchmarks=find_benchmarks(folders),
        ratios=find_ratios(folders),
        history=[entry for folder in folders for entry in read_history(folder)],
        stale=of_older_code(entries),
        matrices=find_matrices(folders),
    )


def judged_claims(folders: list[Path]) -> list[ClaimRow]:
    """Judge every claim of every study by the records under some folders.

    Paths of records in the rows are relative to the working folder.
    """
    entries = find_records(folders)
    stale = of_older_code(entries)
    return [
        row for study in studies().values() for row in claim_rows(study, entries, Path(), stale)
    ]


def outcomes_of(record: Record, results: Path = Path("results")) -> list[Outcome]:
    """Return what one record says of the claims of its study.

    Baseline records of the study, if there are any, lend their spread over seeds.

    Parameters
    ----------
    record : Record
        The record.
    results : Path
        The folder with the baseline records.
    """
    lenders = baselines_of(record.study, results)
    return [judge(claim, [record], lenders) for claim in get_study(record.study).claims.claims]


def powers_of(study: str, results: Path = Path("results")) -> dict[str, Power | None]:
    """Return what each claim's protocol can tell, by the claim's id; see `power`."""
    records = baselines_of(study, results)
    return {claim.id: power(claim, records) for claim in get_study(study).claims.claims}


def baselines_of(study: str, results: Path) -> list[Record]:
    """Return the baseline records of a study; none where there is no such folder."""
    return [record for _, record in _baseline_records(results) if record.study == study]


def ages_of(results: Path) -> dict[str, dict[str, bool]]:
    """Return the baseline records of each study by name: whether another code made it."""
    entries = _baseline_records(results)
    stale = of_older_code(entries)
    ages: dict[str, dict[str, bool]] = {name: {} for name in studies()}
    for path, record in entries:
        ages.setdefault(record.study, {})[path.parent.name] = path in stale
    return ages


def _baseline_records(results: Path) -> list[tuple[Path, Record]]:
    folder = results / RECORDS
    return find_records([folder]) if folder.is_dir() else []
