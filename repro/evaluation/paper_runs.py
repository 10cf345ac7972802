"""The runs at preset ``paper`` that a study wants, and what they take, as its folder says.

``paper_runs.yaml`` lists them::

    runs:
      - id: main
        priority: 1
        why: The published error.
        variant: faithful
        experiment: plain
        seeds: [0, 1, 2]
        options: [--workers, "16"]
        stages:
          - {stage: data, count: 1000, unit: films, each_seed: false, seconds: 0.01,
             estimated: a guess}
          - {stage: training, count: 500, unit: steps of 32,
             seconds_from: [benchmarks/ratios/h100.json, benchmarks, test_step, seconds_median]}
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from repro.errors import ReproError
from repro.evaluation.claims import read_declared
from repro.evaluation.estimates import meant
from repro.evaluation.records import read_record
from repro.files import read_json


class PaperStage(BaseModel):
    """A stage of a run and its time on an H100.

    Parameters
    ----------
    stage : str
        What is done.
    count : float
        How much of it, for one seed or for the run.
    unit : str
        Of what.
    each_seed : bool
        Whether it is done for each seed.
    seconds : float, optional
        What one takes [s], where it is estimated.
    seconds_from, per_second_from : list of str, optional
        Where a measured figure stands: a file under ``results`` and the keys within it. What one
        takes [s], or how many there are in a second.
    factor : float
        The measured time is multiplied by it.
    estimated : str
        How the time was estimated; empty if it was measured as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stage: str
    count: float = Field(gt=0)
    unit: str
    each_seed: bool = True
    seconds: float | None = Field(default=None, gt=0)
    seconds_from: list[str] = []
    per_second_from: list[str] = []
    factor: float = Field(default=1.0, gt=0)
    estimated: str = ""

    @property
    def figure(self) -> str:
        """The measured figure as documents name it, such as ``h100/test_step seconds``."""
        if self.seconds is not None:
            return ""
        file, *keys = self.seconds_from or self.per_second_from
        path = PurePosixPath(file)
        kind = path.parent.name if path.stem == "record" else path.stem
        return f"{kind}/{' '.join(key for key in keys if key != 'benchmarks')}"

    @model_validator(mode="after")
    def _one_source(self) -> PaperStage:
        given = [self.seconds is not None, bool(self.seconds_from), bool(self.per_second_from)]
        if sum(given) != 1:
            raise ValueError("give one of seconds, seconds_from and per_second_from")
        if not self.estimated and (self.seconds is not None or self.factor != 1):
            raise ValueError("say how the time was estimated")
        return self

    def seconds_of_one(self, results: Path) -> float:
        """Return what one takes [s], by figures under a folder of results.

        Raises
        ------
        ReproError
            If the figure is not there.
        """
        if self.seconds is not None:
            return self.seconds
        figure = _figure(results, self.seconds_from or self.per_second_from)
        return self.factor * (figure if self.seconds_from else 1 / figure)


class PaperRun(BaseModel):
    """A run at preset ``paper`` that a study wants.

    Parameters
    ----------
    id : str
        Short name, unique within the study.
    priority : int
        Runs with the lowest number are the most valuable; of one number those that answer most
        claims go first.
    why : str
        What the run is for, in one sentence.
    variant, experiment : str
        What is run.
    seeds : list of int
        The seeds that a verdict needs.
    networks : list of str
        Which networks alone, as ``--networks`` takes them; empty for all.
    options : list of str
        What else the command says.
    backend : str
        Keras's backend.
    stages : list of PaperStage
        What it takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    priority: int = Field(ge=1)
    why: str
    variant: str
    experiment: str
    seeds: list[int] = Field(min_length=1)
    networks: list[str] = []
    options: list[str] = []
    backend: str = "jax"
    stages: list[PaperStage] = Field(min_length=1)


class PaperRuns(BaseModel):
    """All runs at preset ``paper`` that a study wants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: list[PaperRun] = []

    @model_validator(mode="after")
    def _unique(self) -> PaperRuns:
        for name, n in Counter(run.id for run in self.runs).items():
            if n > 1:
                raise ValueError(f"the run {name} is listed {n} times")
        return self


def load_paper_runs(path: Path) -> PaperRuns:
    """Read a ``paper_runs.yaml``; a study without one wants none.

    Raises
    ------
    ReproError
        If it is not YAML, or an entry is missing, unknown or wrong.
    """
    return read_declared(path, PaperRuns, "runs") if Path(path).exists() else PaperRuns()


def _figure(results: Path, place: list[str]) -> float:
    file, *keys = place
    content: Any = _content(results / file)
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            hint = meant(key, content) if isinstance(content, dict) else ""
            raise ReproError(f"{results / file} has no figure {' '.join(keys)}{hint}.")
        content = content[key]
    try:
        return float(content)
    except (TypeError, ValueError):
        raise ReproError(f"{results / file} has no figure {' '.join(keys)}.") from None


def _content(path: Path) -> dict:
    if path.name == "record.json":
        read_record(path)  # which refuses one that was altered
    return read_json(path, "give the folder of results with --results")
