"""The contract of a study: what each one provides and may provide; where studies are found.

A study is a folder ``repro/studies/NAME`` whose ``__init__`` defines ``STUDY = Study(...)``. The
fields of `Study` are the whole contract. What a study provides is named ``"module:name"``, within
its folder, so that listing the studies imports no network library.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import repro.studies
from repro.datasets.spec import DataSpec, load_spec, spec_names
from repro.errors import ReproError
from repro.evaluation.claims import Claim, Claims, load_claims
from repro.evaluation.gates import Gates, load_gates
from repro.evaluation.paper_runs import PaperRuns, load_paper_runs
from repro.evaluation.protocol import check_protocol, data_protocol

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from repro.datasets.batches import Augmented, Load
    from repro.datasets.store import Dataset
    from repro.display import Progress
    from repro.evaluation.metrics import Evaluation
    from repro.training.between_epochs import Renew
    from repro.training.recipe import Recipe

History = dict[str, list[float]]
Figures = dict[str, tuple["Figure", str]]  # with their captions


# ---- what a study trains


@dataclass(frozen=True)
class Task:
    """One network of a study and how it is trained.

    Parameters
    ----------
    name : str
        Names the network's folder within a run.
    build_model : callable
        Takes nothing, returns the untrained network.
    load : callable, optional
        Takes the numbers of examples, ``(n,)`` int64, returns the network's input and target for
        them, arrays or dicts of arrays whose first axis is the example. None if it depends on the
        networks in `needs`.
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
    renew : callable, optional
        Finds arrays anew before every epoch, such as masks, from the network as it stands; see
        `repro.training.fit.fit`. While the network is trained `load` and `augmented` take them as
        their last argument, which they must be able to do without.
    needs : tuple of str, optional
        Tasks, listed before this one, whose trained networks this one depends on.
    given : callable, optional
        Takes this task and the networks that it needs, by task; returns the task with what depends
        on them, such as a `load` that reads their answers. The recipe stays as it is.
    context : object, optional
        Whatever the study's own evaluation wants to know of the network.
    """

    name: str
    build_model: Callable[[], keras.Model]
    load: Load | None
    recipe: Recipe
    examples: Callable[[np.ndarray], np.ndarray] = lambda rows: rows
    augmented: Augmented | None = None
    held_out: tuple[int, ...] = ()
    renew: Renew | None = None
    needs: tuple[str, ...] = ()
    given: Callable[[Task, Mapping[str, keras.Model]], Task] | None = None
    context: Any = None

    def examples_of(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the examples to learn from, and of those to validate with."""
        training, validation = dataset.rows("train"), dataset.rows("validation")
        if self.held_out:
            training, validation = np.setdiff1d(training, self.held_out), np.array(self.held_out)
        return self.examples(training), self.examples(validation)

    def resolved(self, trained: Mapping[str, keras.Model]) -> Task:
        """Return the task with what depends on the networks it needs, which must be trained."""
        if not self.needs:
            return self
        task = self.given(self, {name: trained[name] for name in self.needs})
        return replace(task, name=self.name, recipe=self.recipe, needs=self.needs)


@dataclass(frozen=True)
class Trained:
    """The trained networks of one seed: what `Study.evaluate`, `apply` and `page` take.

    Parameters
    ----------
    variant : str
        What was trained.
    dataset : Dataset
        Its test split judges the networks; they were trained on its training split.
    tasks : dict
        The tasks by name, resolved.
    models : dict
        The trained networks by task.
    curves : dict
        Each task's history: ``epoch``, ``loss``, ``val_loss`` and more, a number an epoch.
    seed : int
        The run's seed, for what is drawn while measuring.
    """

    variant: str
    dataset: Dataset
    tasks: Mapping[str, Task]
    models: Mapping[str, keras.Model]
    curves: Mapping[str, History]
    seed: int


# ---- what a study may do beyond that


@dataclass(frozen=True)
class Archive:
    """The measured samples that a study takes from a file, as a paper published them.

    Parameters
    ----------
    data_spec : str
        The data spec of what is made of them; it has the parameters ``sha256``, ``test_sha256``.
    suffix : str
        How the names of such files end, such as ``".npz"``.
    read : callable
        Takes a path; returns the content, which has a ``sha256``.
    arrays : callable
        Takes the content and the data spec's parameters; returns the data spec's variables.
    fetch : callable
        Takes a path; downloads the published file to it, and returns it.
    """

    data_spec: str
    suffix: str
    read: Callable[[Path], Any]
    arrays: Callable[[Any, dict], dict[str, np.ndarray]]
    fetch: Callable[[Path], Path]


@dataclass(frozen=True)
class ReleasedWeights:
    """Weights that the authors trained and published, which can be judged without training.

    Parameters
    ----------
    fetch : callable
        Takes a path; downloads the published file to it, and returns it.
    evaluate : callable
        Takes the path of such a file, a `Dataset` at preset ``"paper"`` and a progress callback;
        returns an `Evaluation`, with metrics named as those of a run.
    assumption : str
        What is taken for granted of how they were trained, in one sentence.
    """

    fetch: Callable[[Path], Path]
    evaluate: Callable[[Path, Dataset, Progress], Evaluation]
    assumption: str


@dataclass(frozen=True)
class Quantity:
    """One quantity that a trained run finds in a user's file.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n,)``, one for each image, or a map, ``(n_rows, n_columns)`` [unit]; texts without unit.
        NaN where a number is not known.
    unit : str
        Its unit, ``"1"`` for a pure number, ``""`` for texts.
    about : str
        What it is, in one sentence.
    interval : tuple of numpy.ndarray, optional
        Lower and upper ends of the interval that holds the true value with probability `level`,
        each of the shape of `values` [unit].
    level : float, optional
        That probability.
    """

    values: np.ndarray
    unit: str
    about: str
    interval: tuple[np.ndarray, np.ndarray] | None = None
    level: float | None = None


@dataclass(frozen=True)
class Applied:
    """What a trained run says of a user's file.

    Parameters
    ----------
    quantities : dict
        `Quantity` by name, all of one shape.
    figures : dict
        Pictures by name, each with its caption.
    notices : tuple of str
        What the user should know of single inputs, such as a file that could not be read.
    """

    quantities: dict[str, Quantity]
    figures: Figures
    notices: tuple[str, ...] = ()


def _optional(about: str) -> Any:
    return field(default=None, metadata={"about": about})


@dataclass(frozen=True, kw_only=True)
class Study:
    """A published system.

    Beside what is declared here a study has, by their names alone, the data spec
    ``data_specs/NAME.yaml`` (with its generator, its axes and the time a sample takes),
    ``claims.yaml`` and ``README.md``, and, where its baseline records must reach something,
    ``gates.yaml``; where runs at the paper's scale are wanted, ``paper_runs.yaml``.

    Parameters
    ----------
    name : str
        The folder's name.
    title : str
        One line on what the study is about.
    variants : tuple of str
        What can be trained, ``"faithful"`` first.
    deviations : tuple of str
        In what our copy differs from the paper whatever the variant, a sentence each.
    tasks : str
        A function that takes a variant, a preset and a `Dataset`, and returns a list of `Task`.
    evaluate : str
        A function that takes a `Trained` and a progress callback, measures the networks on the test
        split and returns an `Evaluation`.
    figures : str
        A function that takes the evaluation's arrays by seed, and returns figures by name.
    captions : str
        The caption of every figure by name.
    comparison_figures : str, optional
        A function that takes mean metrics by experiment, and returns by name the figures that
        compare experiments.
    published_curves : str, optional
        Training curves that the authors published, a `Curve` by task.
    archive : str, optional
        An `Archive`: measured samples can be trained on and judged by.
    released : str, optional
        `ReleasedWeights`: what the authors trained can be judged as it is.
    apply : str, optional
        A function that takes a `Trained`, a user's file or folder, and a progress callback, and
        returns what the networks say of it, `Applied`. Where there are `apply_settings` it takes
        those that the user gave by their names, as texts.
    apply_settings : dict
        What a user can say of a file with ``--set NAME=VALUE``, a phrase each.
    apply_suffixes : tuple of str
        How the names of files can end that the results go to: ``.csv`` holds a number an input,
        ``.h5`` maps too.
    separable : bool, optional
        Whether the evaluation also measures some of the networks alone; it then finds the others
        in no field of `Trained`, and leaves out what it would say of them.
    page : str, optional
        A function that takes a callable which opens a `Trained`, a port and whether to open a
        browser; it serves a web page until Ctrl-C.
    """

    name: str
    title: str
    variants: tuple[str, ...]
    deviations: tuple[str, ...]
    tasks: str
    evaluate: str
    figures: str
    captions: str
    comparison_figures: str | None = _optional("compares experiments in a figure")
    published_curves: str | None = _optional("shows training curves that the authors published")
    archive: str | None = _optional("takes measured samples: --data FILE")
    released: str | None = _optional("judges the weights that the authors released: repro released")
    apply: str | None = _optional("works on a user's own file: repro apply")
    apply_settings: Mapping[str, str] = field(default_factory=dict)
    apply_suffixes: tuple[str, ...] = (".csv", ".h5")
    separable: bool | None = _optional("measures some networks without the others: --networks")
    page: str | None = _optional("answers on a web page: repro serve")

    @property
    def capabilities(self) -> dict[str, str]:
        """What the study can do that not every study can, a phrase each, by the field's name."""
        return {
            f.name: f.metadata["about"]
            for f in fields(self)
            if f.metadata and vars(self)[f.name] is not None
        }

    def check_provides(self, capability: str) -> None:
        """Refuse what the study does not provide, by a field's name, such as ``"apply"``.

        Raises
        ------
        ReproError
            Saying what is missing.
        """
        if vars(self)[capability] is None:
            about = next(f.metadata["about"] for f in fields(self) if f.name == capability)
            raise ReproError(f"{self.name} cannot do this: no part of it {about}.")

    def provided(self, capability: str) -> Any:
        """Import what the study provides under a field's name, such as ``"evaluate"``.

        Raises
        ------
        ReproError
            If the study does not provide it.
        """
        self.check_provides(capability)
        module, _, name = vars(self)[capability].partition(":")
        return vars(importlib.import_module(f"{self.package}.{module}"))[name]

    def drawn(self, figures: dict[str, Figure]) -> Figures:
        """Return figures by name, each with its caption."""
        captions = self.provided("captions")
        return {name: (figure, captions[name]) for name, figure in figures.items()}

    @property
    def package(self) -> str:
        """Import path, such as ``"repro.studies.mamba"``."""
        return f"{repro.studies.__name__}.{self.name}"

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
        """The paper and its claims, with what their data sets must be."""
        path, specs = self.folder / "claims.yaml", self.data_specs
        stated, completed = load_claims(path), []
        parameters = {name for spec in specs for name in spec.parameters}
        for claim in stated.claims:
            try:
                check_protocol(claim, parameters)
                update = {"data_protocol": self._data_protocol(claim, specs)}
            except ReproError as problem:
                raise ReproError(f"The claims {path} are wrong: {problem}.") from None
            completed.append(claim.model_copy(update=update))
        return stated.model_copy(update={"claims": completed})

    def _data_protocol(self, claim: Claim, specs: list[DataSpec]) -> dict[str, dict]:
        """Return what the data set of each experiment of a claim must be, by place in a record."""
        protocols = {}
        for experiment in claim.experiments:
            fitting = [
                spec
                for spec in specs
                if experiment in spec.experiments and claim.data_name in (None, spec.name)
            ]
            if not fitting:
                raise ReproError(
                    f"the claim {claim.id} asks for the experiment {experiment}, which no data "
                    f"spec of {self.name} has"
                )
            protocols[experiment] = data_protocol(fitting[0], claim.preset, experiment)
        return protocols

    @property
    def gates(self) -> Gates:
        """What the study's baseline records must reach; none without ``gates.yaml``."""
        return load_gates(self.folder / "gates.yaml")

    @property
    def paper_runs(self) -> PaperRuns:
        """The runs at the paper's scale that are wanted; none without ``paper_runs.yaml``."""
        return load_paper_runs(self.folder / "paper_runs.yaml")

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

    def list_tasks(self, variant: str, preset: str, dataset: Dataset) -> list[Task]:
        """Return the networks to train on a data set, each after those it needs.

        Raises
        ------
        ReproError
            If the study lacks the variant, two tasks have one name, or a task needs one that is
            not listed before it.
        """
        self.check_variant(variant)
        tasks = self.provided("tasks")(variant, preset, dataset)
        before: set[str] = set()
        for task in tasks:
            missing = [name for name in task.needs if name not in before]
            if task.name in before or missing:
                fault = (
                    f"needs {missing[0]}, not listed before it" if missing else "is listed twice"
                )
                raise ReproError(f"{self.name}: the task {task.name} {fault}.")
            before.add(task.name)
        return tasks


# ---- where studies are found


def studies() -> dict[str, Study]:
    """Return every study by name: each package in the folder ``repro/studies``."""
    package = repro.studies
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.ispkg)
    return {n: importlib.import_module(f"{package.__name__}.{n}").STUDY for n in names}


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
