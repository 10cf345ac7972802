"""A run in slices: how much of it fits into a time budget, and how far it is when that is up.

Time is up some seconds before the budget ends, so that a process which a scheduler would kill then
has ended by itself. The work of a slice is stopped as by Ctrl-C, except that a training writes its
state first if it sees that the next epoch does not fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from repro.display import Display, Progress
from repro.errors import ReproError
from repro.reporting.formatting import duration
from repro.runs.choices import Choices
from repro.runs.folder import DATA_FILE
from repro.runs.run import Run
from repro.runs.training import samples_to_train
from repro.study import History
from repro.training.deadline import Deadline, TimeIsUp
from repro.training.launchers import launched_as_leader, place
from repro.training.progress import RunProgress

TO_END_S, TO_END_SHARE = 6.0, 0.01  # of a budget, for the start and the end of the process
LAST_EPOCHS = 5  # tell the rate of a training
OF_LEAST, ROUNDED_TO_S = 1.25, 10  # how the least budget is estimated


class BudgetTooShort(ReproError):
    """Nothing whole can be done within the time budget."""


@dataclass(frozen=True)
class Stopped:
    """How far a run is when its time is up.

    Parameters
    ----------
    run : str
        Study, variant and preset.
    stage : str
        ``"data"``, ``"training"`` or ``"evaluation"``.
    done : int
        Samples that are built, epochs that are trained or seeds that are measured [1].
    total : int or None
        All of them; None if that is not known yet [1].
    seconds_left : float or None
        Time until the end of the stage, by the rate measured so far [s]; None if it is unknown.
    """

    run: str
    stage: str
    done: int
    total: int | None
    seconds_left: float | None

    @property
    def facts(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"status": "stopped", **asdict(self)}

    @property
    def said(self) -> str:
        """The same in one line."""
        what, then = {
            "data": ("samples built", "; training and evaluation follow"),
            "training": ("epochs trained", "; the evaluation follows"),
            "evaluation": ("seeds measured", ""),
        }[self.stage]
        of_all = "" if self.total is None else f" of {self.total}"
        left = "the time left is not known yet"
        if self.seconds_left is not None:
            left = f"about {duration(self.seconds_left)} left at the measured rate"
        return (
            f"{self.run}: time is up with {self.done}{of_all} {what}, {left}{then}; "
            "give the same command again to go on."
        )


class Slice:
    """The part of a run that one command does within its time budget.

    Parameters
    ----------
    choices : Choices
        What is run.
    folder : Path
        The run's folder.
    budget_s : float, optional
        Time from now [s]; by default without end.
    """

    def __init__(self, choices: Choices, folder: Path, budget_s: float | None = None):
        self._choices, self._folder, self._budget_s = choices, folder, budget_s
        seconds = math.inf
        if budget_s is not None:
            seconds = budget_s - TO_END_S - TO_END_SHARE * budget_s
        self.deadline = Deadline(seconds)
        self._whole = whole_parts(folder)
        self._pace: _Pace | None = None
        self._progress: RunProgress | None = None
        self.is_alone = place() is None

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise `TimeIsUp` when time is up; of several ranks none can stop within an epoch."""
        with self.deadline.enforced() if self.is_alone else nullcontext():
            yield

    def shown(self, display: Display, workers: int = 1) -> Display:
        """Return a display that also measures the pace, and stops processes' work in time."""
        return _Paced(display, self, workers)

    def set_pace(self, pace: _Pace) -> None:
        """Say what tells the pace of the stage that begins."""
        self._pace = pace

    def progress_of(self, run: Run, display: Display) -> RunProgress:
        """Return what shows and counts the training that begins."""
        self._progress = RunProgress(samples_to_train(run), display.quiet)
        return self._progress

    def stopped(self, run: Run | None) -> Stopped:
        """Return how far the run is now that time is up.

        Parameters
        ----------
        run : Run or None
            The run; None as long as its data set is not built.

        Raises
        ------
        BudgetTooShort
            If nothing was finished in this slice, so that the next one would end like it.
        """
        found = self._found(run)
        if launched_as_leader() and whole_parts(self._folder) == self._whole:
            raise BudgetTooShort(self._too_short(run, found))
        return found

    def _found(self, run: Run | None) -> Stopped:
        name = f"{self._choices.study} {self._choices.variant} {self._choices.preset}"
        if run is None:
            pace = self._pace or _Pace()
            return Stopped(name, "data", pace.done, pace.total, pace.seconds_left)
        if self._progress is None:  # to find out what there is to train can take long
            return Stopped(name, "training", whole_parts(self._folder).epochs, None, None)
        done, total, seconds_left = training_so_far(run)
        if done < total:
            return Stopped(name, "training", done, total, seconds_left)
        return Stopped(name, "evaluation", 0, len(run.seeds), None)

    def _too_short(self, run: Run | None, found: Stopped) -> str:
        what = {
            "data": "no part of the data set",
            "training": "no epoch",
            "evaluation": "no evaluation",
        }[found.stage]
        if run is None and self._pace is None:
            what = "nothing"  # to load the libraries took all of it
        advice = "give a longer one"
        if self._progress is not None and self._progress.epoch_left is not None:
            needed = self.deadline.passed + self._progress.epoch_left + TO_END_S
            least = math.ceil(OF_LEAST * needed / ROUNDED_TO_S) * ROUNDED_TO_S
            advice = f"by the rate so far it takes --time-budget {least}"
        return (
            f"{found.run}: {what} was finished within --time-budget {self._budget_s:g}: {advice}; "
            "what was whole before is kept."
        )


class WholeParts(NamedTuple):
    """How many shards, data sets, epochs and trained networks of a run are on disk [1]."""

    shards: int
    data_sets: int
    epochs: int
    networks: int


def whole_parts(folder: Path) -> WholeParts:
    """Return what is whole in a run's folder."""
    histories = folder.glob("seed-*/networks/*/history.csv")
    return WholeParts(
        shards=len(list((folder / f"{DATA_FILE}.parts").glob("shard-*.npz"))),
        data_sets=int((folder / DATA_FILE).exists()),
        epochs=sum(len(path.read_bytes().splitlines()) - 1 for path in histories),
        networks=len(list(folder.glob("seed-*/networks/*/done.json"))),
    )


def training_so_far(run: Run) -> tuple[int, int, float | None]:
    """Return epochs that are trained, all epochs, and the time that the others take [s].

    An epoch takes as long as the last ones of its network; else as those of another seed, or of
    another network in proportion to the examples. None where no network has been trained.
    """
    histories = {(s, name): run.history(s, name) for s in run.seeds for name in run.tasks}
    sizes = {name: len(t.examples_of(run.dataset)[0]) for name, t in run.tasks.items()}
    per_example = {
        key: _seconds_of_epoch(history) / sizes[key[1]]
        for key, history in histories.items()
        if history
    }
    total = sum(task.recipe.epochs for task in run.tasks.values()) * len(run.seeds)
    done = sum(len(history.get("epoch", ())) for history in histories.values())
    if not per_example:
        return done, total, None
    left = 0.0
    for (seed, name), history in histories.items():
        alike = [value for key, value in per_example.items() if key[1] == name]
        rate = per_example.get((seed, name)) or _mean(alike or list(per_example.values()))
        left += (run.tasks[name].recipe.epochs - len(history.get("epoch", ()))) * rate * sizes[name]
    return done, total, left


def _seconds_of_epoch(history: History) -> float:
    return _mean(history["seconds"][-LAST_EPOCHS:])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class _Pace:
    """How fast a stage goes that tells what it has done and what there is to do."""

    def __init__(self) -> None:
        self.done, self.total, self._reports = 0, 0, -1
        self._first, self._start = 0, time.monotonic()

    def report(self, done: int, total: int) -> None:
        """Say what is done; the first report is of what was found done."""
        self._reports += 1
        if self._reports == 0:
            self._first, self._start = done, time.monotonic()
        self.done, self.total = done, total

    @property
    def seconds_a_report(self) -> float:
        """Time from one report to the next [s]; 0 before the second one."""
        return (time.monotonic() - self._start) / self._reports if self._reports > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time that the rest takes [s]; None before the first and after the last."""
        new = self.done - self._first
        if new <= 0 or self.done == self.total:
            return None
        return (time.monotonic() - self._start) * (self.total - self.done) / new


class _Paced(Display):
    """Shows what another display shows, and keeps the pace."""

    def __init__(self, display: Display, slice_: Slice, workers: int):
        self._display, self._slice = display, slice_
        self.quiet = display.quiet
        # Those that work, and those that a pool has handed out and will not take back.
        self._in_flight = 2 * workers + 1 if workers > 1 else 0

    def announce(self, text: str) -> None:
        """Say what is being done now."""
        self._display.announce(text)

    @contextmanager
    def bar(self, label: str) -> Iterator[Progress]:
        """Show a bar; raises `TimeIsUp` when no other part can be finished in time."""
        pace = _Pace()
        self._slice.set_pace(pace)
        with self._display.bar(label) as progress:

            def update(done: int, total: int) -> None:
                progress(done, total)
                pace.report(done, total)
                if done < total and self._slice.is_alone:
                    self._check(pace)

            yield update

    def _check(self, pace: _Pace) -> None:
        if not self._slice.deadline.allows(self._in_flight * pace.seconds_a_report):
            raise TimeIsUp
