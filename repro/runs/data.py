"""The data set of a run: built, made of an archive of measured samples, or opened.

A study that takes archives says so by its `Archive`. What is made of one is a data set like any
other, of which every sample is learnt from; another archive can judge what was trained on it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from repro.datasets.spec import ResolvedSpec, load_spec
from repro.datasets.store import Dataset, write_dataset
from repro.display import SILENT, Display
from repro.errors import ReproError
from repro.files import make_folder, write_text
from repro.runs.choices import Choices
from repro.runs.folder import BUILD_TIME_FILE, DATA_FILE, SOURCE_FILE, read_build_time
from repro.study import Archive, Study
from repro.training.world import ALONE, World

WORTH_TELLING_S = 60.0  # of a build [s]
HASHES = ("sha256", "test_sha256")  # of the archives, among the parameters


@dataclass(frozen=True)
class Given:
    """The file that a user gives with ``--data``.

    Parameters
    ----------
    path : Path
        The file.
    archive : Archive or None
        What kind of archive it is; None for a data set.
    """

    path: Path
    archive: Archive | None

    @classmethod
    def of(cls, study: Study, path: Path | None) -> Given | None:
        """Return what a file is, by its name; None if there is none."""
        if path is None:
            return None
        archive = study.provided("archive") if study.archive is not None else None
        is_archive = archive is not None and path.suffix == archive.suffix
        return cls(path, archive if is_archive else None)


@dataclass(frozen=True)
class Data:
    """A data set, and the name of the file that it was given as; None if it was built."""

    dataset: Dataset
    source: str | None


def check_given(study: Study, choices: Choices, given: Given | None) -> None:
    """Refuse a file that cannot be trained on; loads no network library.

    Raises
    ------
    ReproError
        If it cannot be read, or is not what the choices ask for.
    """
    if given is not None and given.archive is not None:
        given.archive.read(given.path)
    elif given is not None:
        open_data(study, choices, given.path)


def prepare(
    study: Study,
    choices: Choices,
    folder: Path,
    given: Given | None = None,
    workers: int = 1,
    display: Display = SILENT,
    world: World = ALONE,
) -> Data:
    """Return the data set to train on: what was given, or one made in the run's folder.

    Parameters
    ----------
    study, choices, folder
        What is trained, and where the run lies.
    given : Given, optional
        A data set, or an archive of which one is made in the folder; by default one is built there.
    workers : int
        Processes that build the data set.
    display : Display
        Where progress goes.
    world : World
        The processes that train together, of which one builds.

    Raises
    ------
    ReproError
        If what is there is another data set than the choices ask for.
    """
    own = folder / DATA_FILE
    if given is None:
        world.lead(partial(_build_once, study, choices, own, workers, display))
        return Data(open_data(study, choices, own), None)
    if given.archive is None:
        return Data(open_data(study, choices, given.path), given.path.name)
    world.lead(partial(_import_once, given, choices, own))
    return Data(open_data(study, choices, own), given.path.name)


def of_run(study: Study, choices: Choices, folder: Path, given: Given | None) -> Data:
    """Return the data set that a run in a folder was trained on.

    Parameters
    ----------
    study, choices, folder
        Of the run.
    given : Given, optional
        The data set, if it does not lie in the folder; an archive only judges.

    Raises
    ------
    ReproError
        If it is missing, or another than the choices ask for.
    """
    if given is not None and given.archive is None:
        return Data(open_data(study, choices, given.path), given.path.name)
    own, made_of = folder / DATA_FILE, folder / SOURCE_FILE
    if not own.exists():
        raise ReproError(f"{folder} has no {DATA_FILE}: give its data set with --data FILE.")
    source = made_of.read_text(encoding="utf-8").strip() if made_of.exists() else None
    return Data(open_data(study, choices, own), source)


def build_data(
    study: Study,
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
    from repro.reporting.formatting import duration

    spec = choices.resolve_spec(study, seed)
    seconds = None if scheduler else estimate_seconds(spec, path, workers)
    if seconds is not None and seconds > WORTH_TELLING_S:
        time_needed = duration(seconds)
        display.announce(f"data {spec.name} {choices.preset}: about {time_needed} on this machine")
    with display.bar(f"data {spec.name} {choices.preset}") as progress:
        return build(spec, path, workers=workers, progress=progress, scheduler=scheduler)


def open_data(study: Study, choices: Choices, path: Path) -> Dataset:
    """Open a data set that was built before, and check that it is one the choices allow.

    Raises
    ------
    ReproError
        If it belongs to another study, preset or experiment, or a data setting differs.
    """
    dataset = Dataset.open(path)
    wanted = _resolve_like(study, dataset.spec, choices)
    for what in ("study", "preset", "experiment"):
        have, want = vars(dataset.spec)[what], vars(wanted)[what]
        if have != want:
            raise ReproError(
                f"{path.name} was built for the {what} {have}, this run asks for {want}: "
                f"choose the same {what}, or another file."
            )
    if dataset.spec.fingerprint != wanted.fingerprint:
        raise ReproError(
            f"{path.name} was built with other parameters than this run asks for: give the "
            f"--set values it was built with, or build another."
        )
    return dataset


# ---- archives of measured samples


def import_archive(given: Given, out: Path, choices: Choices) -> Dataset:
    """Make a data set of an archive, every sample in the training split.

    Parameters
    ----------
    given : Given
        The archive.
    out : Path
        The data set; left untouched if it is that of this archive already.
    choices : Choices
        Preset, experiment and settings of the archives' data spec, such as the size of images.

    Raises
    ------
    ReproError
        If the archive is not as the study takes it, or ``out`` is another data set.
    """
    content = given.archive.read(given.path)
    of_archive = {"validation": 0, "test": 0, "sha256": content.sha256}
    parameters = _resolve_archive(given.archive, choices, of_archive).parameters
    arrays = given.archive.arrays(content, parameters)
    n = len(next(iter(arrays.values())))
    return _write_once(
        out, _resolve_archive(given.archive, choices, {"train": n} | of_archive), arrays
    )


def judged_by(given: Given, trained_on: Dataset, out: Path) -> Dataset:
    """Return the data set whose test split is what an archive has and the training did not.

    Parameters
    ----------
    given : Given
        Other samples, or the same archive: then the data set itself is returned.
    trained_on : Dataset
        What the networks were trained on; its training split stays.
    out : Path
        The data set to make; returned if it is that of this archive already.

    Raises
    ------
    ReproError
        If the networks were not trained on an archive, or this one is not as the study takes it or
        has nothing new.
    """
    kind, parameters = given.archive, trained_on.spec.parameters
    if trained_on.spec.name != kind.data_spec:
        raise ReproError(
            f"The networks were trained on {trained_on.spec.card.kind} samples: train them on an "
            "archive with --data FILE to judge them by another."
        )
    content = kind.read(given.path)
    if content.sha256 == parameters["sha256"]:
        return trained_on
    rows = np.concatenate([trained_on.rows(split) for split in ("train", "validation")])
    known = {name: trained_on.array(name)[rows] for name in trained_on.names}
    others = kind.arrays(content, parameters)
    new = ~_among(others, known)
    if not new.any():
        raise ReproError(f"{given.path.name} has only samples that the networks were trained on.")
    counts = {**trained_on.spec.counts, "test": int(new.sum())}
    parameters = {**parameters, "test_sha256": content.sha256}
    spec = trained_on.spec.model_copy(update={"counts": counts, "parameters": parameters})
    both = {name: np.concatenate([known[name], others[name][new]]) for name in known}
    return _write_once(out, spec, both)


def _build_once(study: Study, choices: Choices, own: Path, workers: int, display: Display) -> None:
    if own.exists():
        return
    start, taken = time.perf_counter(), own.parent / BUILD_TIME_FILE
    before = read_build_time(own.parent) or 0.0  # of a build that was stopped
    try:
        build_data(study, choices, own, workers, display)
    finally:
        if own.parent.is_dir():
            write_text(taken, f"{before + time.perf_counter() - start:.3f}\n")


def _import_once(given: Given, choices: Choices, own: Path) -> None:
    import_archive(given, own, choices)
    write_text(own.with_name(SOURCE_FILE), f"{given.path.name}\n")


def _resolve_like(study: Study, made: ResolvedSpec, choices: Choices) -> ResolvedSpec:
    """Return the data set that choices ask for, of the archives that one was made of if any."""
    if study.archive is not None:
        archive: Archive = study.provided("archive")
        if made.name == archive.data_spec:
            hashes = {name: made.parameters[name] for name in HASHES}
            return _resolve_archive(archive, choices, {**made.counts, **hashes})
    return choices.resolve_spec(study, made.seed)


def _resolve_archive(
    kind: Archive, choices: Choices, of_archive: dict[str, str | int]
) -> ResolvedSpec:
    for name in choices.data_settings:
        if name in of_archive:
            raise ReproError(f"--set {name}: the archive says that; leave it out.")
    settings = {**choices.data_settings, **of_archive}
    return load_spec(kind.data_spec).resolve(choices.preset, choices.experiment, settings)


def _write_once(out: Path, spec: ResolvedSpec, arrays: dict[str, np.ndarray]) -> Dataset:
    if not out.exists():
        make_folder(out.parent)
        write_dataset(out, spec, [arrays])
    dataset = Dataset.open(out)
    if dataset.spec.fingerprint != spec.fingerprint:
        raise ReproError(
            f"{out} was made of another archive, or with other parameters: choose another folder."
        )
    return dataset


def _among(samples: dict[str, np.ndarray], known: dict[str, np.ndarray]) -> np.ndarray:
    """Return which samples are among the known ones, every variable equal, ``(n,)`` bool."""

    def contents(arrays: dict[str, np.ndarray]) -> list[tuple[bytes, ...]]:
        typed = [arrays[name].astype(known[name].dtype) for name in known]
        return [tuple(value.tobytes() for value in values) for values in zip(*typed, strict=True)]

    seen = set(contents(known))
    return np.array([content in seen for content in contents(samples)])
