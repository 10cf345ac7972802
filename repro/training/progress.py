"""How far a run's trainings are: a bar on a terminal, a line per epoch everywhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

REFRESHES_PER_SECOND = 2  # more would take time from the training on few cores
SPEED_WINDOW = 600.0  # [s]
LOSSES = ("loss", "val_loss")


class RunProgress:
    """Shows the trainings of a run on standard error, with the time left for all of them.

    Parameters
    ----------
    samples : sequence of int
        Training samples times epochs of each network, in the order of training [1].
    quiet : bool
        Show nothing.

    Attributes
    ----------
    epoch_left : float or None
        Time until the end of the epoch, by its rate so far [s]; None before its first samples.
    """

    def __init__(self, samples: Sequence[int], quiet: bool = False):
        self.epoch_left: float | None = None
        self._samples = list(samples)
        self._started = 0  # networks
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.fields[network]}epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:.0f} samples/s"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            refresh_per_second=REFRESHES_PER_SECOND,
            speed_estimate_period=SPEED_WINDOW,
            transient=True,
        )
        self._task = self._bar.add_task(
            "", total=sum(self._samples), network="", epoch="", rate=0.0
        )

    @property
    def completed(self) -> float:
        """Samples that are through, of all networks and epochs together."""
        return self._bar.tasks[0].completed

    @property
    def seconds_left(self) -> float | None:
        """Time left for the whole run [s]; None before it can be told."""
        return self._bar.tasks[0].time_remaining

    def start_network(self, epochs: int, samples: int, done: int) -> TrainingProgress:
        """Go on to the next network.

        Parameters
        ----------
        epochs : int
            Epochs of its whole training [1].
        samples : int
            Training samples per epoch [1].
        done : int
            Epochs that were done before it was resumed [1].
        """
        before = self._before_next()
        self._started += 1
        if len(self._samples) > 1:
            self.show(network=f"network {self._started}/{len(self._samples)}, ")
        self._jump(before + done * samples)
        return TrainingProgress(self, epochs, samples, before)

    def skip_network(self) -> None:
        """Say that the next network was trained before."""
        self._started += 1
        self._jump(self._before_next())

    def show(self, **fields: float | str) -> None:
        """Show the samples that are ``completed``, the ``epoch`` or the ``rate``."""
        self._bar.update(self._task, **fields)

    def show_bar(self, shown: bool) -> None:
        """Show the bar, or take it away so that others may write to the terminal."""
        if shown:
            self._bar.start()
        else:
            self._bar.stop()

    def print(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(line, markup=False)

    def _before_next(self) -> int:
        return sum(self._samples[: self._started])

    def _jump(self, completed: int) -> None:
        """Count samples as completed that took no time, so that they do not tell the speed."""
        if completed != self.completed:
            self._bar.reset(self._task, completed=completed)


class TrainingProgress:
    """Shows the training of one network; `RunProgress.start_network` makes one.

    Parameters
    ----------
    run : RunProgress
        The run that it is part of.
    epochs : int
        Epochs of the whole training [1].
    samples : int
        Training samples per epoch [1].
    before : int
        Samples of the networks before it, times their epochs [1].
    """

    def __init__(self, run: RunProgress, epochs: int, samples: int, before: int):
        self._run, self._epochs, self._samples, self._before = run, epochs, samples, before

    def __enter__(self) -> Self:
        self._run.show_bar(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run.show_bar(False)

    def start_epoch(self, epoch: int) -> None:
        """Say that an epoch, counted from 1, begins."""
        self._started = time.perf_counter()
        self._done_before = self._before + (epoch - 1) * self._samples
        self._run.epoch_left = None
        self._run.show(epoch=f"{epoch}/{self._epochs}")

    def update(self, samples: int) -> None:
        """Say how many samples of the epoch are through."""
        rate = samples / (time.perf_counter() - self._started)
        self._run.epoch_left = (self._samples - samples) / rate
        self._run.show(completed=self._done_before + samples, rate=rate)

    def end_epoch(self, row: dict[str, float]) -> None:
        """Show the losses of an epoch."""
        losses = "  ".join(f"{name} {row[name]:.6g}" for name in LOSSES if name in row)
        rate = f"{row['samples_per_second']:.0f} samples/s"
        self._run.print(f"epoch {row['epoch']}/{self._epochs}  {losses}  {rate}")
