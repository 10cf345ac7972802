"""How far a training is: a bar on a terminal, a line per epoch everywhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

REFRESHES_PER_SECOND = 2  # more would take time from the training on few cores
SPEED_WINDOW = 600.0  # [s]
LOSSES = ("loss", "val_loss")


class TrainingProgress:
    """Shows a training on standard error, with its rate and the time left.

    Parameters
    ----------
    epochs : int
        Epochs of the whole training [1].
    done : int
        Epochs done before it was resumed [1].
    samples : int
        Training samples per epoch [1].
    quiet : bool
        Show nothing.
    """

    def __init__(self, epochs: int, done: int, samples: int, quiet: bool = False):
        self._epochs, self._samples = epochs, samples
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
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
            "", total=epochs * samples, completed=done * samples, epoch="", rate=0.0
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def start_epoch(self, epoch: int) -> None:
        """Say that an epoch, counted from 1, begins."""
        self._started = time.perf_counter()
        self._done_before = (epoch - 1) * self._samples
        self._bar.update(self._task, epoch=f"{epoch}/{self._epochs}")

    def update(self, samples: int) -> None:
        """Say how many samples of the epoch are through."""
        rate = samples / (time.perf_counter() - self._started)
        self._bar.update(self._task, completed=self._done_before + samples, rate=rate)

    def end_epoch(self, row: dict[str, float]) -> None:
        """Show the losses of an epoch."""
        losses = "  ".join(f"{name} {row[name]:.6g}" for name in LOSSES if name in row)
        rate = f"{row['samples_per_second']:.0f} samples/s"
        self._console.print(f"epoch {row['epoch']}/{self._epochs}  {losses}  {rate}", markup=False)
