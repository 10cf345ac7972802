"""Every study, one after the other, then the report."""

from __future__ import annotations

from pathlib import Path

from repro.display import SILENT, Display
from repro.errors import GateFailed, ReproError
from repro.runs import baselines, whole
from repro.runs.choices import Choices, Execution
from repro.runs.folder import DATA_FILE
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
                whole.run(choices, seeds, folder, shared, Execution(workers=workers), display)
            except ReproError as error:
                failures.append(f"{study.name} {variant}: {error}")
            else:
                shared = shared or folder / DATA_FILE
    page = baselines.report([out, *(records or [])], out / REPORT_FILE)
    if failures:
        raise GateFailed(f"{len(failures)} of the runs failed; {failures[0]}")
    return page
