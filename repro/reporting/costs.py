"""What a run takes, said before anything starts: disk and time, measured here or on record."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro.datasets.build import estimate_seconds
from repro.datasets.spec import ResolvedSpec
from repro.datasets.store import stored_bytes
from repro.errors import ReproError
from repro.evaluation.paper_runs import PaperRun
from repro.evaluation.records import Record
from repro.reporting.formatting import duration
from repro.runs.baselines import baselines_of
from repro.runs.choices import Choices
from repro.runs.folder import DATA_FILE
from repro.runs.queue import PRESET
from repro.study import get_study

STAGE_OF_DATA = "data"


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Parameters
    ----------
    experiment : str
        Which run.
    disk_gb : float
        The data set, compression left out [10⁹ byte]; 0 if it is there.
    free_gb : float
        What the disk here has left [10⁹ byte].
    data_s : float, optional
        Building it, on this machine by a short trial, else as long as a record of that kind took
        [s]; 0 if it is there, None where nothing tells.
    training_s : float, optional
        Training and evaluation of all seeds [s]; None where nothing tells.
    measured_on : str
        The machine that it was measured on, or for which it was estimated.
    """

    experiment: str
    disk_gb: float
    free_gb: float
    data_s: float | None
    training_s: float | None
    measured_on: str

    @property
    def said_of_data(self) -> str:
        """What the data set takes, in a line."""
        disk = f"{self.experiment}: disk {self.disk_gb:.3g} GB of {self.free_gb:.3g} GB free"
        if not self.disk_gb:
            return f"{disk}; the data set is there"
        known = self.data_s is not None
        return f"{disk}; data {duration(self.data_s)}" if known else f"{disk}; data: not known"

    @property
    def said(self) -> str:
        """What all of it takes, in a line."""
        trained = "training and evaluation: no record tells how long"
        if self.training_s is not None:
            trained = f"training and evaluation {duration(self.training_s)} on {self.measured_on}"
        return f"{self.said_of_data}; {trained}"


def cost_of(
    choices: Choices,
    n_seeds: int,
    folder: Path,
    results: Path,
    workers: int = 1,
    data: Path | None = None,
) -> Cost:
    """Return what a run takes; nothing is started.

    Parameters
    ----------
    choices : Choices
        What is run.
    n_seeds : int
        How many seeds it has.
    folder : Path
        The run's folder; what is trained in it already is not taken off.
    results : Path
        The folder of results, whose records tell how long runs of that kind took.
    workers : int
        Processes that build the data set.
    data : Path, optional
        The data set, if it is not to lie in the folder.
    """
    spec = _spec(choices)
    file = data or folder / DATA_FILE
    is_there = file.exists()
    known = next(_times(choices, n_seeds, results), None)
    stage_of_data, training_s, measured_on = known or (None, None, "")
    data_s = 0.0 if is_there else estimate_seconds(spec, file, workers)
    return Cost(
        experiment=spec.experiment,
        disk_gb=0.0 if is_there else stored_bytes(spec) / 1e9,
        free_gb=_free(folder) / 1e9,
        data_s=stage_of_data if data_s is None else data_s,
        training_s=training_s,
        measured_on=measured_on,
    )


def _times(
    choices: Choices, n_seeds: int, results: Path
) -> Iterator[tuple[float | None, float, str]]:
    """Yield seconds of the data and of all else, with the machine, the surest source first."""
    kind = choices.study, choices.variant, choices.preset, _spec(choices).experiment
    for record in baselines_of(choices.study, results):
        if _is_of(record, choices, kind):
            stages = {name: timing.wall_s for name, timing in record.timings.items()}
            data_s = stages.pop(STAGE_OF_DATA, None)
            environment = record.environment
            machine = environment.gpu or f"{environment.processor}, {environment.cores} cores"
            yield data_s, n_seeds * sum(stages.values()) / len(record.seeds), machine
    wanted = [
        run
        for run in get_study(choices.study).paper_runs.runs
        if (choices.study, run.variant, PRESET, run.experiment) == kind
    ]
    for run in wanted:
        if set(run.networks) == set(choices.networks):
            with contextlib.suppress(ReproError):  # these results have no figure to go by
                yield *_estimated(run, n_seeds, results), "an H100, as `repro queue` estimates"
    if wanted and not choices.networks:
        with contextlib.suppress(ReproError):
            each = [_estimated(run, n_seeds, results) for run in wanted]
            together = "an H100, as `repro queue` estimates for its runs together"
            yield each[0][0], sum(training_s for _, training_s in each), together


def _estimated(run: PaperRun, n_seeds: int, results: Path) -> tuple[float | None, float]:
    """Return seconds of the data and of all else of a run that is wanted."""
    stages = {
        stage.stage: stage.count
        * stage.seconds_of_one(results)
        * (n_seeds if stage.each_seed else 1)
        for stage in run.stages
    }
    data_s = stages.pop(STAGE_OF_DATA, None)
    return data_s, sum(stages.values())


def _is_of(record: Record, choices: Choices, kind: Sequence[str]) -> bool:
    of_record = record.study, record.variant, record.preset, record.experiment
    same_networks = set(record.chosen_networks) == set(choices.networks)
    return record.status == "ok" and same_networks and of_record == kind


def _spec(choices: Choices) -> ResolvedSpec:
    """Return the data spec of a run, of whichever of its study's specs has the experiment."""
    study = choices.checked()
    for spec in study.data_specs:
        if choices.experiment in spec.experiments:
            return spec.resolve(choices.preset, choices.experiment, choices.data_settings)
    return choices.resolve_spec(study)


def _free(folder: Path) -> int:
    """Return what is free on the disk of a folder that may not be there yet [byte]."""
    above = [folder.absolute(), *folder.absolute().parents]
    return shutil.disk_usage(next(path for path in above if path.is_dir())).free
