"""Seeds that were trained in different places, put together into one run."""

from __future__ import annotations

import shutil
from pathlib import Path

from repro.code_hash import hash_code, hashed_code
from repro.errors import ReproError
from repro.evaluation.records import read_record
from repro.files import check_same, new_folder, read_json
from repro.runs.folder import (
    BUILD_TIME_FILE,
    DATA_FILE,
    RECORD_FILE,
    SOURCE_FILE,
    RunFile,
    network_folder,
    read_code,
    refuse_other_code,
    run_files_of,
    seed_folder,
)

ABOUT_DATA = (DATA_FILE, BUILD_TIME_FILE, SOURCE_FILE)
LEFT_BEHIND = shutil.ignore_patterns(".lock", "*.partial", "evaluation.npz")
REMEDY = "only seeds of the same run are merged"


def merge(runs: list[Path], out: Path, data: Path | None = None) -> Path:
    """Copy the seeds of several runs into one folder, to be evaluated as one run.

    Parameters
    ----------
    runs : list of Path
        Folders of trained runs that differ in their seeds alone; they stay as they are.
    out : Path
        The folder to make.
    data : Path, optional
        The data set, if none of the folders has it.

    Raises
    ------
    ReproError
        If the runs differ in configuration, data or code, naming what differs; if two have the
        same seed, or a network is not trained to the end; if there is something in ``out``.
    """
    seeds = _seeds_of(runs)
    backends = {}
    for seed, folder in seeds.items():
        _check_code(folder, seed)
        backends |= dict.fromkeys(_backends(folder, seed), seed)
    if len(backends) > 1:
        told = " and ".join(f"seed {seed} under {name}" for name, seed in backends.items())
        raise ReproError(f"The runs were trained by different backends, {told}: {REMEDY}.")
    source = next((folder for folder in runs if (folder / DATA_FILE).exists()), None)
    if source is None and data is None:
        raise ReproError(f"None of the runs has its {DATA_FILE}: give it with --data FILE.")
    with new_folder(out) as partial:
        for seed, folder in seeds.items():
            shutil.copytree(
                seed_folder(folder, seed), seed_folder(partial, seed), ignore=LEFT_BEHIND
            )
        for name in ABOUT_DATA:
            if source is not None and (source / name).exists():
                shutil.copy2(source / name, partial / name)
    return out


def _seeds_of(runs: list[Path]) -> dict[int, Path]:
    """Return the folder of every seed, after a look at whether the runs are of one kind."""
    seeds: dict[int, Path] = {}
    first = run_files_of(runs[0])[0]
    for folder in runs:
        for file in run_files_of(folder):
            check_same(f"{folder} holds a run", _configuration(file), _configuration(first), REMEDY)
            if file.seed in seeds:
                raise ReproError(
                    f"Seed {file.seed} is in {seeds[file.seed]} and in {folder}: leave one out."
                )
            seeds[file.seed] = folder
    return dict(sorted(seeds.items()))


def _configuration(file: RunFile) -> dict:
    return file.model_dump(mode="json", exclude={"seed"})


def _backends(folder: Path, seed: int) -> set[str]:
    """Return the backends that a seed was trained under, after a look at whether it is trained."""
    (file,) = (file for file in run_files_of(folder) if file.seed == seed)
    networks = [network_folder(folder, seed, task) for task in file.recipes]
    for network in networks:
        if not (network / "done.json").exists():
            raise ReproError(
                f"{network} holds no finished training: give the command that trains again, then "
                "merge."
            )
    files = [network / "configuration.json" for network in networks]
    return {read_json(path, "put back a copy")["backend"] for path in files}


def _check_code(folder: Path, seed: int) -> None:
    """Refuse a seed that other code trained, or of which that is not known."""
    study = run_files_of(folder)[0].choices.study
    trained_by = read_code(folder, seed)
    if trained_by is not None:
        remedy = "merge with the code that trained all of them"
        refuse_other_code(seed_folder(folder, seed), trained_by, hashed_code(study), remedy)
        return
    record = folder / RECORD_FILE
    if not record.exists():
        raise ReproError(f"{folder} does not say which code trained it: evaluate it first.")
    if read_record(record).hashes.code != hash_code(study):
        raise ReproError(f"{record} was made by other code than this: merge with that code.")
