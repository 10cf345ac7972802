"""The different networks of a study, ready to be timed at any preset."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from repro.bench.samples import sample_set
from repro.study import Study, Task

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Network:
    """A network of a study at a preset.

    Parameters
    ----------
    study, variant, preset : str
        Which.
    task : Task
        How it is built, loaded and trained.
    stands_for : tuple of str
        The study's tasks that train the same network by the same recipe, this one first.
    examples : numpy.ndarray
        Numbers of the examples that `Task.load` takes, ``(n,)`` int64.
    """

    study: str
    variant: str
    preset: str
    task: Task
    stands_for: tuple[str, ...]
    examples: np.ndarray


def list_networks(
    study: Study, variant: str, preset: str, experiment: str | None = None
) -> list[Network]:
    """Return the networks of a variant that differ in how they are built or trained.

    Tasks that differ in their examples alone, such as the folds of a cross-validation, are timed
    once. What needs trained networks is given untrained ones, which take as long.

    Raises
    ------
    ReproError
        If the study lacks the variant, the preset or the experiment.
    """
    study.check_variant(variant)
    dataset = sample_set(study, preset, experiment)
    tasks = study.list_tasks(variant, preset, dataset)
    alike: dict[tuple[str, str], list[Task]] = {}
    for task in tasks:
        alike.setdefault(_likeness(task), []).append(task)
    needed = {name for task in tasks for name in task.needs}
    models = {task.name: task.build_model() for task in tasks if task.name in needed}
    networks = []
    for group in alike.values():
        task, stands_for = group[0].resolved(models), tuple(task.name for task in group)
        examples, _ = task.examples_of(dataset)
        networks.append(Network(study.name, variant, preset, task, stands_for, examples))
    return networks


def _likeness(task: Task) -> tuple[str, str]:
    """Return what tasks have in common that build the same network and train it alike."""
    return ADDRESS.sub("", repr(task.build_model)), str(task.recipe.described())
