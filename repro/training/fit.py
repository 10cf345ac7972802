"""Training that can be stopped at any moment and goes on as if it had not been."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from repro.datasets.batches import Batches
from repro.errors import NotPossibleHere, ReproError
from repro.files import exclusive
from repro.training.between_epochs import Renew
from repro.training.compiled import keep_programs
from repro.training.deadline import NEVER, Deadline
from repro.training.devices import is_memory_full
from repro.training.loop import Loop
from repro.training.precision import precision
from repro.training.progress import RunProgress
from repro.training.recipe import Recipe, is_compiled
from repro.training.state import (
    CONFIGURATION,
    DONE,
    LOCK,
    Row,
    State,
    claim,
    columns,
    finish,
    load_state,
    load_weights,
    read_finished,
    settle,
)
from repro.training.steps import steps_of
from repro.training.world import ALONE, World

BuildModel = Callable[[], keras.Model]


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
    way: str | None = None,
    deadline: Deadline = NEVER,
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
    way : str, optional
        How steps are taken, as `repro.training.ways.check_way` takes it.
    deadline : Deadline
        Before it the training stops, with the state of a whole epoch written.

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
    NotPossibleHere
        If a batch does not fit in the device's memory.
    ReproError
        If the folder holds another training or is damaged, if the loss is no longer a finite
        number (the state of before is kept), or if the folder cannot be written.
    TimeIsUp
        If the next epoch would end after the deadline.
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
        model = compiled(build_model, recipe, seed, len(train))
        world.average_gradients(model.optimizer, recipe.compression)
        state = world.lead(lambda: _state_to_start_from(model, recipe.keep, folder, world))
        state.restore(model, folder)
        steps = steps_of(model, world, way)
        loop = Loop(steps, recipe, train, validation, folder, world, renew, deadline)
        with _full_memory_told(recipe, folder):
            history = loop.run(state, on_epoch, progress)
        _share_kept_weights(
            model, lambda: finish(folder, model, history, recipe.keep, steps.way), world
        )
    return model, columns(history)


@contextmanager
def _full_memory_told(recipe: Recipe, folder: Path) -> Iterator[None]:
    """Say what to do where a step needs more memory than the device has."""
    try:
        yield
    except ReproError:
        raise
    except Exception as error:
        if not is_memory_full(error):
            raise
        raise NotPossibleHere(
            f"The device's memory is full: a batch of {recipe.batch_size} in {recipe.precision} "
            f"does not fit. Take a smaller batch (--set recipe.batch_size=N), 16 bits "
            f"(--precision mixed_bfloat16) or more devices; whole epochs are kept in {folder}."
        ) from None


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


def compiled(
    build_model: BuildModel, recipe: Recipe, seed: int, steps_per_epoch: int
) -> keras.Model:
    """Return a new network, compiled as for its training.

    Parameters
    ----------
    build_model : callable
        Returns a new, built network; called under the recipe's precision with the seed set.
    recipe : Recipe
        How it is trained.
    seed : int
        Seed of the initial weights.
    steps_per_epoch : int
        Steps of an epoch [1].
    """
    model = _built(build_model, recipe, seed)
    model.compile(
        optimizer=recipe.build_optimizer(steps_per_epoch),
        loss=recipe.build_loss(),
        jit_compile=is_compiled(recipe.jit_compile),
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _built(build_model: BuildModel, recipe: Recipe, seed: int) -> keras.Model:
    if keras.config.backend() == "jax":
        keep_programs()
    with precision(recipe.precision):
        keras.utils.set_random_seed(seed)
        model = build_model()
    if not model.built:
        raise ReproError(
            f"The network {model.name} has no variables yet: give it a keras.Input, or build it "
            "before build_model returns it."
        )
    return model
