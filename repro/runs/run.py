"""A run, made or opened once: every stage takes it, and nothing is looked up again."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.backend import check_backend
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.files import read_json
from repro.runs import data as data_stage
from repro.runs.choices import Choices
from repro.runs.folder import (
    DATA_FILE,
    DataIdentity,
    RunFile,
    check_same_run,
    network_folder,
    run_files_of,
)
from repro.study import History, Study, Task, Trained, get_study

if TYPE_CHECKING:
    import keras

WEIGHTS_NEEDED = "weights_needed"  # of the networks that one was trained on, in its configuration


@dataclass(frozen=True)
class Run:
    """One study, trained as the user chose, in one folder.

    Parameters
    ----------
    study : Study
        What is reproduced.
    choices : Choices
        What the user chose.
    folder : Path
        Where the run lies.
    seeds : tuple of int
        The seeds that it is trained with.
    dataset : Dataset
        What it is trained on.
    source : str, optional
        Name of the data set or archive that it was given; None if it built its own.
    judged : Dataset
        Whose test split it is judged by: its own data set, or that with other samples.
    results : Path
        Where the evaluation goes: the folder, or one within it where other samples judge.
    """

    study: Study
    choices: Choices
    folder: Path
    seeds: tuple[int, ...]
    dataset: Dataset
    source: str | None
    judged: Dataset
    results: Path

    @classmethod
    def of(
        cls, study: Study, choices: Choices, folder: Path, seeds: list[int], data: data_stage.Data
    ) -> Run:
        """Return a run that is trained on a data set."""
        return cls(
            study=study,
            choices=choices,
            folder=folder,
            seeds=tuple(seeds),
            dataset=data.dataset,
            source=data.source,
            judged=data.dataset,
            results=folder,
        )

    @classmethod
    def open(cls, folder: Path, data: Path | None = None) -> Run:
        """Open a run that was trained before.

        Parameters
        ----------
        folder : Path
            The run's folder.
        data : Path, optional
            The data set it was trained on, unless that is in the folder; or an archive of samples
            to judge it by: results then go to the folder ``on-NAME`` within, unless it is the
            archive that the run was trained on.

        Raises
        ------
        ReproError
            If it holds no run, its data set is missing, or data or recipes have changed since.
        """
        there = run_files_of(folder)
        check_backend()
        choices, seeds = there[0].choices, [run.seed for run in there]
        study = get_study(choices.study)
        given = data_stage.Given.of(study, data)
        trained_on = data_stage.of_run(study, choices, folder, given)
        run = cls.of(study, choices, folder, seeds, trained_on)
        check_same_run(folder, run.file(run.seeds[0]))
        return run if given is None or given.archive is None else run._judged_by(given)

    def _judged_by(self, given: data_stage.Given) -> Run:
        results, name = self.folder / f"on-{given.path.stem}", given.path.name
        judged = data_stage.judged_by(given, self.dataset, results / DATA_FILE)
        if judged is self.dataset:
            return replace(self, source=name)
        return replace(self, source=name, judged=judged, results=results)

    @property
    def is_judged_by_others(self) -> bool:
        """Whether the samples that judge the run come from another file."""
        return self.judged is not self.dataset

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The networks by task, with the chosen precision, XLA and recipe settings in force."""
        return self._tasks_on(self.dataset)

    def _tasks_on(self, dataset: Dataset) -> dict[str, Task]:
        tasks = self.study.list_tasks(self.choices.variant, self.choices.preset, dataset)
        tasks = chosen(tasks, self.choices.networks)
        changes = self.choices.recipe_changes
        return {t.name: replace(t, recipe=t.recipe.changed(changes)) for t in tasks}

    def file(self, seed: int) -> RunFile:
        """Return all that decides the weights of one seed."""
        spec = self.dataset.spec
        return RunFile(
            choices=self.choices,
            seed=seed,
            recipes={name: task.recipe.described() for name, task in self.tasks.items()},
            needs={name: list(task.needs) for name, task in self.tasks.items() if task.needs},
            data=DataIdentity(
                name=spec.name,
                version=spec.version,
                fingerprint=spec.fingerprint,
                checksum=self.dataset.checksum,
            ),
        )

    def network_folder(self, seed: int, task: str) -> Path:
        """Return the folder of one trained network."""
        return network_folder(self.folder, seed, task)

    def check_trained(self) -> None:
        """Refuse a run with a network that is not trained to the end.

        Raises
        ------
        ReproError
            Naming its folder.
        """
        from repro.training.state import DONE

        for folder in (self.network_folder(s, name) for s in self.seeds for name in self.tasks):
            if not (folder / DONE).exists():
                raise ReproError(
                    f"{folder} holds no finished training: give the command that trains again; "
                    "it resumes."
                )

    def trained(self, seed: int) -> Trained:
        """Return the trained networks of one seed; those of another are let go.

        A network is loaded when it is first asked for: an error then if it is not trained to the
        end.

        Raises
        ------
        ReproError
            If there is no such seed.
        """
        import keras

        if seed not in self.seeds:
            known = ", ".join(map(str, self.seeds))
            raise ReproError(f"{self.folder} has no seed {seed}: it has {known}.")
        keras.utils.clear_session()
        wanted = self._tasks_on(self.judged) if self.is_judged_by_others else self.tasks
        tasks: dict[str, Task] = {}
        models = _Models(self, seed, tasks)
        for name, task in wanted.items():
            self._check_needed(seed, task, models)
            tasks[name] = task.resolved(models)
        for name in tasks:
            self._refuse_other(seed, name)
        curves = {name: self.history(seed, name) for name in tasks}
        return Trained(self.choices.variant, self.judged, tasks, models, curves, seed)

    def _check_needed(self, seed: int, task: Task, models: Mapping[str, keras.Model]) -> None:
        if not task.needs:
            return
        from repro.training.state import CONFIGURATION

        folder = self.network_folder(seed, task.name)
        settings = read_json(folder / CONFIGURATION, "train there first", ["configuration"])
        trained_on = settings["configuration"].get(WEIGHTS_NEEDED, {})
        changed = [n for n in task.needs if weights_hash(models[n]) != trained_on.get(n)]
        if changed:
            raise ReproError(
                f"{folder} was trained on another network {changed[0]} than the one beside it: "
                "put that back, or train in another folder."
            )

    def _refuse_other(self, seed: int, name: str) -> None:
        """Refuse a network that lies under the name or the seed of another."""
        from repro.training.state import CONFIGURATION, read_finished

        folder = self.network_folder(seed, name)
        if not (folder / CONFIGURATION).exists():
            return  # nothing is trained there, which is told when it is asked for
        trained_as = read_finished(folder, CONFIGURATION)["configuration"]
        for what, wanted in {"task": name, "seed": seed}.items():
            found = trained_as.get(what, wanted) if isinstance(trained_as, dict) else None
            if found != wanted:
                raise ReproError(
                    f"{folder} holds what was trained as {what} {found}, not {wanted}: put back "
                    "what belongs there."
                )

    def history(self, seed: int, task: str) -> History:
        """Return a training's history: a list of numbers a column; empty before there is one."""
        path = self.network_folder(seed, task) / "history.csv"
        if not path.exists():
            return {}
        try:
            with path.open(newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file, strict=True)
            columns = zip(*([_finite(cell) for cell in row] for row in rows), strict=True)
            return dict(zip(header, map(list, columns), strict=True)) if rows else {}
        except (ValueError, csv.Error):
            raise ReproError(
                f"{path} is damaged: give the command that trains again, which writes it anew."
            ) from None

    def ways(self) -> list[str]:
        """Return how the steps of the finished trainings were taken, each way once."""
        from repro.training.state import DONE, read_finished
        from repro.training.ways import ONE_BY_ONE

        folders = [self.network_folder(seed, task) for seed in self.seeds for task in self.tasks]
        done = [read_finished(folder, DONE) for folder in folders if (folder / DONE).exists()]
        return sorted({finished.get("steps", ONE_BY_ONE) for finished in done})


def chosen(tasks: list[Task], names: Collection[str]) -> list[Task]:
    """Return the tasks of some names, in which ``*`` stands for any characters, and all they need.

    Parameters
    ----------
    tasks : list of Task
        All of a study, each after those it needs.
    names : collection of str
        The names; none for all tasks.

    Raises
    ------
    ReproError
        If a name means no task.
    """
    if not names:
        return tasks
    for name in names:
        if not any(fnmatchcase(task.name, name) for task in tasks):
            known = ", ".join(task.name for task in tasks)
            raise ReproError(f"There is no network {name!r}: choose among {known}.")
    wanted: set[str] = set()
    for task in reversed(tasks):
        if task.name in wanted or any(fnmatchcase(task.name, name) for name in names):
            wanted |= {task.name, *task.needs}
    return [task for task in tasks if task.name in wanted]


def _finite(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(f"{cell} is not finite")
    return number


def weights_hash(model: keras.Model) -> str:
    """Return the SHA-256 of a network's weights."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


class _Models(Mapping[str, "keras.Model"]):
    """The trained networks of one seed by task, each loaded when it is first asked for."""

    def __init__(self, run: Run, seed: int, tasks: Mapping[str, Task]):
        self._run, self._seed, self._tasks = run, seed, tasks
        self._loaded: dict[str, keras.Model] = {}

    def __getitem__(self, name: str) -> keras.Model:
        if name not in self._loaded:
            from repro.training.fit import load_model

            folder = self._run.network_folder(self._seed, name)
            self._loaded[name] = load_model(self._tasks[name].build_model, folder)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)
