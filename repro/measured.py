"""Measured samples: an archive of them becomes a data set like any other.

A study that takes archives has a room ``archive`` with ``DATA_SPEC``, the name of the data spec;
``SUFFIX``, of the archives' names; ``read_archive(path)``, whose result has a length and
``sha256``; and ``arrays(archive, parameters)``, the variables of the data spec, which has the
parameters ``sha256`` and ``test_sha256``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.spec import ResolvedSpec, load_spec
from repro.datasets.store import Dataset, write_dataset
from repro.errors import ReproError

if TYPE_CHECKING:
    from repro.study import Study

HASHES = ("sha256", "test_sha256")  # of the archives, among the parameters


def is_archive(study: Study, path: Path) -> bool:
    """Tell whether a file is an archive that the study takes, by its name."""
    room = study.optional_room("archive")
    return room is not None and path.suffix == room.SUFFIX


def is_measured(study: Study, spec: ResolvedSpec) -> bool:
    """Tell whether a data set was made of an archive."""
    room = study.optional_room("archive")
    return room is not None and spec.name == room.DATA_SPEC


def import_archive(
    study: Study,
    archive: Path,
    out: Path,
    preset: str,
    experiment: str | None,
    settings: dict[str, str],
) -> Path:
    """Make a data set of an archive, every sample in the training split.

    Parameters
    ----------
    study : Study
        Whose archive it is.
    archive : Path
        The archive.
    out : Path
        The data set; returned untouched if it is that of this archive already.
    preset, experiment, settings
        Of the archives' data spec, such as the size of images.

    Raises
    ------
    ReproError
        If the archive is not as the study takes it, or ``out`` is another data set.
    """
    room = study.room("archive")
    content = room.read_archive(archive)
    of_archive = {"train": len(content), "validation": 0, "test": 0, "sha256": content.sha256}
    spec = _resolve(study, preset, experiment, settings, of_archive)
    return _write_once(out, spec, room.arrays(content, spec.parameters)).path


def resolve_like(
    study: Study, made: ResolvedSpec, preset: str, experiment: str | None, settings: dict[str, str]
) -> ResolvedSpec:
    """Return what choices make of the archives that a data set was made of.

    Parameters
    ----------
    study : Study
        Whose data set it is.
    made : ResolvedSpec
        What was made of the archives.
    preset, experiment, settings
        As of `import_archive`.
    """
    hashes = {name: made.parameters[name] for name in HASHES}
    return _resolve(study, preset, experiment, settings, {**made.counts, **hashes})


def judged_by(study: Study, trained_on: Dataset, archive: Path, out: Path) -> Dataset:
    """Return the data set whose test split is what an archive has and the training did not.

    Parameters
    ----------
    study : Study
        Whose archive it is.
    trained_on : Dataset
        What the networks were trained on; its training split stays.
    archive : Path
        Other samples, or the same archive: then the data set itself is returned.
    out : Path
        The data set to make; returned if it is that of this archive already.

    Raises
    ------
    ReproError
        If the networks were not trained on an archive, or this one is not as the study takes it or
        has nothing new.
    """
    if not is_measured(study, trained_on.spec):
        raise ReproError(
            f"The networks were trained on {trained_on.spec.card.kind} samples: train them on an "
            "archive with --data FILE to judge them by another."
        )
    room, parameters = study.room("archive"), trained_on.spec.parameters
    content = room.read_archive(archive)
    if content.sha256 == parameters["sha256"]:
        return trained_on
    rows = np.concatenate([trained_on.rows(split) for split in ("train", "validation")])
    known = {name: trained_on.array(name)[rows] for name in trained_on.names}
    others = room.arrays(content, parameters)
    new = ~_among(others, known)
    if not new.any():
        raise ReproError(f"{archive.name} has only samples that the networks were trained on.")
    counts = {**trained_on.spec.counts, "test": int(new.sum())}
    parameters = {**parameters, "test_sha256": content.sha256}
    spec = trained_on.spec.model_copy(update={"counts": counts, "parameters": parameters})
    both = {name: np.concatenate([known[name], others[name][new]]) for name in known}
    return _write_once(out, spec, both)


def _resolve(
    study: Study,
    preset: str,
    experiment: str | None,
    settings: dict[str, str],
    of_archive: dict[str, str | int],
) -> ResolvedSpec:
    for name in settings:
        if name in of_archive:
            raise ReproError(f"--set {name}: the archive says that; leave it out.")
    spec = load_spec(study.room("archive").DATA_SPEC)
    return spec.resolve(preset, experiment, {**settings, **of_archive})


def _write_once(out: Path, spec: ResolvedSpec, arrays: dict[str, np.ndarray]) -> Dataset:
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
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
