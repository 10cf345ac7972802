"""The loop over the epochs of one network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from repro.datasets.batches import Batches, Share
from repro.errors import ReproError
from repro.training.between_epochs import BetweenEpochs, NamedArrays, Renew
from repro.training.deadline import Deadline, TimeIsUp
from repro.training.devices import device_count
from repro.training.progress import RunProgress, TrainingProgress
from repro.training.recipe import Recipe
from repro.training.state import EpochSoFar, Row, State, save_epoch
from repro.training.steps import Steps
from repro.training.world import World

# Writing the state takes no more than this share of the time, so that short epochs of a large
# network are not spent on the disk.
WRITING_SHARE = 0.1


class Loop:
    """Trains a network epoch by epoch, and keeps its state.

    Parameters
    ----------
    steps : Steps
        What takes the steps of the compiled network.
    recipe : Recipe
        How to train.
    train : Batches
        Training samples.
    validation : Batches or None
        Validation samples.
    folder : pathlib.Path
        Where the state is kept.
    world : World
        The processes that train together.
    renew : callable or None
        Finds arrays anew before every epoch.
    deadline : Deadline
        Before it the training stops.
    """

    def __init__(
        self,
        steps: Steps,
        recipe: Recipe,
        train: Batches,
        validation: Batches | None,
        folder: Path,
        world: World,
        renew: Renew | None,
        deadline: Deadline,
    ):
        self.steps, self.recipe = steps, recipe
        self.train, self.validation = train, validation
        self.folder, self.world = folder, world
        batches = [train] if validation is None else [train, validation]
        self._between = BetweenEpochs(steps.model, recipe, renew, batches, world)
        self._arrays: NamedArrays = {}
        self._write_after = 0.0  # on the clock of time.perf_counter [s]
        self._deadline, self._writing = deadline, 0.0  # [s]

    def run(
        self, state: State, on_epoch: Callable[[Row], None] | None, run_progress: RunProgress
    ) -> list[Row]:
        """Train from a state to the recipe's last epoch; return the whole history."""
        history, so_far, epochs = list(state.history), state.epoch, self.recipe.epochs
        self._arrays = state.arrays
        with run_progress.start_network(epochs, self.train.n_samples, len(history)) as progress:
            for epoch in range(len(history) + 1, epochs + 1):
                progress.start_epoch(epoch)
                row = self._epoch(history, so_far, progress)
                history.append(row)
                stops = self.world.lead(lambda: self._save(history))
                self._commit(history, EpochSoFar())
                progress.end_epoch(row)
                if on_epoch is not None:
                    on_epoch(row)
                if stops:
                    raise TimeIsUp
                so_far = EpochSoFar()
        self.steps.settle()
        return history

    def _save(self, history: list[Row]) -> bool:
        """Write the state unless that may wait; tell whether there is no time to go on."""
        unfinished = len(history) < self.recipe.epochs
        stops = unfinished and not self._deadline.allows(history[-1]["seconds"] + self._writing)
        start, may_wait = time.perf_counter(), self.recipe.keep == "last" and not stops
        if may_wait and start < self._write_after and unfinished:
            return False
        state = self._state(history, EpochSoFar())
        save_epoch(self.folder, self.steps.model, state, self.recipe.keep)
        end = time.perf_counter()
        self._writing = end - start
        self._write_after = end + self._writing * (1 / WRITING_SHARE - 1)
        return stops

    def _commit(self, history: list[Row], so_far: EpochSoFar) -> None:
        self.world.commit(str(self.folder), lambda: self._state(history, so_far))

    def _state(self, history: list[Row], so_far: EpochSoFar) -> State:
        self.steps.settle()
        return State.of(self.steps.model, history, so_far, self._arrays)

    def _epoch(self, history: list[Row], so_far: EpochSoFar, progress: TrainingProgress) -> Row:
        epoch, start = len(history) + 1, time.perf_counter()
        if self._between.alters_the_network:
            self.steps.settle()
        self._arrays = self._between.prepare(history, self._arrays, begun=so_far.steps > 0)
        preparing = time.perf_counter() - start
        if so_far.steps == 0:
            so_far = replace(so_far, learning_rate=self.steps.learning_rate())
        trained = self._train(history, so_far, progress)
        start = time.perf_counter()
        validated = {"val_loss": self._validate(epoch)} if self.validation is not None else {}
        return {
            "epoch": epoch,
            "loss": trained.loss / trained.samples,
            **validated,
            "seconds": preparing + trained.seconds + time.perf_counter() - start,
            "samples_per_second": trained.samples / trained.seconds,
            "learning_rate": trained.learning_rate,
            "workers": self.world.size * device_count(),
        }

    def _train(
        self, history: list[Row], so_far: EpochSoFar, progress: TrainingProgress
    ) -> EpochSoFar:
        world, epoch = self.world, len(history) + 1
        self.train.epoch = epoch - 1
        tally = _Tally(so_far, world)
        for losses, shares in self.steps.train(self.train, so_far.steps):
            self._check_finite(losses, "loss", epoch)
            tally.add(losses, shares)
            progress.update(tally.samples)
            if world.commit_steps and tally.steps % world.commit_steps == 0:
                self._commit(history, tally.gather())
        return tally.gather()

    def _validate(self, epoch: int) -> float:
        total = 0.0
        for losses, shares in self.steps.validate(self.validation):
            self._check_finite(losses, "validation loss", epoch)
            total = _sum(losses, shares, total)
        return self.world.sum([total])[0] / self.validation.n_samples

    def _check_finite(self, losses: np.ndarray, name: str, epoch: int) -> None:
        wrong = losses[~np.isfinite(losses)]
        if not len(wrong):
            return
        kept = f"the state after epoch {epoch - 1} is kept" if epoch > 1 else "nothing was kept"
        raise ReproError(
            f"The {name} became {wrong[0]} in epoch {epoch} of {self.recipe.epochs} in "
            f"{self.folder} ({kept}): lower the learning rate or set clip_norm, and train in "
            "another folder."
        )


class _Tally:
    """Adds up an epoch: what all ranks have done together, and this one since.

    Attributes
    ----------
    steps, samples : int
        Batches of the epoch that are through, and their samples [1].
    """

    def __init__(self, so_far: EpochSoFar, world: World):
        self.steps, self.samples = so_far.steps, so_far.samples
        self._together, self._world = so_far, world
        self._loss, self._start = 0.0, time.perf_counter()

    def add(self, losses: np.ndarray, shares: list[Share]) -> None:
        """Add the mean losses of this rank's shares of some batches."""
        self.steps += len(shares)
        self.samples += sum(share.batch for share in shares)
        self._loss = _sum(losses, shares, self._loss)

    def gather(self) -> EpochSoFar:
        """Return the epoch so far, summed over the ranks, each of which must ask for it."""
        now = time.perf_counter()
        self._together = replace(
            self._together,
            steps=self.steps,
            samples=self.samples,
            loss=self._together.loss + self._world.sum([self._loss])[0],
            seconds=self._together.seconds + now - self._start,
        )
        self._loss, self._start = 0.0, now
        return self._together


def _sum(losses: np.ndarray, shares: list[Share], total: float) -> float:
    """Add the losses of samples to a sum, one step after the other: pieces alter no rounding."""
    for loss, share in zip(losses, shares, strict=True):
        total += share.counted * float(loss)
    return total
