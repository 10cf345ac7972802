"""Seeds and networks that were trained in different places, put together into one run."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from repro.code_hash import hash_code, hashed_code
from repro.errors import ReproError
from repro.evaluation.records import read_record
from repro.files import check_same, new_folder, read_json, write_text
from repro.runs import data as data_stage
from repro.runs.folder import (
    BUILD_TIME_FILE,
    CODE_FILE,
    DATA_FILE,
    RECORD_FILE,
    SOURCE_FILE,
    RunFile,
    claim_folder,
    network_folder,
    read_code,
    refuse_other_code,
    run_files_of,
    seed_folder,
)
from repro.study import get_study

ABOUT_DATA = (DATA_FILE, BUILD_TIME_FILE, SOURCE_FILE)
CONFIGURATION = "configuration.json"  # of a network
LEFT_BEHIND = shutil.ignore_patterns(".lock", "*.partial", "writing-*")
REMEDY = "only seeds and networks of the same run are merged"


@dataclass(frozen=True)
class Part:
    """One seed in one of the folders.

    Parameters
    ----------
    folder : Path
        The run's.
    file : RunFile
        Of the seed.
    """

    folder: Path
    file: RunFile

    @property
    def networks(self) -> dict[str, Path]:
        """The folders of its networks by name."""
        return {n: network_folder(self.folder, self.file.seed, n) for n in self.file.recipes}


def merge(runs: list[Path], out: Path, data: Path | None = None) -> Path:
    """Copy the seeds and networks of several runs into one folder, to be evaluated as one run.

    Parameters
    ----------
    runs : list of Path
        Folders of trained runs that differ in their seeds or networks alone; they stay as they are.
    out : Path
        The folder to make.
    data : Path, optional
        The data set, if none of the folders has it.

    Raises
    ------
    ReproError
        If the runs differ in configuration, data or code, naming what differs; if two have the
        same network of the same seed, seeds have different networks, or a network is not trained
        to the end; if there is something in ``out``.
    """
    parts = _parts_of(runs)
    _check_networks(parts)
    source = next((folder for folder in runs if (folder / DATA_FILE).exists()), None)
    trained_on = data or (source and source / DATA_FILE)
    if trained_on is None:
        raise ReproError(f"None of the runs has its {DATA_FILE}: give it with --data FILE.")
    files = _merged_files(parts, trained_on)
    with new_folder(out) as partial:
        for part in parts:
            _copy(part, files[part.file.seed], partial)
        for file in files.values():
            claim_folder(partial, file)
        for name in ABOUT_DATA:
            if source is not None and (source / name).exists():
                shutil.copy2(source / name, partial / name)
    return out


def _parts_of(runs: list[Path]) -> list[Part]:
    """Return every seed of every folder, after a look at whether they are of one run."""
    parts: list[Part] = []
    first = run_files_of(runs[0])[0]
    for folder in runs:
        for file in run_files_of(folder):
            check_same(f"{folder} holds a run", _configuration(file), _configuration(first), REMEDY)
            for other in parts:
                _refuse_common(other, Part(folder, file))
            parts.append(Part(folder, file))
    by_seed = {part.file.seed: set[str]() for part in parts}
    for part in parts:
        by_seed[part.file.seed] |= part.networks.keys()
    fewest, most = min(by_seed, key=lambda s: len(by_seed[s])), max(by_seed.values(), key=len)
    lacking = sorted(most - by_seed[fewest])
    if lacking:
        raise ReproError(f"Seed {fewest} has no network {lacking[0]}, which another seed has.")
    return sorted(parts, key=lambda part: part.file.seed)


def _refuse_common(one: Part, other: Part) -> None:
    common = sorted(one.networks.keys() & other.networks.keys())
    if one.file.seed == other.file.seed and common:
        raise ReproError(
            f"Seed {one.file.seed} is in {one.folder} and in {other.folder}, with the network "
            f"{common[0]}: leave one out."
        )


def _configuration(file: RunFile) -> dict:
    """Return what the parts of a run have in common."""
    content = file.model_dump(mode="json", exclude={"seed", "recipes", "needs"})
    content["choices"].pop("networks", None)
    return content


def _check_networks(parts: list[Part]) -> None:
    """Refuse networks that are not trained, or by different backends or other code."""
    backends: dict[str, int] = {}
    for part in parts:
        _check_code(part)
        for network in part.networks.values():
            if not (network / "done.json").exists():
                raise ReproError(
                    f"{network} holds no finished training: give the command that trains again, "
                    "then merge."
                )
            backend = read_json(network / CONFIGURATION, "put back a copy")["backend"]
            backends.setdefault(backend, part.file.seed)
    if len(backends) > 1:
        told = " and ".join(f"seed {seed} under {name}" for name, seed in backends.items())
        raise ReproError(f"The runs were trained by different backends, {told}: {REMEDY}.")


def _check_code(part: Part) -> None:
    """Refuse a seed that other code trained, or of which that is not known."""
    folder, seed, study = part.folder, part.file.seed, part.file.choices.study
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


def _merged_files(parts: list[Part], data: Path) -> dict[int, RunFile]:
    """Return what decides the weights of each seed, with the networks of all parts."""
    files: dict[int, RunFile] = {}
    for part in parts:
        before = files.get(part.file.seed, part.file)
        update = {
            "recipes": before.recipes | part.file.recipes,
            "needs": before.needs | part.file.needs,
        }
        files[part.file.seed] = before.model_copy(update=update)
    choices = parts[0].file.choices
    if any(part.file.choices.networks for part in parts):
        names = list(next(iter(files.values())).recipes)
        networks = () if _are_all(names, parts[0].file, data) else tuple(names)
        choices = choices.model_copy(update={"networks": networks})
    return {seed: file.model_copy(update={"choices": choices}) for seed, file in files.items()}


def _are_all(names: list[str], file: RunFile, data: Path) -> bool:
    """Whether a run of these networks is a run of all that its study has."""
    choices, study = file.choices, get_study(file.choices.study)
    dataset = data_stage.open_data(study, choices, data)
    tasks = study.list_tasks(choices.variant, choices.preset, dataset)
    return {task.name for task in tasks} == set(names)


def _copy(part: Part, file: RunFile, out: Path) -> None:
    """Copy the networks of a part, which now belong to a run of all networks."""
    for name, network in part.networks.items():
        copied = network_folder(out, file.seed, name)
        shutil.copytree(network, copied, ignore=LEFT_BEHIND)
        if file != part.file:
            settings = read_json(copied / CONFIGURATION, "put back a copy")
            settings["configuration"] |= file.model_dump(mode="json")
            write_text(copied / CONFIGURATION, json.dumps(settings, indent=2) + "\n")
    code = seed_folder(part.folder, file.seed) / CODE_FILE
    if code.exists():
        shutil.copy2(code, seed_folder(out, file.seed) / CODE_FILE)
