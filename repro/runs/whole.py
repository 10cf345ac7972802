"""The whole way, from the user's choices to the record."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from repro.display import SILENT, Display
from repro.errors import ReproError
from repro.evaluation.records import Record
from repro.runs import data as data_stage
from repro.runs.choices import Choices
from repro.runs.evaluation import evaluate
from repro.runs.folder import run_files_of
from repro.runs.record import write_failure
from repro.runs.run import Run
from repro.runs.training import train
from repro.study import get_study
from repro.training.launchers import launched_as_leader
from repro.training.ways import check_way
from repro.training.world import World


def run(
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None = None,
    workers: int = 1,
    display: Display = SILENT,
    devices: int = 1,
    timeout_s: float | None = None,
    way: str | None = None,
) -> Record | None:
    """Go the whole way from the data spec to the record; called again, resume.

    Parameters
    ----------
    choices, seeds, out, data, workers, display, devices, timeout_s, way
        As `prepare_and_train` takes them.

    Returns
    -------
    Record or None
        The record; none on the ranks of a job that do not lead.

    Raises
    ------
    ReproError
        If a stage fails; what was done stays, and a record says why the run failed.
    """
    try:
        made = prepare_and_train(
            choices, seeds, out, data, workers, display, devices, timeout_s, way
        )
        return evaluate(made, display) if launched_as_leader() else None
    except ReproError as error:
        if launched_as_leader():
            _record_failure(choices, out, data, str(error))
        raise


def prepare_and_train(
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None = None,
    workers: int = 1,
    display: Display = SILENT,
    devices: int = 1,
    timeout_s: float | None = None,
    way: str | None = None,
) -> Run:
    """Build the data set unless one is given, then train; called again, resume.

    Parameters
    ----------
    choices, seeds, out
        What is trained, and where to.
    data : Path, optional
        A built data set, or an archive of measurements, of which one in ``out`` is made; by default
        one in ``out``, built first if it is not there.
    workers : int
        Processes that build the data set.
    display : Display
        Where progress goes.
    devices : int
        Devices of this process that share a batch, under JAX.
    timeout_s : float, optional
        Time without a step after which one of several ranks gives up [s].
    way : str, optional
        How steps are taken, as `repro.training.ways.check_way` takes it.

    Raises
    ------
    ReproError
        If a choice does not exist, the folder holds another run, or a stage fails; what was
        done stays.
    """
    study = choices.checked()
    given = data_stage.Given.of(study, data)
    data_stage.check_given(study, choices, given)  # before the network library is loaded
    check_way(way)
    from repro.training.devices import use_devices
    from repro.training.distributed import TIMEOUT_S, join

    made: list[Run] = []

    def work(world: World) -> None:
        shown = display if world.leads else SILENT
        dataset = data_stage.prepare(study, choices, out, given, workers, shown, world)
        made[:] = [Run.of(study, choices, out, seeds, dataset)]
        train(made[0], shown, world, way)

    with use_devices(devices), join(timeout_s or TIMEOUT_S) as world:
        world.run(partial(work, world))
    return made[0]


def _record_failure(choices: Choices, out: Path, data: Path | None, reason: str) -> None:
    """Write why a run failed, unless the folder has a record or holds another run."""
    try:
        if run_files_of(out)[0].choices != choices:
            return  # without loading the network library
        given = data_stage.Given.of(get_study(choices.study), data)
        is_archive = given is not None and given.archive is not None
        run = Run.open(out, None if is_archive else data)  # an archive would judge it
    except ReproError:
        return
    if run.source == (data.name if data else None):
        write_failure(run, reason)
