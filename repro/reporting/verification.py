"""One claim of a paper, checked on this machine: what it costs, the runs, and the outcome."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from repro.display import SILENT, Display
from repro.errors import NotPossibleHere, ReproError
from repro.evaluation.claims import Claim
from repro.evaluation.estimates import NEARLY
from repro.evaluation.outcomes import Outcome, judge
from repro.reporting.costs import Cost, cost_of
from repro.reporting.formatting import MISSING, number
from repro.runs import whole
from repro.runs.baselines import baselines_of
from repro.runs.budget import Stopped
from repro.runs.choices import DEFAULT_EXECUTION, Choices, Execution
from repro.study import Study, get_study


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
        study, variant = self.study.name, self.claim.variant
        return [
            Choices(study=study, variant=variant, preset=self.preset, experiment=experiment)
            for experiment in self.claim.experiments
        ]

    def costs(self, results: Path, workers: int = 1) -> list[Cost]:
        """Return what each run takes; nothing is started."""
        return [
            cost_of(choices, len(self.seeds), self._folder(choices), results, workers)
            for choices in self.choices
        ]

    def _folder(self, choices: Choices) -> Path:
        return self.out / "-".join(
            (self.study.name, choices.variant, self.preset, choices.experiment or "")
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
            if made is not None:  # this process leads
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
        asked = [name for name, claim in claims.items() if _is_about(claim, claim_id)]
        close = asked or difflib.get_close_matches(claim_id, claims, n=1)
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


def _is_about(claim: Claim, metric: str) -> bool:
    """Whether a claim is about a metric, or one whose name is nearly this."""
    names = [claim.place_of(name)[1] for name in claim.metrics]
    return bool(difflib.get_close_matches(metric, names, n=1, cutoff=NEARLY))


def facts(verified: Verification, costs: Sequence[Cost], outcome: Outcome | None) -> dict[str, Any]:
    """Return cost and outcome as JSON values."""
    return {
        "claim": verified.claim.id,
        "study": verified.study.name,
        "preset": verified.preset,
        "seeds": verified.seeds,
        "costs": [asdict(cost) for cost in costs],
        "outcome": None if outcome is None else _judged(outcome, verified.claim.margin),
    }


def _judged(outcome: Outcome, margin: float) -> dict[str, Any]:
    names = ("status", "word", "value", "interval", "reason")
    return {name: getattr(outcome, name) for name in names} | {"margin": margin}
