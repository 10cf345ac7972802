"""Training that can be stopped at any moment and goes on as if it had not been."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from repro.datasets.batches import Arrays, Batches
from repro.errors import ReproError
from repro.training.precision import precision
from repro.training.progress import TrainingProgress
from repro.training.recipe import Recipe
from repro.training.state import (
    CONFIGURATION,
    DONE,
    Row,
    State,
    claim,
    columns,
    exclusive,
    finish,
    load_state,
    load_weights,
    read_json,
    save_epoch,
    settle,
)

BuildModel = Callable[[], keras.Model]


def fit(
    build_model: BuildModel,
    recipe: Recipe,
    train: Batches,
    validation: Batches,
    folder: str | Path,
    seed: int,
    configuration: dict[str, Any],
    on_epoch: Callable[[Row], None] | None = None,
    quiet: bool = False,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train a network; called again on the same folder, resume, or load what is done.

    A resumed training equals an uninterrupted one bit for bit, dropout included, wherever two
    uninterrupted ones are equal: always on one thread of a CPU, elsewhere after
    `enable_determinism`. Layers must draw random numbers from a ``keras.random.SeedGenerator``
    of their own, as Keras's layers do.

    Parameters
    ----------
    build_model : callable
        Returns a new, built network; called under the recipe's precision with the seed set.
    recipe : Recipe
        How to train.
    train, validation : Batches
        Training samples in a new order every epoch; validation samples, in fixed order.
    folder : pathlib.Path
        Where state, history and weights are kept.
    seed : int
        Seed of the initial weights and of dropout.
    configuration : dict
        What else alters the result, in the types of JSON: a folder with another is refused.
    on_epoch : callable, optional
        Called after every epoch with its row of the history, when its state is safe.
    quiet : bool
        Show no progress on standard error.

    Returns
    -------
    model : keras.Model
        The network with the weights that the recipe keeps.
    history : dict of list
        Per epoch: ``epoch`` from 1, ``loss`` and ``val_loss`` [mean over the samples],
        ``seconds``, ``samples_per_second`` of training alone, and ``learning_rate`` of the
        epoch's first step.

    Raises
    ------
    ReproError
        If the folder holds another training or is damaged, if the loss is no longer a finite
        number (the state of before is kept), or if the folder cannot be written.
    """
    folder = Path(folder)
    with exclusive(folder):
        claim(folder, _settings(recipe, train, validation, seed, configuration))
        if (folder / DONE).exists():
            model = load_model(build_model, folder)
            return model, columns(read_json(folder / DONE)["history"])
        state = load_state(folder)
        model = _compiled(build_model, recipe, seed, len(train))
        if state is not None:
            state.restore(model, folder)
            settle(folder, state)
        training = _Training(model, recipe, train, validation, folder, quiet)
        history = training.run(state.history if state else [], on_epoch)
        finish(folder, model, history, recipe.keep)
    return model, columns(history)


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
    done = read_json(folder / DONE)
    settings = read_json(folder / CONFIGURATION)
    recipe = Recipe(**settings["recipe"])
    model = _built(build_model, recipe, settings["seed"])
    model.jit_compile = _jit_compile(recipe)
    load_weights(model, folder / done["weights"], done["sha256"])
    return model


class _Training:
    """The loop over epochs of one network."""

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        train: Batches,
        validation: Batches,
        folder: Path,
        quiet: bool,
    ):
        self.model, self.recipe = model, recipe
        self.train, self.validation = train, validation
        self.folder, self.quiet = folder, quiet

    def run(self, history: list[Row], on_epoch: Callable[[Row], None] | None) -> list[Row]:
        """Train from the end of a history to the recipe's last epoch; return all of it."""
        history = list(history)
        epochs = self.recipe.epochs
        with TrainingProgress(epochs, len(history), self.train.n_samples, self.quiet) as progress:
            for epoch in range(len(history) + 1, epochs + 1):
                progress.start_epoch(epoch)
                row = self._epoch(epoch, progress)
                history.append(row)
                save_epoch(self.folder, self.model, State.of(self.model, history), self.recipe.keep)
                progress.end_epoch(row)
                if on_epoch is not None:
                    on_epoch(row)
        return history

    def _epoch(self, epoch: int, progress: TrainingProgress) -> Row:
        learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        start = time.perf_counter()
        loss = self._train_once(epoch, progress)
        seconds_training = time.perf_counter() - start
        val_loss = self._validate(epoch)
        return {
            "epoch": epoch,
            "loss": loss,
            "val_loss": val_loss,
            "seconds": time.perf_counter() - start,
            "samples_per_second": self.train.n_samples / seconds_training,
            "learning_rate": learning_rate,
        }

    # One batch at a time, since keras.Model.fit reads TensorFlow's batches through a generator
    # data set, which costs a tenth of a small convolutional network's step on a CPU.
    def _train_once(self, epoch: int, progress: TrainingProgress) -> float:
        self.train.epoch = epoch - 1
        total, seen = 0.0, 0
        for x, y in self.train:
            loss = self.model.train_on_batch(x, y, return_dict=True)["loss"]
            self._check_finite(loss, "loss", epoch)
            n = _n_samples(x)
            total, seen = total + n * float(loss), seen + n
            progress.update(seen)
        return total / seen

    def _validate(self, epoch: int) -> float:
        total = 0.0
        for x, y in self.validation:
            loss = self.model.test_on_batch(x, y, return_dict=True)["loss"]
            self._check_finite(loss, "validation loss", epoch)
            total += _n_samples(x) * float(loss)
        return total / self.validation.n_samples

    def _check_finite(self, loss: float, name: str, epoch: int) -> None:
        if math.isfinite(loss):
            return
        kept = f"the state after epoch {epoch - 1} is kept" if epoch > 1 else "nothing was kept"
        raise ReproError(
            f"The {name} became {loss} in epoch {epoch} of {self.recipe.epochs} in {self.folder} "
            f"({kept}): lower the learning rate or set clip_norm, and train in another folder."
        )


def _n_samples(x: Arrays) -> int:
    return len(keras.tree.flatten(x)[0])


def _settings(
    recipe: Recipe,
    train: Batches,
    validation: Batches,
    seed: int,
    configuration: dict[str, Any],
) -> dict[str, Any]:
    return {
        "configuration": configuration,
        "recipe": asdict(recipe),
        "seed": seed,
        "backend": keras.config.backend(),
        "train": _identity(train),
        "validation": _identity(validation),
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
        jit_compile=_jit_compile(recipe),
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


def _jit_compile(recipe: Recipe) -> bool:
    # Keras would run JAX one operation at a time without it.
    return recipe.jit_compile or keras.config.backend() == "jax"
