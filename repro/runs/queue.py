"""The runs at preset ``paper`` that are still wanted, most valuable first."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from repro.evaluation.claims import Claim
from repro.evaluation.paper_runs import PaperRun
from repro.evaluation.records import Record
from repro.study import Study, get_study, studies

PRESET = "paper"
BUDGET_S = 540.0  # a slice of ten minutes, with a reserve
START_S = 45.0  # of a slice: to load the libraries and to compile


@dataclass(frozen=True)
class StageTime:
    """How long a stage takes on an H100.

    Parameters
    ----------
    stage : str
        What is done.
    work : str
        How much of it.
    seconds : float
        Its time, for all seeds [s].
    measured : str
        The name of the measured figure under the results; empty without one.
    estimated : str
        How the time was estimated; empty if it is a measured rate times the work.
    """

    stage: str
    work: str
    seconds: float
    measured: str
    estimated: str


@dataclass(frozen=True)
class Wanted:
    """A run that is still wanted.

    Parameters
    ----------
    study, run, why : str
        Whose it is, its name, and what it is for.
    priority : int
        Runs with the lowest number are the most valuable.
    claims : int
        Claims of the paper that it answers.
    seeds : list of int
        The seeds that no record has.
    command : str
        What to type, again and again until it has ended.
    seconds : float
        Its time on an H100, without starts [s].
    slices : int
        Commands of the time budget that it takes.
    stages : list of StageTime
        Where the time goes.
    """

    study: str
    run: str
    why: str
    priority: int
    claims: int
    seeds: list[int]
    command: str
    seconds: float
    slices: int
    stages: list[StageTime]


def wanted_runs(
    records: Collection[Record],
    results: Path,
    budget_s: float = BUDGET_S,
    study: str | None = None,
) -> list[Wanted]:
    """Return the runs that no record answers, most valuable first.

    Parameters
    ----------
    records : collection of Record
        The baseline records.
    results : Path
        The folder of results, with the measured rates.
    budget_s : float
        The time budget of a command [s].
    study : str, optional
        Only those of this study.

    Raises
    ------
    ReproError
        If there is no such study, or a study's list or a measured rate cannot be read.
    """
    chosen = studies().values() if study is None else [get_study(study)]
    found = [
        _wanted(one, run, seeds, results, budget_s)
        for one in chosen
        for run in one.paper_runs.runs
        if (seeds := seeds_left(one.name, run, records))
    ]
    return sorted(found, key=lambda w: (w.priority, -w.claims, w.study, w.run))


def seeds_left(study: str, run: PaperRun, records: Collection[Record]) -> list[int]:
    """Return the seeds of a run that no record has."""
    kind = study, run.variant, PRESET, run.experiment
    done = {
        seed
        for record in records
        if record.status == "ok"
        and has_networks(record, run.networks)
        and (record.study, record.variant, record.preset, record.experiment) == kind
        for seed in record.seeds
    }
    return [seed for seed in run.seeds if seed not in done]


def has_networks(record: Record, names: Collection[str]) -> bool:
    """Whether a record is of all networks, or at least of those of some names, ``*`` in them."""
    if not record.chosen_networks:
        return True
    return bool(names) and all(
        any(fnmatchcase(network, name) for network in record.networks) for name in names
    )


def is_about(claim: Claim, names: Collection[str]) -> bool:
    """Whether all networks that a claim's protocol names are among those of some names."""
    asked = {place.split(".")[1] for place in claim.protocol if place.startswith("networks.")}
    named = asked - {"*"}
    return not names or all(any(fnmatchcase(n, name) for name in names) for n in named)


def facts(runs: list[Wanted]) -> list[dict[str, Any]]:
    """Return the runs as plain data."""
    return [asdict(run) for run in runs]


def _wanted(
    study: Study, run: PaperRun, seeds: list[int], results: Path, budget_s: float
) -> Wanted:
    stages = []
    for stage in run.stages:
        times = len(seeds) if stage.each_seed else 1
        stages.append(
            StageTime(
                stage=stage.stage,
                work=f"{times * stage.count:,.0f} {stage.unit}".replace(",", "\u202f"),
                seconds=times * stage.count * stage.seconds_of_one(results),
                measured=stage.figure,
                estimated=stage.estimated,
            )
        )
    seconds = sum(stage.seconds for stage in stages)
    kind = run.variant, PRESET, run.experiment
    claims = [
        claim
        for claim in study.claims.claims
        if (claim.variant, claim.preset, claim.experiment) == kind
        and claim.data_name in (None, study.name)  # which a run builds itself
        and is_about(claim, run.networks)
    ]
    return Wanted(
        study=study.name,
        run=run.id,
        why=run.why,
        priority=run.priority,
        claims=len(claims),
        seeds=seeds,
        command=command(study.name, run, seeds, budget_s),
        seconds=seconds,
        slices=math.ceil(seconds / max(budget_s - START_S, 1.0)),
        stages=stages,
    )


def command(study: str, run: PaperRun, seeds: list[int], budget_s: float) -> str:
    """Return the command that does a slice of a run, and goes on when it is given again."""
    words = ["repro", "run", study, "--variant", run.variant, "--preset", PRESET]
    words += ["--experiment", run.experiment, "--seeds", ",".join(map(str, seeds))]
    if run.networks:
        words += ["--networks", ",".join(run.networks)]
    words += run.options
    words += ["--time-budget", f"{budget_s:g}", "--out", f"runs/{study}-{run.variant}-{run.id}"]
    return f"KERAS_BACKEND={run.backend} {shlex.join(words)}"
