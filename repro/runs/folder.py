"""What lies where in a run's folder, and which run it is.

``data.h5``, ``seed-0/{run.json, code.json, networks/TASK/, evaluation.npz}``, ``figures/*.svg`` and
``record.json``; what judges the run by other samples has its own ``on-NAME/``.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from repro.errors import Refused, ReproError
from repro.files import MOST_NAMES, check_same, exclusive, read_json, write_text
from repro.runs.choices import Choices
from repro.training.launchers import launched_as_leader

DATA_FILE = "data.h5"
RECORD_FILE = "record.json"
RUN_FILE = "run.json"
CODE_FILE = "code.json"  # of a seed: the hash of every file of the code that trains it
BUILD_TIME_FILE = "data.seconds"  # how long the data set took to build [s]
SOURCE_FILE = "data.archive"  # the name of the archive that the data set was made of
LOCK_FILE = ".lock"  # of the whole run; each network has its own


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


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a folder for this process, or for the several that it leads; nothing stays of nothing.

    Raises
    ------
    Refused
        If another process is at work in it.
    """
    if not launched_as_leader():
        yield
        return
    lock, was_there = folder / LOCK_FILE, folder.exists()
    with exclusive(lock, f"at work in {folder}"):
        try:
            yield
        finally:
            if folder.is_dir() and [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                lock.unlink()
                if not was_there:
                    folder.rmdir()


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
            found.append(_read_run_file(path))
    return sorted(found, key=lambda run: run.seed)


def _read_run_file(path: Path) -> RunFile:
    place = f"{path.parent.name}/{RUN_FILE}"
    remedy = "put back a copy, or train in another folder"
    content = read_json(path, remedy)
    try:
        run = RunFile.model_validate(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "it"
        raise ReproError(f"{place} is damaged or of another version ({where}): {remedy}.") from None
    if path.parent.name != seed_folder(Path(), run.seed).name:
        raise ReproError(f"{place} is of seed {run.seed}: give its folder that seed's name back.")
    return run


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


def claim_code(out: Path, seed: int, code: dict[str, str]) -> None:
    """Write down which code trains a seed, or refuse to go on with other code than began.

    Parameters
    ----------
    out, seed
        The run's folder, and the seed.
    code : dict
        The hash of every file of the code, by name.

    Raises
    ------
    ReproError
        Naming the files that differ.
    """
    began = read_code(out, seed)
    if began is not None:
        remedy = "go on with that code, or train in another folder"
        refuse_other_code(seed_folder(out, seed), began, code, remedy)
    elif not any(seed_folder(out, seed).glob("networks/*/*")):  # else begun before this was kept
        write_text(seed_folder(out, seed) / CODE_FILE, json.dumps(code, indent=1) + "\n")


def read_code(out: Path, seed: int) -> dict[str, str] | None:
    """Return the hash of every file of the code that trains a seed; None if it is not known."""
    path = seed_folder(out, seed) / CODE_FILE
    if not path.exists():
        return None
    found = read_json(path, "put back a copy")
    if not isinstance(found, dict):
        raise ReproError(f"{path} is damaged (no list of files): put back a copy.")
    return found


def read_build_time(out: Path) -> float | None:
    """Return how long the data set of a run took to build [s]; None if that is not known.

    Raises
    ------
    ReproError
        If the file is damaged.
    """
    path = out / BUILD_TIME_FILE
    if not path.exists():
        return None
    try:
        seconds = float(path.read_text(encoding="utf-8"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ReproError(f"{path} holds no time: delete it; it only tells how long a build took.")
    return seconds


def refuse_other_code(
    folder: Path, theirs: dict[str, str], ours: dict[str, str], remedy: str
) -> None:
    """Refuse what was trained by other code than this.

    Raises
    ------
    Refused
        Naming the files that differ.
    """
    names = sorted(n for n in theirs.keys() | ours.keys() if theirs.get(n) != ours.get(n))
    if names:
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        files = ", ".join(names[:MOST_NAMES]) + more
        raise Refused(f"{folder} was trained by other code than this ({files}): {remedy}.")


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
