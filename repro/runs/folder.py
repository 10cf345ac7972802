"""What lies where in a run's folder, and which run it is.

``data.h5``, ``seed-0/{run.json, networks/TASK/, evaluation.npz}``, ``figures/*.svg`` and
``record.json``; what judges the run by other samples has its own ``on-NAME/``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from repro.errors import ReproError
from repro.files import check_same, write_text
from repro.runs.choices import Choices

DATA_FILE = "data.h5"
RECORD_FILE = "record.json"
RUN_FILE = "run.json"
BUILD_TIME_FILE = "data.seconds"  # how long the data set took to build [s]
SOURCE_FILE = "data.archive"  # the name of the archive that the data set was made of


class DataIdentity(BaseModel):
    """Which data set a run is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    fingerprint: str
    checksum: str


class RunFile(BaseModel):
    """``run.json``: all that decides the weights of one seed of a run.

    Parameters
    ----------
    recipes : dict
        Every task's recipe.
    needs : dict
        The tasks that a task needs; those that need none are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    choices: Choices
    seed: int
    recipes: dict[str, dict[str, Any]]
    needs: dict[str, list[str]] = {}
    data: DataIdentity


def seed_folder(out: Path, seed: int) -> Path:
    """Return the folder of one seed of a run."""
    return out / f"seed-{seed}"


def network_folder(out: Path, seed: int, task: str) -> Path:
    """Return the folder of one trained network."""
    return seed_folder(out, seed) / "networks" / task


def read_run_files(out: Path) -> list[RunFile]:
    """Return the configuration of every seed of a run, by seed; none if nothing is there.

    Raises
    ------
    ReproError
        If a ``run.json`` cannot be read.
    """
    found = []
    for path in out.glob(f"seed-*/{RUN_FILE}"):
        if re.fullmatch(r"seed-\d+", path.parent.name):
            try:
                found.append(RunFile.model_validate_json(path.read_bytes()))
            except ValidationError as error:
                where = ".".join(map(str, error.errors()[0]["loc"])) or "it"
                raise ReproError(
                    f"{path.parent.name}/{RUN_FILE} is damaged or of another version ({where}): "
                    f"put back a copy, or train in another folder."
                ) from None
    return sorted(found, key=lambda run: run.seed)


def run_files_of(folder: Path) -> list[RunFile]:
    """Return the configuration of every seed of a run, by seed; loads no network library.

    Raises
    ------
    ReproError
        If the folder holds no run, or a ``run.json`` cannot be read.
    """
    found = read_run_files(folder)
    if not found:
        raise ReproError(f"{folder} holds no run: make one with `repro train`.")
    return found


def check_same_run(out: Path, run: RunFile) -> None:
    """Refuse a folder whose seeds are of another configuration than this one.

    Raises
    ------
    ReproError
        Naming the entries that differ.
    """
    for there in read_run_files(out):
        check_same(
            f"{out} holds a run",
            there.model_dump(mode="json", exclude={"seed"}),
            run.model_dump(mode="json", exclude={"seed"}),
            "give the same options to go on with it, or choose another folder",
        )


def claim_folder(out: Path, run: RunFile) -> None:
    """Write ``run.json`` of one seed, after a look at the seeds that are there already.

    Raises
    ------
    ReproError
        If the folder holds a run of another configuration.
    """
    check_same_run(out, run)
    write_text(seed_folder(out, run.seed) / RUN_FILE, run.model_dump_json(indent=2) + "\n")


def find_run(study: str, folder: Path | None) -> Path:
    """Return the folder of a run of a study, by default the newest here of the variant improved.

    Raises
    ------
    ReproError
        If there is none, or the folder holds none or one of another study.
    """
    found = folder or newest_run(study, "improved")
    there = run_files_of(found)[0].choices.study
    if there != study:
        raise ReproError(f"{found} holds a run of {there}: give one of {study}.")
    return found


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
        for path in Path(folder).glob(f"{study}-{variant}*/seed-*/{RUN_FILE}")
    ]
    if not found:
        raise ReproError(f"There is no run of {study} {variant} here: name its folder or make one.")
    return max(found, key=lambda path: path.stat().st_mtime).parents[1]
