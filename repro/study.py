"""What a study is, and the one place where studies are found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

import repro.studies
from repro.datasets.spec import DataSpec, load_spec, spec_names
from repro.errors import ReproError
from repro.evaluation.claims import Claims, load_claims

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from repro.datasets.batches import Augmented, Load
    from repro.datasets.store import Dataset
    from repro.evaluation.metrics import Evaluation
    from repro.training.recipe import Recipe

PRESETS = ("smoke", "desk", "paper")


@dataclass(frozen=True)
class Task:
    """One network of a study and how it is trained.

    Parameters
    ----------
    name : str
        Names the network's folder within a run.
    build_model : callable
        Takes nothing, returns the untrained network.
    load : callable
        Takes the numbers of examples, ``(n,)`` int64, returns the network's input and target for
        them, arrays or dicts of arrays whose first axis is the example.
    recipe : Recipe
        How the network is trained.
    examples : callable, optional
        Takes the indices of a split's samples, ``(n_samples,)`` int64, returns the numbers of the
        examples that they give this network, ``(n,)`` int64. By default a sample is an example.
    augmented : callable, optional
        What `load` does, for training: takes a seed for each example too, ``(n,)`` uint64, and may
        alter the example by what it draws.
    held_out : tuple of int, optional
        Samples of the training split that this network does not see, for cross-validation: it is
        validated on them, and not on the validation split.
    """

    name: str
    build_model: Callable[[], keras.Model]
    load: Load
    recipe: Recipe
    examples: Callable[[np.ndarray], np.ndarray] = lambda rows: rows
    augmented: Augmented | None = None
    held_out: tuple[int, ...] = ()

    def examples_of(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the examples to learn from, and of those to validate with."""
        training, validation = dataset.rows("train"), dataset.rows("validation")
        if self.held_out:
            training, validation = np.setdiff1d(training, self.held_out), np.array(self.held_out)
        return self.examples(training), self.examples(validation)


@dataclass(frozen=True)
class Study:
    """A published system. Its rooms are imported when they are first needed.

    Parameters
    ----------
    name : str
        The folder's name; the data spec is ``data_specs/NAME.yaml``.
    title : str
        One line on what the study is about.
    package : str
        Import path, such as ``"repro.studies.mamba"``.
    variants : tuple of str
        What can be trained, ``"faithful"`` first.
    deviations : tuple of str
        In what our copy differs from the paper whatever the variant, a sentence each.
    """

    name: str
    title: str
    package: str
    variants: tuple[str, ...]
    deviations: tuple[str, ...]

    def room(self, name: str) -> ModuleType:
        """Import one of the study's modules, such as ``"recipe"``."""
        return importlib.import_module(f"{self.package}.{name}")

    def optional_room(self, name: str) -> ModuleType | None:
        """Import a module that not every study has; none if this one lacks it."""
        return self.room(name) if (self.folder / f"{name}.py").is_file() else None

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return Path(importlib.import_module(self.package).__file__).parent

    @property
    def data_spec(self) -> DataSpec:
        """The study's data spec."""
        return load_spec(self.name)

    @property
    def data_specs(self) -> list[DataSpec]:
        """Every data spec of the study: its own, and that of archives it takes."""
        specs = [load_spec(name) for name in spec_names()]
        return [spec for spec in specs if spec.study == self.name]

    @property
    def claims(self) -> Claims:
        """The paper and its claims."""
        return load_claims(self.folder / "claims.yaml")

    def check_variant(self, variant: str) -> None:
        """Refuse a variant that the study lacks.

        Raises
        ------
        ReproError
            Naming the variants there are.
        """
        if variant not in self.variants:
            known = ", ".join(self.variants)
            raise ReproError(f"{self.name} has no variant {variant!r}: choose one of {known}.")

    def tasks(self, variant: str, preset: str, dataset: Dataset) -> list[Task]:
        """Return the networks to train on a data set."""
        self.check_variant(variant)
        return self.room("recipe").tasks(variant, preset, dataset)

    def evaluate(
        self,
        variant: str,
        dataset: Dataset,
        models: dict[str, keras.Model],
        curves: dict[str, dict[str, list[float]]],
        seed: int,
        progress: Callable[[int, int], None],
    ) -> Evaluation:
        """Measure trained networks on the data set's test split.

        Parameters
        ----------
        variant : str
            What was trained.
        dataset : Dataset
            What it was trained on.
        models : dict
            The trained networks by task.
        curves : dict
            Each task's history: ``epoch``, ``loss``, ``val_loss`` and more, a number an epoch.
        seed : int
            The run's seed, for what is drawn while measuring.
        progress : callable
            Called with the stages done and their number.
        """
        return self.room("evaluate").evaluate(variant, dataset, models, curves, seed, progress)

    def figures(self, arrays: dict[int, dict[str, np.ndarray]]) -> dict[str, tuple[Figure, str]]:
        """Draw the study's figures from the arrays of every seed; each with its caption."""
        room = self.room("figures")
        return {
            name: (figure, room.CAPTIONS[name]) for name, figure in room.figures(arrays).items()
        }


def studies() -> dict[str, Study]:
    """Return every study by name: each package in the folder ``repro/studies``."""
    names = sorted(m.name for m in pkgutil.iter_modules(repro.studies.__path__) if m.ispkg)
    return {name: _study(name) for name in names}


def get_study(name: str) -> Study:
    """Return one study.

    Raises
    ------
    ReproError
        If there is no such study; the message lists those there are.
    """
    known = studies()
    if name not in known:
        raise ReproError(f"There is no study {name!r}: the studies are {', '.join(known)}.")
    return known[name]


def _study(name: str) -> Study:
    package = importlib.import_module(f"repro.studies.{name}")
    return Study(
        name=name,
        title=package.TITLE,
        package=package.__name__,
        variants=tuple(package.VARIANTS),
        deviations=tuple(package.DEVIATIONS),
    )
