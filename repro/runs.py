"""A run on disk and its stages: data set, training, evaluation, figures, record.

``OUT/data.h5``, ``OUT/seed-0/{run.json, networks/TASK/, evaluation.npz}``, ``OUT/figures/*.svg``
and ``OUT/record.json``. A stage reads only what the stage before wrote.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from repro.datasets.atomic import replacing
from repro.datasets.spec import ResolvedSpec
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.measured import import_archive, is_archive, is_measured, resolve_like
from repro.seeds import integer_seed
from repro.study import Study, Task, get_study
from repro.training.world import ALONE, World

if TYPE_CHECKING:
    import keras


Progress = Callable[[int, int], None]
RECIPE_PREFIX = "recipe."
DATA_FILE = "data.h5"
RECORD_FILE = "record.json"
WORTH_TELLING_S = 60.0  # of a build [s]
BUILD_TIME_FILE = "data.seconds"
ARCHIVE_FILE = "data.archive"  # the name of the archive that the data set was made of


class Display:
    """Where progress goes; this one shows nothing."""

    quiet = True

    def announce(self, text: str) -> None:
        """Say what is being done now."""

    @contextmanager
    def bar(self, label: str) -> Iterator[Progress]:
        """Show a bar; yields what to call with the number done and the number in all."""
        yield lambda done, total: None


SILENT = Display()


class Choices(BaseModel):
    """What the user chose for a run; none leaves the choice to the recipe or the data spec.

    Parameters
    ----------
    study, variant, preset, experiment : str
        What is trained, and on which data.
    settings : dict
        ``--set KEY=VALUE``: parameters of the data spec, or of the recipe as ``recipe.NAME``.
    precision : str, optional
        Keras dtype policy.
    xla : bool, optional
        Compile the training step with XLA.
    deterministic : bool
        Only operations that give the same bits each time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    variant: str = "faithful"
    preset: str = "smoke"
    experiment: str | None = None
    settings: dict[str, str] = {}
    precision: str | None = None
    xla: bool | None = None
    deterministic: bool = False


class DataIdentity(BaseModel):
    """Which data set a run is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    fingerprint: str
    checksum: str


class RunFile(BaseModel):
    """``run.json``: all that decides the weights of one seed of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    choices: Choices
    seed: int
    recipes: dict[str, dict[str, Any]]
    data: DataIdentity

    def differences(self, other: RunFile) -> list[str]:
        """Name the entries in which two configurations differ, such as ``choices.preset``."""
        return sorted(_differing(self.model_dump(mode="json"), other.model_dump(mode="json")))


def build_data(
    choices: Choices,
    path: Path,
    workers: int = 1,
    display: Display = SILENT,
    seed: int | None = None,
    scheduler: str | None = None,
) -> Path:
    """Build the data set that the choices ask for, or return it if it is there.

    Raises
    ------
    ReproError
        If the file holds another data set, or a choice does not exist.
    NotPossibleHere
        If the dask cluster of the scheduler cannot be used.
    """
    from repro.datasets.build import build, estimate_seconds

    spec = resolve_spec(choices, seed)
    seconds = None if scheduler else estimate_seconds(spec, path, workers)
    if seconds is not None and seconds > WORTH_TELLING_S:
        display.announce(f"data {spec.name} {choices.preset}: {duration(seconds)} on this machine")
    with display.bar(f"data {spec.name} {choices.preset}") as progress:
        return build(spec, path, workers=workers, progress=progress, scheduler=scheduler)


def duration(seconds: float) -> str:
    """Say in words about how long something takes."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} seconds"


def resolve_spec(choices: Choices, seed: int | None = None) -> ResolvedSpec:
    """Return the data spec with the preset, the experiment and the settings filled in."""
    spec = get_study(choices.study).data_spec
    return spec.resolve(choices.preset, choices.experiment, data_settings(choices), seed)


def data_settings(choices: Choices) -> dict[str, str]:
    """Return the settings that are the data spec's, not the recipe's."""
    return {k: v for k, v in choices.settings.items() if not k.startswith(RECIPE_PREFIX)}


def open_data(choices: Choices, path: Path) -> Dataset:
    """Open a data set that was built before, and check that it is one the choices allow.

    Raises
    ------
    ReproError
        If it belongs to another study, preset or experiment, or a data setting differs.
    """
    dataset, study = Dataset.open(path), get_study(choices.study)
    if is_measured(study, dataset.spec):
        chosen = choices.preset, choices.experiment, data_settings(choices)
        wanted = resolve_like(study, dataset.spec, *chosen)
    else:
        wanted = resolve_spec(choices, dataset.spec.seed)
    for what in ("study", "preset", "experiment"):
        have, want = getattr(dataset.spec, what), getattr(wanted, what)
        if have != want:
            raise ReproError(
                f"{path.name} was built for the {what} {have}, this run asks for {want}: "
                f"choose the same {what}, or another file."
            )
    if dataset.spec.fingerprint != wanted.fingerprint:
        raise ReproError(
            f"{path.name} was built with other parameters than this run asks for: give the "
            f"--set values it was built with, or build it anew."
        )
    return dataset


def resolved_tasks(choices: Choices, dataset: Dataset) -> list[Task]:
    """Return the study's tasks with the chosen precision, XLA and recipe settings in force."""
    changes: dict[str, Any] = {
        key.removeprefix(RECIPE_PREFIX): value
        for key, value in choices.settings.items()
        if key.startswith(RECIPE_PREFIX)
    }
    if choices.precision is not None:
        changes["precision"] = choices.precision
    if choices.xla is not None:
        changes["jit_compile"] = choices.xla
    tasks = get_study(choices.study).tasks(choices.variant, choices.preset, dataset)
    return [replace(task, recipe=changed_recipe(task.recipe, changes)) for task in tasks]


def changed_recipe(recipe: Any, changes: dict[str, Any]) -> Any:
    """Return a recipe with some fields changed; texts are read as the field's type.

    Raises
    ------
    ReproError
        If a field is unknown, or its value does not fit.
    """
    known = [field.name for field in fields(recipe)]
    for name in changes:
        if name not in known:
            raise ReproError(f"--set recipe.{name}: a recipe has only {', '.join(known)}.")
    try:
        return TypeAdapter(type(recipe)).validate_python({**asdict(recipe), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        name, value = first["loc"][0], first["input"]
        raise ReproError(f"--set recipe.{name}={value}: {first['msg']}.") from None


def seed_folder(out: Path, seed: int) -> Path:
    """Return the folder of one seed of a run."""
    return out / f"seed-{seed}"


def network_folder(out: Path, seed: int, task: str) -> Path:
    """Return the folder of one trained network."""
    return seed_folder(out, seed) / "networks" / task


def train(
    choices: Choices,
    seeds: list[int],
    dataset: Dataset,
    out: Path,
    display: Display = SILENT,
    world: World = ALONE,
) -> None:
    """Train every network of a study for each seed; called again, resume.

    Raises
    ------
    ReproError
        If the folder holds a run of another configuration, the ranks differ in code, data or
        configuration, or the loss is no longer finite.
    """
    from repro.training.precision import enable_determinism

    if choices.deterministic:
        enable_determinism()
    tasks = resolved_tasks(choices, dataset)
    for seed in seeds:
        run = run_file(choices, seed, tasks, dataset)
        world.agree(_facts(run))
        world.lead(partial(claim_folder, out, run))
        for task in tasks:
            display.announce(f"{choices.study} {choices.variant}, seed {seed}: train {task.name}")
            folder = network_folder(out, seed, task.name)
            train_task(task, dataset, folder, run, display.quiet, world)


def _facts(run: RunFile) -> dict[str, str]:
    """Return what all ranks must have in common, each as a hash."""
    from repro.evaluation.provenance import hash_code, hash_json

    return {
        "code": hash_code(run.choices.study),
        "data set": run.data.checksum,
        "configuration": hash_json(run.model_dump(mode="json")),
    }


def train_task(
    task: Task, dataset: Dataset, folder: Path, run: RunFile, quiet: bool, world: World = ALONE
) -> None:
    """Train one network, or go on where its training was stopped."""
    from repro.datasets.batches import Batches
    from repro.training.devices import clear_session
    from repro.training.fit import fit

    recipe = world.follow(task.recipe)
    order_seed = integer_seed(run.seed, "batches", task.name)
    training, validation = task.examples_of(dataset)
    if not len(training) or (recipe.keep == "best" and not len(validation)):
        raise ReproError(
            f"The data set gives {task.name} {len(training)} examples to train on and "
            f"{len(validation)} to validate with: build one with more samples in each split."
        )
    clear_session()
    fit(
        task.build_model,
        recipe,
        Batches(task.load, training, recipe.batch_size, order_seed, augmented=task.augmented),
        Batches(task.load, validation, recipe.batch_size, None) if len(validation) else None,
        folder,
        integer_seed(run.seed, "network", task.name),
        {"task": task.name, **run.model_dump(mode="json")},
        quiet=quiet,
        world=world,
    )


def run_file(choices: Choices, seed: int, tasks: list[Task], dataset: Dataset) -> RunFile:
    """Return the configuration of one seed of a run."""
    spec = dataset.spec
    return RunFile(
        choices=choices,
        seed=seed,
        recipes={task.name: asdict(task.recipe) for task in tasks},
        data=DataIdentity(
            name=spec.name,
            version=spec.version,
            fingerprint=spec.fingerprint,
            checksum=dataset.checksum,
        ),
    )


def claim_folder(out: Path, run: RunFile) -> None:
    """Write ``run.json`` of one seed, after a look at the seeds that are there already.

    Raises
    ------
    ReproError
        If the folder holds a run of another configuration.
    """
    check_same_run(out, run)
    folder = seed_folder(out, run.seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "run.json", run.model_dump_json(indent=2) + "\n")


def check_same_run(out: Path, run: RunFile) -> None:
    """Refuse a folder whose seeds are of another configuration than this one.

    Raises
    ------
    ReproError
        Naming the entries that differ.
    """
    for there in read_run_files(out):
        differing = there.differences(run.model_copy(update={"seed": there.seed}))
        if differing:
            raise ReproError(
                f"{out} holds a run of another configuration ({', '.join(differing)}): give the "
                f"same options to go on with it, choose another folder, or remove this one."
            )


def read_run_files(out: Path) -> list[RunFile]:
    """Return the configuration of every seed of a run, by seed; none if nothing is there.

    Raises
    ------
    ReproError
        If a ``run.json`` cannot be read.
    """
    runs = []
    for path in out.glob("seed-*/run.json"):
        if re.fullmatch(r"seed-\d+", path.parent.name):
            try:
                runs.append(RunFile.model_validate_json(path.read_bytes()))
            except ValidationError as error:
                where = ".".join(map(str, error.errors()[0]["loc"])) or "it"
                raise ReproError(
                    f"{path.parent.name}/run.json is damaged or of another version ({where}): "
                    f"remove the folder {out.name}/{path.parent.name} and train again."
                ) from None
    return sorted(runs, key=lambda run: run.seed)


def newest_run(study: str, variant: str) -> Path:
    """Return the run that was made last of a study, below the working folder.

    Raises
    ------
    ReproError
        If there is none.
    """
    found = [
        path
        for folder in ("runs", "results/latest")
        for path in Path(folder).glob(f"{study}-{variant}*/seed-*/run.json")
    ]
    if not found:
        raise ReproError(f"There is no run of {study} {variant} here: name its folder or make one.")
    return max(found, key=lambda path: path.stat().st_mtime).parents[1]


def trained_models(tasks: list[Task], out: Path, seed: int) -> dict[str, keras.Model]:
    """Return the trained networks of one seed by task; those loaded before are let go."""
    import keras

    from repro.training.fit import load_model

    keras.utils.clear_session()
    return {
        task.name: load_model(task.build_model, network_folder(out, seed, task.name))
        for task in tasks
    }


def prepare_and_train(
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None = None,
    workers: int = 1,
    display: Display = SILENT,
    devices: int = 1,
    timeout_s: float | None = None,
) -> bool:
    """Build the data set unless one is given, then train; called again, resume.

    Parameters
    ----------
    choices, seeds, out
        What is trained, and where to.
    data : Path, optional
        A built data set, or an archive of measurements, of which one in ``out`` is made; by default
        one in ``out``, built first if it is not there.
    workers : int
        Processes that build the data set.
    display : Display
        Where progress goes.
    devices : int
        Devices of this process that share a batch, under JAX.
    timeout_s : float, optional
        Time without a step after which one of several ranks gives up [s].

    Returns
    -------
    bool
        Whether this process is the one that evaluates: not so for the other ranks of a job.

    Raises
    ------
    ReproError
        If a choice does not exist, the folder holds another run, or a stage fails; what was
        done stays.
    """
    study = check(choices)
    if data is not None and is_archive(study, data):
        study.room("archive").read_archive(data)  # its faults are told before all else is loaded
    from repro.training.devices import use_devices
    from repro.training.distributed import TIMEOUT_S, join

    with use_devices(devices), join(timeout_s or TIMEOUT_S) as world:
        world.run(partial(_prepare_and_train, choices, seeds, out, data, workers, display, world))
        return world.leads


def _prepare_and_train(
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None,
    workers: int,
    display: Display,
    world: World,
) -> None:
    display = display if world.leads else SILENT
    if data is None:
        data = out / DATA_FILE
        world.lead(partial(_build_once, choices, data, workers, display))
    elif is_archive(study := get_study(choices.study), data):
        data = world.lead(partial(_import_once, choices, study, data, out))
    train(choices, seeds, open_data(choices, data), out, display, world)


def _build_once(choices: Choices, data: Path, workers: int, display: Display) -> None:
    if not data.exists():
        start = time.perf_counter()
        build_data(choices, data, workers, display)
        write_text(data.parent / BUILD_TIME_FILE, f"{time.perf_counter() - start:.3f}\n")


def _import_once(choices: Choices, study: Study, archive: Path, out: Path) -> Path:
    chosen = choices.preset, choices.experiment, data_settings(choices)
    data = import_archive(study, archive, out / DATA_FILE, *chosen)
    write_text(out / ARCHIVE_FILE, f"{archive.name}\n")
    return data


def check(choices: Choices) -> Study:
    """Check the study, variant, preset and settings before anything is made."""
    study = get_study(choices.study)
    study.check_variant(choices.variant)
    for spec in study.data_specs:
        if choices.experiment in spec.experiments:
            spec.resolve(choices.preset, choices.experiment, data_settings(choices))
            return study
    resolve_spec(choices)
    return study


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _differing(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from _differing(one.get(key), other.get(key), f"{prefix}{key}.")
    elif one != other:
        yield prefix.rstrip(".")
