"""One claim of a paper, checked on this machine: what it costs, the runs, and the outcome."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from repro.datasets.build import estimate_seconds, stored_bytes
from repro.datasets.spec import ResolvedSpec
from repro.display import SILENT, Display
from repro.errors import NotPossibleHere, ReproError
from repro.evaluation.claims import Claim
from repro.evaluation.outcomes import Outcome, judge
from repro.evaluation.records import Record
from repro.reporting.formatting import MISSING, duration, number
from repro.runs import whole
from repro.runs.baselines import baselines_of
from repro.runs.budget import Stopped
from repro.runs.choices import DEFAULT_EXECUTION, Choices, Execution
from repro.study import Study, get_study


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Parameters
    ----------
    experiment : str
        Which run of the claim.
    disk_gb : float
        The data set, compression left out [10⁹ byte].
    data_s : float, optional
        Building it, on this machine by a short trial, else as long as a record of that kind took
        [s]; None where neither tells.
    training_s : float, optional
        Training and evaluation of all seeds on the machine of a baseline record [s]; None without
        a record of that kind.
    measured_on : str
        That machine, and its cores.
    """

    experiment: str
    disk_gb: float
    data_s: float | None
    training_s: float | None
    measured_on: str

    @property
    def said(self) -> str:
        """The cost in a line."""
        trained = "training and evaluation: no record tells how long"
        if self.training_s is not None:
            trained = f"training and evaluation {duration(self.training_s)} on {self.measured_on}"
        data = f"data {duration(self.data_s)}" if self.data_s is not None else "data: not known"
        return f"{self.experiment}: disk {self.disk_gb:.3g} GB; {data}; {trained}"


@dataclass(frozen=True)
class Verification:
    """A claim, the runs that answer it at a scale, and where they go."""

    study: Study
    claim: Claim
    preset: str
    seeds: tuple[int, ...]
    out: Path

    @property
    def choices(self) -> list[Choices]:
        """What is run: the claim's variant in each of its experiments."""
        common = {"study": self.study.name, "variant": self.claim.variant, "preset": self.preset}
        return [Choices(**common, experiment=name) for name in self.claim.experiments]

    def costs(self, results: Path, workers: int = 1) -> list[Cost]:
        """Return what each run takes; nothing is started."""
        records = baselines_of(self.study.name, results)
        return [self._cost(choices, records, workers) for choices in self.choices]

    def _cost(self, choices: Choices, records: Sequence[Record], workers: int) -> Cost:
        spec = _spec(choices)
        alike = [record for record in records if _is_kind(record, choices)]
        cost = Cost(
            experiment=choices.experiment,
            disk_gb=stored_bytes(spec) / 1e9,
            data_s=estimate_seconds(spec, self._folder(choices) / "data.h5", workers),
            training_s=None,
            measured_on="",
        )
        if not alike:
            return cost
        environment = alike[0].environment
        stages = {name: timing.wall_s for name, timing in alike[0].timings.items()}
        data_s = stages.pop("data", None)
        of_seed = sum(stages.values()) / len(alike[0].seeds)
        machine = environment.gpu or f"{environment.processor}, {environment.cores} cores"
        return replace(
            cost,
            data_s=data_s if cost.data_s is None else cost.data_s,
            training_s=of_seed * len(self.seeds),
            measured_on=machine,
        )

    def _folder(self, choices: Choices) -> Path:
        return self.out / "-".join(
            (self.study.name, choices.variant, self.preset, choices.experiment)
        )

    def outcome(
        self,
        results: Path,
        execution: Execution = DEFAULT_EXECUTION,
        display: Display = SILENT,
    ) -> Outcome | Stopped:
        """Run what is missing and judge the claim; the same call again goes on.

        Baseline records lend their spread over seeds and are not judged.
        """
        records = []
        for choices in self.choices:
            made = whole.run(
                choices, list(self.seeds), self._folder(choices), None, execution, display
            )
            if isinstance(made, Stopped):
                return made
            records.append(made)
        return judge(self.claim, records, baselines_of(self.study.name, results))

    def line(self, outcome: Outcome) -> str:
        """Return the outcome in a line, with the margin."""
        value = number(outcome.value) if outcome.value is not None else MISSING
        unit = "" if self.claim.unit == "1" else f" {self.claim.unit}"
        return (
            f"{self.study.name}/{self.claim.id}: {outcome.word}; {value}{unit}, "
            f"margin {number(self.claim.margin)}{unit} ({outcome.reason})"
        )


def verification(
    name: str, out: Path, preset: str | None = None, seeds: Sequence[int] = ()
) -> Verification:
    """Return how a claim is checked.

    Parameters
    ----------
    name : str
        ``STUDY/CLAIM``.
    out : Path
        The folder of the runs.
    preset : str, optional
        The scale, by default that of the claim.
    seeds : sequence of int
        By default as many as the claim asks for.

    Raises
    ------
    ReproError
        If there is no such claim, or one of its choices does not exist.
    NotPossibleHere
        If the claim is about data that cannot be built here.
    """
    study_name, _, claim_id = name.partition("/")
    study = get_study(study_name)
    claims = {claim.id: claim for claim in study.claims.claims}
    if claim_id not in claims:
        close = difflib.get_close_matches(claim_id, claims, n=1)
        meant = f" Did you mean {study_name}/{close[0]}?" if close else ""
        raise ReproError(
            f"There is no claim {name!r}: `repro info {study_name}` lists them.{meant}"
        )
    claim = claims[claim_id]
    if claim.data_name not in (None, study.data_spec.name):
        raise NotPossibleHere(
            f"{name} is about the data set {claim.data_name}, which is measured and not built: "
            f"`repro run {study_name} --data FILE` takes it."
        )
    chosen = tuple(seeds) or tuple(range(claim.seeds))
    return Verification(study, claim, preset or claim.preset, chosen, out)


def facts(verified: Verification, costs: Sequence[Cost], outcome: Outcome | None) -> dict[str, Any]:
    """Return cost and outcome as JSON values."""
    said = {"claim": verified.claim.id, "study": verified.study.name, "preset": verified.preset}
    said |= {"seeds": verified.seeds, "costs": [asdict(cost) for cost in costs]}
    if outcome is None:
        return said | {"outcome": None}
    judged = {"status": outcome.status, "word": outcome.word, "value": outcome.value}
    judged |= {"interval": outcome.interval, "margin": verified.claim.margin}
    return said | {"outcome": judged | {"reason": outcome.reason}}


def _spec(choices: Choices) -> ResolvedSpec:
    """Return the data spec of a run, of whichever of its study's specs has the experiment."""
    for spec in choices.checked().data_specs:
        if choices.experiment in spec.experiments:
            return spec.resolve(choices.preset, choices.experiment, choices.data_settings)
    return choices.resolve_spec(get_study(choices.study))


def _is_kind(record: Record, choices: Choices) -> bool:
    kind = choices.study, choices.variant, choices.preset, choices.experiment
    whole_run = record.status == "ok" and not record.chosen_networks
    return whole_run and kind == (record.study, record.variant, record.preset, record.experiment)
