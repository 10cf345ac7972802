"""Training: every network of a run, for every seed; called again, resume."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.code_hash import hashed_code
from repro.datasets.store import Dataset
from repro.display import SILENT, Display
from repro.errors import ReproError
from repro.runs.folder import RunFile, claim_code, claim_folder
from repro.runs.run import WEIGHTS_NEEDED, Run, weights_hash
from repro.seeds import integer_seed
from repro.study import Task
from repro.training.deadline import NEVER, Deadline
from repro.training.progress import RunProgress
from repro.training.world import ALONE, World

if TYPE_CHECKING:
    import keras


def train(
    run: Run,
    display: Display = SILENT,
    world: World = ALONE,
    way: str | None = None,
    progress: RunProgress | None = None,
    deadline: Deadline = NEVER,
) -> None:
    """Train every network of a run for each seed; called again, resume.

    Parameters
    ----------
    run : Run
        The run.
    display : Display
        Where progress goes.
    world : World
        The processes that train together.
    way : str, optional
        How steps are taken, as `repro.training.ways.check_way` takes it.
    progress : RunProgress, optional
        What counts the samples that are through; by default a new one.
    deadline : Deadline
        Before it the training stops, with the state of a whole epoch written.

    Raises
    ------
    ReproError
        If the folder holds a run of another configuration or of other code, the ranks differ in
        code, data or configuration, or the loss is no longer finite.
    TimeIsUp
        If the next epoch would end after the deadline.
    """
    from repro.training.precision import enable_determinism

    if run.choices.deterministic:
        enable_determinism()
    progress = progress or RunProgress(samples_to_train(run), display.quiet)
    for seed in run.seeds:
        file = run.file(seed)
        world.agree(_facts(file))
        world.lead(partial(_claim, run, file))
        _train_seed(run, file, display, world, progress, way, deadline)


def _claim(run: Run, file: RunFile) -> None:
    """Say that a seed is trained in a folder, by this code unless it is trained already."""
    from repro.training.state import DONE

    claim_folder(run.folder, file)
    if not all((run.network_folder(file.seed, name) / DONE).exists() for name in run.tasks):
        claim_code(run.folder, file.seed, hashed_code(run.study.name))


def samples_to_train(run: Run) -> list[int]:
    """Return training samples times epochs of every network of every seed, in their order."""
    tasks = run.tasks.values()
    one_seed = [t.recipe.epochs * len(t.examples_of(run.dataset)[0]) for t in tasks]
    return one_seed * len(run.seeds)


def _train_seed(
    run: Run,
    file: RunFile,
    display: Display,
    world: World,
    progress: RunProgress,
    way: str | None,
    deadline: Deadline,
) -> None:
    needed = {name for task in run.tasks.values() for name in task.needs}
    models: dict[str, keras.Model] = {}
    for name, task in run.tasks.items():
        display.announce(f"{run.study.name} {run.choices.variant}, seed {file.seed}: train {name}")
        folder = run.network_folder(file.seed, name)
        model = train_task(task, models, run.dataset, folder, file, world, progress, way, deadline)
        if name in needed:
            models[name] = model


def train_task(
    task: Task,
    needed: Mapping[str, keras.Model],
    dataset: Dataset,
    folder: Path,
    file: RunFile,
    world: World = ALONE,
    progress: RunProgress | None = None,
    way: str | None = None,
    deadline: Deadline = NEVER,
) -> keras.Model:
    """Train one network, or go on where its training was stopped; return it.

    Parameters
    ----------
    task : Task
        What is trained.
    needed : mapping
        The trained networks that the task needs, by task.
    dataset : Dataset
        What it is trained on.
    folder : Path
        Where the network is kept.
    file : RunFile
        What decides its weights.
    world : World
        The processes that train together.
    progress : RunProgress, optional
        Of the run that the network is part of; by default nothing is shown.
    way : str, optional
        How steps are taken, as `repro.training.ways.check_way` takes it.
    deadline : Deadline
        Before it the training stops.

    Raises
    ------
    ReproError
        If the data set gives the network nothing to learn from or to validate with, or as `fit`.
    """
    from repro.datasets.batches import Batches
    from repro.training.devices import clear_session
    from repro.training.fit import fit

    task = task.resolved(needed)
    recipe = world.follow(task.recipe)
    order_seed = integer_seed(file.seed, "batches", task.name)
    training, validation = task.examples_of(dataset)
    if not len(training) or (recipe.keep == "best" and not len(validation)):
        raise ReproError(
            f"The data set gives {task.name} {len(training)} examples to train on and "
            f"{len(validation)} to validate with: build one with more samples in each split."
        )
    clear_session()
    model, _ = fit(
        task.build_model,
        recipe,
        Batches(task.load, training, recipe.batch_size, order_seed, augmented=task.augmented),
        Batches(task.load, validation, recipe.batch_size, None) if len(validation) else None,
        folder,
        integer_seed(file.seed, "network", task.name),
        configuration(task, needed, file),
        quiet=True,
        world=world,
        renew=task.renew,
        progress=progress,
        way=way,
        deadline=deadline,
    )
    return model


def configuration(task: Task, needed: Mapping[str, keras.Model], file: RunFile) -> dict[str, Any]:
    """Return what alters a network's weights beside its recipe: run, task, networks it needs."""
    decided = {"task": task.name, **file.model_dump(mode="json")}
    if task.needs:
        decided[WEIGHTS_NEEDED] = {name: weights_hash(needed[name]) for name in task.needs}
    return decided


def _facts(file: RunFile) -> dict[str, str]:
    """Return what all ranks must have in common, each as a hash."""
    from repro.code_hash import hash_code
    from repro.evaluation.provenance import hash_json

    return {
        "code": hash_code(file.choices.study),
        "data set": file.data.checksum,
        "configuration": hash_json(file.model_dump(mode="json")),
    }
