"""Training that can be stopped at any moment and goes on as if it had not been."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from repro.datasets.batches import Batches, Share
from repro.errors import ReproError
from repro.files import exclusive
from repro.training.between_epochs import BetweenEpochs, NamedArrays, Renew
from repro.training.devices import device_count
from repro.training.precision import precision
from repro.training.progress import RunProgress, TrainingProgress
from repro.training.recipe import Recipe, is_compiled
from repro.training.state import (
    CONFIGURATION,
    DONE,
    LOCK,
    EpochSoFar,
    Row,
    State,
    claim,
    columns,
    finish,
    load_state,
    load_weights,
    read_finished,
    save_epoch,
    settle,
)
from repro.training.world import ALONE, World

BuildModel = Callable[[], keras.Model]
# Writing the state takes no more than this share of the time, so that short epochs of a large
# network are not spent on the disk.
WRITING_SHARE = 0.1


def fit(
    build_model: BuildModel,
    recipe: Recipe,
    train: Batches,
    validation: Batches | None,
    folder: str | Path,
    seed: int,
    configuration: dict[str, Any],
    on_epoch: Callable[[Row], None] | None = None,
    quiet: bool = False,
    world: World = ALONE,
    renew: Renew | None = None,
    progress: RunProgress | None = None,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train a network; called again on the same folder, resume, or load what is done.

    A resumed training equals an uninterrupted one bit for bit, dropout included, wherever two
    uninterrupted ones are equal: always on one thread of a CPU, elsewhere after
    `enable_determinism`. Layers must draw random numbers from a ``keras.random.SeedGenerator``
    of their own, as Keras's layers do.

    Several processes share out each batch and follow the course of one process, to within
    rounding, if dropout is that of `repro.training.dropout`; batch normalisation takes each
    process's own share for a batch. Their number may change between two calls.

    Parameters
    ----------
    build_model : callable
        Returns a new, built network; called under the recipe's precision with the seed set.
    recipe : Recipe
        How to train.
    train : Batches
        Training samples, in a new order every epoch.
    validation : Batches or None
        Validation samples, in fixed order; none where the recipe keeps the last weights.
    folder : pathlib.Path
        Where state, history and weights are kept.
    seed : int
        Seed of the initial weights and of dropout.
    configuration : dict
        What else alters the result, in the types of JSON: a folder with another is refused.
    on_epoch : callable, optional
        Called after every epoch with its row of the history, when its state is safe (or, where
        the last weights are kept, can wait for a later epoch since writing takes long).
    quiet : bool
        Show no progress on standard error.
    world : World
        The processes that train together; each of them calls this function.
    renew : callable, optional
        Finds arrays anew before every epoch, such as masks or an answer for each example, from
        the network as it stands: ``renew(model, epochs, arrays) -> arrays`` with the epochs that
        are through and the arrays of the last, ``{}`` before the first. It must be a function of
        these alone and leave the network as it is: the arrays go to `load` as its last argument,
        and to the network's untrained variables of the same names.
    progress : RunProgress, optional
        Of the run that this network is part of; by default this network is the whole run.

    Returns
    -------
    model : keras.Model
        The network with the weights that the recipe keeps.
    history : dict of list
        Per epoch: ``epoch`` from 1, ``loss`` and ``val_loss`` if there are samples to validate
        with [mean over the samples],
        ``seconds``, ``samples_per_second`` of training alone, ``learning_rate`` of the epoch's
        first step, and ``workers`` that took part at its end.

    Raises
    ------
    ReproError
        If the folder holds another training or is damaged, if the loss is no longer a finite
        number (the state of before is kept), or if the folder cannot be written.
    """
    folder = Path(folder)
    if world.size > train.n_samples:
        raise ReproError(
            f"{world.size} workers cannot share {train.n_samples} training samples: start fewer."
        )
    recipe.build_loss()  # an unknown one is refused before anything is written
    if validation is None and recipe.keep == "best":
        raise ReproError(
            "The best weights cannot be told without samples to validate with: build a data set "
            "that has some, or keep the weights of the best_training loss or the last."
        )
    settings = _settings(recipe, train, validation, seed, configuration)
    samples = recipe.epochs * train.n_samples
    progress = progress or RunProgress([samples], quiet or not world.leads)
    with ExitStack() as held:

        def open_folder() -> bool:
            held.enter_context(exclusive(folder / LOCK, f"training in {folder}"))
            claim(folder, settings)
            return (folder / DONE).exists()

        if world.lead(open_folder):
            progress.skip_network()
            return _load_done(_built(build_model, recipe, seed), recipe, folder, world)
        model = _compiled(build_model, recipe, seed, len(train))
        world.average_gradients(model.optimizer, recipe.compression)
        state = world.lead(lambda: _state_to_start_from(model, recipe.keep, folder, world))
        state.restore(model, folder)
        training = _Training(model, recipe, train, validation, folder, world, renew)
        history = training.run(state, on_epoch, progress)
        _share_kept_weights(model, lambda: finish(folder, model, history, recipe.keep), world)
    return model, columns(history)


def _load_done(
    model: keras.Model, recipe: Recipe, folder: Path, world: World
) -> tuple[keras.Model, dict[str, list[float]]]:
    model.jit_compile = is_compiled(recipe.jit_compile)
    _share_kept_weights(model, lambda: _load_kept_weights(model, folder), world)
    return model, columns(world.lead(lambda: read_finished(folder, DONE)["history"]))


def _share_kept_weights(model: keras.Model, load: Callable[[], None], world: World) -> None:
    """Let the leading rank load the kept weights, and give them to all."""

    def kept() -> list[np.ndarray]:
        load()
        return model.get_weights()

    model.set_weights(world.lead(kept))


def _state_to_start_from(model: keras.Model, keep: str, folder: Path, world: World) -> State:
    """Return the newest state of a training, and bring its folder into step with it."""
    state = world.committed(str(folder)) or load_state(folder)
    if state is None:
        return State.of(model, [])
    if state.history:
        settle(folder, state, keep)
    return state


def load_model(build_model: BuildModel, folder: str | Path) -> keras.Model:
    """Return a trained network with the kept weights.

    Parameters
    ----------
    build_model : callable
        Returns a new, built network; called under the precision it was trained in.
    folder : pathlib.Path
        The folder that `fit` filled.

    Raises
    ------
    ReproError
        If the training there is not done, or a file is damaged or of another network.
    """
    folder = Path(folder)
    settings = read_finished(folder, CONFIGURATION)
    recipe = Recipe.of(settings["recipe"])
    model = _built(build_model, recipe, settings["seed"])
    model.jit_compile = is_compiled(recipe.jit_compile)
    _load_kept_weights(model, folder)
    return model


def _load_kept_weights(model: keras.Model, folder: Path) -> None:
    done = read_finished(folder, DONE)
    load_weights(model, folder / done["weights"], done["sha256"])


class _Training:
    """The loop over epochs of one network."""

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        train: Batches,
        validation: Batches | None,
        folder: Path,
        world: World,
        renew: Renew | None,
    ):
        self.model, self.recipe = model, recipe
        self.train, self.validation = train, validation
        self.folder, self.world = folder, world
        batches = [train] if validation is None else [train, validation]
        self._between = BetweenEpochs(model, recipe, renew, batches, world)
        self._arrays: NamedArrays = {}
        self._write_after = 0.0  # on the clock of time.perf_counter [s]

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
                self.world.lead(lambda: self._save(history))
                self._commit(history, EpochSoFar())
                progress.end_epoch(row)
                if on_epoch is not None:
                    on_epoch(row)
                so_far = EpochSoFar()
        return history

    def _save(self, history: list[Row]) -> None:
        start, may_wait = time.perf_counter(), self.recipe.keep == "last"
        if may_wait and start < self._write_after and len(history) < self.recipe.epochs:
            return
        save_epoch(self.folder, self.model, self._state(history, EpochSoFar()), self.recipe.keep)
        end = time.perf_counter()
        self._write_after = end + (end - start) * (1 / WRITING_SHARE - 1)

    def _commit(self, history: list[Row], so_far: EpochSoFar) -> None:
        self.world.commit(str(self.folder), lambda: self._state(history, so_far))

    def _state(self, history: list[Row], so_far: EpochSoFar) -> State:
        return State.of(self.model, history, so_far, self._arrays)

    def _epoch(self, history: list[Row], so_far: EpochSoFar, progress: TrainingProgress) -> Row:
        epoch, start = len(history) + 1, time.perf_counter()
        self._arrays = self._between.prepare(history, self._arrays, begun=so_far.steps > 0)
        preparing = time.perf_counter() - start
        if so_far.steps == 0:
            now = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
            so_far = replace(so_far, learning_rate=float(now))
        trained = self._train_once(history, so_far, progress)
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

    # One batch at a time, since keras.Model.fit reads TensorFlow's batches through a generator
    # data set, which costs a tenth of a small convolutional network's step on a CPU.
    def _train_once(
        self, history: list[Row], so_far: EpochSoFar, progress: TrainingProgress
    ) -> EpochSoFar:
        world, epoch = self.world, len(history) + 1
        self.train.epoch = epoch - 1
        tally = _Tally(so_far, world)
        for x, y, share in self.train.shares(world.rank, world.size, so_far.steps):
            world.take(share)
            loss = self.model.train_on_batch(x, y, return_dict=True)["loss"]
            self._check_finite(loss, "loss", epoch)
            tally.add(loss, share)
            progress.update(tally.samples)
            if world.commit_steps and tally.steps % world.commit_steps == 0:
                self._commit(history, tally.gather())
        self._average_statistics()
        return tally.gather()

    def _average_statistics(self) -> None:
        """Give all ranks the mean of what layers such as batch normalisation saw on each."""
        measured = [
            variable
            for variable in self.model.non_trainable_variables
            if keras.backend.is_float_dtype(variable.dtype)
        ]
        if self.world.size > 1 and measured:
            values = [keras.ops.convert_to_numpy(variable) for variable in measured]
            for variable, mean in zip(measured, self.world.average(values), strict=True):
                variable.assign(mean)

    def _validate(self, epoch: int) -> float:
        world, total = self.world, 0.0
        for x, y, share in self.validation.shares(world.rank, world.size):
            world.take(share)
            loss = self.model.test_on_batch(x, y, return_dict=True)["loss"]
            self._check_finite(loss, "validation loss", epoch)
            total += share.counted * float(loss)
        return world.sum([total])[0] / self.validation.n_samples

    def _check_finite(self, loss: float, name: str, epoch: int) -> None:
        if math.isfinite(loss):
            return
        kept = f"the state after epoch {epoch - 1} is kept" if epoch > 1 else "nothing was kept"
        raise ReproError(
            f"The {name} became {loss} in epoch {epoch} of {self.recipe.epochs} in {self.folder} "
            f"({kept}): lower the learning rate or set clip_norm, and train in another folder."
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

    def add(self, loss: float, share: Share) -> None:
        """Add the mean loss of this rank's share of a batch."""
        self.steps += 1
        self.samples += share.batch
        self._loss += share.counted * float(loss)

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


def _settings(
    recipe: Recipe,
    train: Batches,
    validation: Batches | None,
    seed: int,
    configuration: dict[str, Any],
) -> dict[str, Any]:
    return {
        "configuration": configuration,
        "recipe": recipe.described(),
        "seed": seed,
        "backend": keras.config.backend(),
        "train": _identity(train),
        "validation": None if validation is None else _identity(validation),
    }


def _identity(batches: Batches) -> dict[str, Any]:
    return {
        "samples": batches.n_samples,
        "rows": hashlib.sha256(batches.rows.astype("<i8").tobytes()).hexdigest(),
        "batch_size": batches.batch_size,
        "seed": batches.seed,
    }


def _compiled(
    build_model: BuildModel, recipe: Recipe, seed: int, steps_per_epoch: int
) -> keras.Model:
    model = _built(build_model, recipe, seed)
    model.compile(
        optimizer=recipe.build_optimizer(steps_per_epoch),
        loss=recipe.build_loss(),
        jit_compile=is_compiled(recipe.jit_compile),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _built(build_model: BuildModel, recipe: Recipe, seed: int) -> keras.Model:
    with precision(recipe.precision):
        keras.utils.set_random_seed(seed)
        model = build_model()
    if not model.built:
        raise ReproError(
            f"The network {model.name} has no variables yet: give it a keras.Input, or build it "
            "before build_model returns it."
        )
    return model
