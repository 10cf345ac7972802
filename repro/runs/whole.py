"""The whole way, from the user's choices to the record."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from repro.display import SILENT, Display
from repro.errors import NotPossibleHere, Refused, ReproError
from repro.evaluation.records import Record
from repro.runs import data as data_stage
from repro.runs.budget import BudgetTooShort, Slice, Stopped
from repro.runs.choices import DEFAULT_EXECUTION, Choices, Execution
from repro.runs.evaluation import evaluate
from repro.runs.folder import held, run_files_of
from repro.runs.record import write_failure
from repro.runs.run import Run
from repro.runs.training import train
from repro.study import get_study
from repro.training.deadline import TimeIsUp
from repro.training.launchers import launched_as_leader
from repro.training.ways import check_way
from repro.training.world import World


def run(
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None = None,
    execution: Execution = DEFAULT_EXECUTION,
    display: Display = SILENT,
) -> Record | Stopped | None:
    """Go the whole way from the data spec to the record; called again, resume.

    Parameters
    ----------
    choices, seeds, out, data, execution, display
        As `prepare_and_train` takes them.

    Returns
    -------
    Record, Stopped or None
        The record, or how far the run is if its time is up; none on the ranks of a job that do
        not lead.

    Raises
    ------
    ReproError
        If a stage fails; what was done stays, and a record says why the run failed.
    """
    slice_ = Slice(choices, out, execution.budget_s)
    _check(choices, data, execution)
    with held(out):
        try:
            made = _prepare_and_train(slice_, choices, seeds, out, data, execution, display)
            if not launched_as_leader():
                return None
            return made if isinstance(made, Stopped) else _evaluate(slice_, made, display)
        except (BudgetTooShort, Refused, NotPossibleHere):
            raise  # the run has not failed
        except ReproError as error:
            if launched_as_leader():
                _record_failure(choices, out, data, str(error))
            raise


def prepare_and_train(
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None = None,
    execution: Execution = DEFAULT_EXECUTION,
    display: Display = SILENT,
) -> Run | Stopped:
    """Build the data set unless one is given, then train; called again, resume.

    Parameters
    ----------
    choices, seeds, out
        What is trained, and where to.
    data : Path, optional
        A built data set, or an archive of measurements, of which one in ``out`` is made; by default
        one in ``out``, built first if it is not there.
    execution : Execution
        How it is computed.
    display : Display
        Where progress goes.

    Returns
    -------
    Run or Stopped
        The trained run, or how far it is if its time is up.

    Raises
    ------
    ReproError
        If a choice does not exist, the folder holds another run, a stage fails, or nothing whole
        can be done within the budget; what was done stays.
    """
    slice_ = Slice(choices, out, execution.budget_s)
    _check(choices, data, execution)
    with held(out):
        return _prepare_and_train(slice_, choices, seeds, out, data, execution, display)


def _check(choices: Choices, data: Path | None, execution: Execution) -> None:
    """Refuse what cannot be run before anything is made or the network library is loaded."""
    study = choices.checked()
    data_stage.check_given(study, choices, data_stage.Given.of(study, data))
    check_way(execution.way)


def _prepare_and_train(
    slice_: Slice,
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None,
    execution: Execution,
    display: Display,
) -> Run | Stopped:
    study = get_study(choices.study)
    given = data_stage.Given.of(study, data)
    made: list[Run] = []

    def work(world: World) -> None:
        shown = display if world.leads else SILENT
        paced = slice_.shown(shown, execution.workers)
        dataset = data_stage.prepare(study, choices, out, given, execution.workers, paced, world)
        made[:] = [Run.of(study, choices, out, seeds, dataset)]
        progress = slice_.progress_of(made[0], shown)
        train(made[0], shown, world, execution.way, progress, slice_.deadline)

    try:
        with slice_.enforced():
            from repro.training.devices import use_devices
            from repro.training.distributed import TIMEOUT_S, join

            joined = join(execution.timeout_s or TIMEOUT_S)
            with use_devices(execution.devices), joined as world:
                world.run(partial(work, world))
    except TimeIsUp:
        return slice_.stopped(made[0] if made else None)
    return made[0]


def _evaluate(slice_: Slice, run: Run, display: Display) -> Record | Stopped:
    try:
        with slice_.enforced():
            return evaluate(run, slice_.shown(display))
    except TimeIsUp:
        return slice_.stopped(run)


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
