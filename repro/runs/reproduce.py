"""Every study, one after the other, then the report."""

from __future__ import annotations

from pathlib import Path

from repro.display import SILENT, Display
from repro.errors import GateFailed, ReproError
from repro.runs import baselines, whole
from repro.runs.choices import Choices, Execution
from repro.runs.folder import DATA_FILE, held
from repro.study import studies

REPORT_FILE = "report.html"
REPRODUCED_VARIANTS = ("faithful", "improved")


def reproduce(
    preset: str,
    seeds: list[int],
    out: Path,
    workers: int = 1,
    display: Display = SILENT,
    records: list[Path] | None = None,
) -> Path:
    """Run every study in its faithful and its improved variant, then write the report.

    A study that fails does not keep the others from being run.

    Parameters
    ----------
    preset, seeds, out, workers, display
        As `whole.run` takes them; each run has its folder in ``out``.
    records : list of Path, optional
        Folders of earlier records that the report shows beside.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ReproError
        If there is no such preset, or another process is at work in the folder.
    GateFailed
        At the end, if a run failed: names the runs and the first reason.
    """
    wanted: dict[str, list[Choices]] = {}
    for choices in wanted_runs(preset):
        choices.checked()
        wanted.setdefault(choices.study, []).append(choices)
    with held(out):
        failures = _run_all(wanted, seeds, out, Execution(workers=workers), display)
        page = baselines.report([out, *(records or [])], out / REPORT_FILE)
    if failures:
        raise GateFailed(f"{len(failures)} of the runs failed; {failures[0]}")
    return page


def wanted_runs(preset: str) -> list[Choices]:
    """Return what `reproduce` runs at a preset, study by study."""
    return [
        Choices(study=study.name, variant=variant, preset=preset)
        for study in studies().values()
        for variant in REPRODUCED_VARIANTS
        if variant in study.variants
    ]


def run_folder(out: Path, choices: Choices) -> Path:
    """Return the folder in which `reproduce` makes a run."""
    return out / f"{choices.study}-{choices.variant}"


def _run_all(
    wanted: dict[str, list[Choices]],
    seeds: list[int],
    out: Path,
    execution: Execution,
    display: Display,
) -> list[str]:
    """Run all that is wanted of each study; return what failed, with the reasons."""
    failures = []
    for of_study in wanted.values():
        shared = None
        for choices in of_study:
            folder = run_folder(out, choices)
            try:
                whole.run(choices, seeds, folder, shared, execution, display)
            except ReproError as error:
                failures.append(f"{choices.study} {choices.variant}: {error}")
            else:
                shared = shared or folder / DATA_FILE
    return failures
