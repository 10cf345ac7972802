"""Seeds whose runs are gone but for their records, put together into one record."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from repro.errors import ReproError
from repro.evaluation.provenance import hash_json
from repro.evaluation.records import (
    FigureEntry,
    Record,
    RecordedMetric,
    SampledMetric,
    Timing,
    read_record,
    write_record,
)
from repro.files import check_same, new_folder
from repro.runs.folder import RECORD_FILE

FIGURES = "figures"
REMEDY = "only records of seeds of the same run are merged"
OF_SOME_SEEDS = re.compile(r" Of seed [\d, ]+ alone\.$")  # the end of a caption
OF_ALL_SEEDS = ("data",)  # a stage that is not done anew for every seed


def merge_records(folders: list[Path], out: Path) -> Record:
    """Put the seeds of several records into one; the figures are those of the lowest seed's record.

    Parameters
    ----------
    folders : list of Path
        Folders with the records of runs that differ in their seeds alone; they stay as they are.
    out : Path
        The folder to make.

    Raises
    ------
    ReproError
        If the runs differ in study, data, code, networks or precision, naming what differs; if two
        have the same seed, or one failed; if there is something in ``out``.
    """
    by_seed = _by_seed(folders)
    merged, source = _merged([record for record, _ in by_seed]), by_seed[0][1]
    with new_folder(out) as partial:
        if (source / FIGURES).is_dir():
            shutil.copytree(source / FIGURES, partial / FIGURES)
        write_record(merged, partial / RECORD_FILE)
    return merged


def _by_seed(folders: list[Path]) -> list[tuple[Record, Path]]:
    """Return records with their folders, the lowest seed first, if they are of one run."""
    read = [(read_record(folder / RECORD_FILE), folder) for folder in folders]
    where: dict[int, Path] = {}
    for record, folder in read:
        if record.status != "ok":
            raise ReproError(f"{folder} failed ({record.reason}): {REMEDY}.")
        check_same(f"{folder} has a record", _identity(record), _identity(read[0][0]), REMEDY)
        for seed in record.seeds:
            if seed in where:
                raise ReproError(f"Seed {seed} is in {where[seed]} and in {folder}: leave one out.")
            where[seed] = folder
    return sorted(read, key=lambda pair: min(pair[0].seeds))


def _identity(record: Record) -> dict[str, Any]:
    """Return what records of one run have in common, whatever their seeds and machines."""
    content = record.model_dump(mode="json")
    flags = content["environment"]["flags"]
    parts = ("study", "variant", "preset", "experiment", "chosen_networks", "data", "networks")
    return {
        **{part: content[part] for part in parts},
        **{name: flags[name] for name in ("backend", "precision", "tf32", "determinism")},
        "code": record.hashes.code,
        "metrics": record.hashes.metrics,
    }


def _merged(records: list[Record]) -> Record:
    first, *others = records
    seeds = sorted(seed for record in records for seed in record.seeds)
    elsewhere = [
        f"Seed {_listed(record.seeds)} was trained on {_machine(record)}."
        for record in others
        if _machine(record) != _machine(first)
    ]
    configuration = hash_json([record.hashes.configuration for record in records])
    hashes = {"configuration": configuration}  # the environment is that of the first
    typed = re.sub(r"--seeds? \S+", f"--seeds {','.join(map(str, seeds))}", first.command)
    return first.model_copy(
        update={
            "seeds": seeds,
            "command": typed,
            "metrics": {
                name: _metric([r.metrics[name] for r in records]) for name in first.metrics
            },
            "curves": {
                task: {s: c for record in records for s, c in record.curves[task].items()}
                for task in first.curves
            },
            "figures": _figures(first),
            "hashes": first.hashes.model_copy(update=hashes),
            "timings": _timings(records),
            "deviations": [*first.deviations, *elsewhere],
            "carried": list(dict.fromkeys(c for record in records for c in record.carried)),
            "accepted_because": "",
        }
    )


def _figures(record: Record) -> dict[str, FigureEntry]:
    """Return figures whose captions say which seeds they are of."""
    of_seeds = f" Of seed {_listed(record.seeds)} alone."
    return {
        name: figure
        if OF_SOME_SEEDS.search(figure.caption)
        else figure.model_copy(update={"caption": figure.caption + of_seeds})
        for name, figure in record.figures.items()
    }


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def _machine(record: Record) -> str:
    return record.environment.gpu or record.environment.processor


def _metric(metrics: list[RecordedMetric]) -> RecordedMetric:
    values = {seed: value for metric in metrics for seed, value in metric.values.items()}
    parts = [(metric.sampled, len(metric.values)) for metric in metrics]
    return metrics[0].model_copy(update={"values": values, "sampled": _sampled(parts)})


def _sampled(parts: list[tuple[SampledMetric | None, int]]) -> SampledMetric | None:
    """Return how a metric varies over resamples, mean over the seeds of all records."""
    known = [sampled for sampled, _ in parts if sampled is not None]
    if len(known) < len(parts):
        return None
    numbers = [n for _, n in parts]
    mean = np.average([sampled.deviations for sampled in known], axis=0, weights=numbers)
    return known[0].model_copy(update={"deviations": [float(f"{x:.4g}") for x in mean]})


def _timings(records: list[Record]) -> dict[str, Timing]:
    """Return the time of each stage over all records, and its rate."""
    seconds: dict[str, float] = defaultdict(float)
    samples: dict[str, float] = defaultdict(float)
    for record in records:
        for stage, timing in record.timings.items():
            if not (stage in OF_ALL_SEEDS and stage in seconds):
                seconds[stage] += timing.wall_s
                samples[stage] += timing.wall_s * (timing.samples_per_s or 0.0)
    return {
        stage: Timing(wall_s=s, samples_per_s=samples[stage] / s if s > 0 else None)
        for stage, s in seconds.items()
    }
