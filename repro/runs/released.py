"""Weights that authors released, held against the claims of their paper without any training."""

from __future__ import annotations

from functools import reduce
from operator import sub
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from repro.backend import check_backend
from repro.display import SILENT, Display
from repro.evaluation.claims import Claim, Condition
from repro.evaluation.metrics import Evaluation, Interval, Metric
from repro.evaluation.outcomes import PAPER, decide
from repro.reporting.formatting import estimate, number, with_unit
from repro.reporting.terminal import table
from repro.runs.choices import Choices
from repro.runs.data import Given, check_given, prepare
from repro.study import Study
from repro.training.precision import precision


def evaluate(study: Study, weights: Path, data: Path, display: Display = SILENT) -> Evaluation:
    """Measure released weights on published samples, at the paper's scale.

    Parameters
    ----------
    study : Study
        Whose authors released them.
    weights : Path
        The file.
    data : Path
        An archive of samples, or a data set of one.
    display : Display
        Where progress goes.

    Raises
    ------
    ReproError
        If the study cannot do this, or a file is not as it takes it.
    """
    released = study.provided("released")
    choices, given = Choices(study=study.name, preset=PAPER), Given.of(study, data)
    check_given(study, choices, given)
    check_backend()
    with TemporaryDirectory() as folder, display.bar(f"evaluate {weights.name}") as progress:
        dataset = prepare(study, choices, Path(folder), given).dataset
        with precision("float32"):
            return released.evaluate(weights, dataset, progress)


def facts(study: Study, found: Evaluation) -> dict[str, Any]:
    """Return the metrics, and what they say of the claims that they decide, as JSON values.

    The intervals are those of the samples: authors release one training.
    """
    metrics = {
        name: {"value": m.value, "unit": m.unit, "definition": m.definition}
        for name, m in found.metrics.items()
    }
    claims = [
        {"claim": claim.id, "statement": claim.statement, **_held_against(claim, condition, found)}
        for claim in study.claims.claims
        for condition in claim.conditions
        if found.metrics.keys() >= set(condition.metrics)
    ]
    assumption = study.provided("released").assumption
    return {"study": study.name, "claims": claims, "metrics": metrics, "assumption": assumption}


def page(told: dict[str, Any]) -> str:
    """Return the facts as text."""
    claims = [
        [c["status"], c["claim"], with_unit(estimate(c["value"], c["interval"]), c["unit"]),
         c["statement"]]
        for c in told["claims"]
    ]  # fmt: skip
    metrics = [
        [name, with_unit(number(m["value"]), m["unit"])] for name, m in told["metrics"].items()
    ]
    return "\n".join(
        [
            f"{told['study']}: the weights that the authors released",
            "",
            table(["metric", "value"], metrics),
            "",
            table(["outcome", "claim", "value", "what is claimed"], claims),
            "",
            told["assumption"],
        ]
    )


def _held_against(claim: Claim, condition: Condition, found: Evaluation) -> dict[str, Any]:
    metrics = [found.metrics[name] for name in condition.metrics]
    value = reduce(sub, [metric.value for metric in metrics])
    interval = _interval(metrics)
    status = decide(condition, interval or (value, value), claim.kind == "number", claim.better)
    return {"status": status, "value": value, "interval": interval, "unit": metrics[0].unit}


def _interval(metrics: list[Metric]) -> Interval | None:
    """Return the interval of a metric, or of what it exceeds another by; none of a mere count."""
    over_samples = [metric.resampled for metric in metrics if metric.resampled is not None]
    return reduce(sub, over_samples).interval if len(over_samples) == len(metrics) else None
