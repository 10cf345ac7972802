"""The test bench of studies: what every evaluation and every figure must keep.

Tests import it as ``bench``; see ``pythonpath`` in pyproject.toml.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from repro.datasets.store import Dataset
from repro.evaluation.metrics import Evaluation, Metric
from repro.reporting.figures import image
from repro.study import Trained, get_study


def trained_of(
    study: str,
    variant: str,
    dataset: Dataset,
    models: Any,
    curves: Mapping[str, dict] | None = None,
    seed: int = 0,
) -> Trained:
    """Return a trained run with other networks in the place of those that were trained.

    Parameters
    ----------
    study, variant : str
        Which tasks.
    dataset : Dataset
        What is measured on.
    models : dict or object
        Networks by task, or one for all tasks.
    curves : dict, optional
        Histories by task.
    seed : int
        The run's seed.
    """
    preset = dataset.spec.preset
    tasks = {task.name: task for task in get_study(study).list_tasks(variant, preset, dataset)}
    models = models if isinstance(models, dict) else dict.fromkeys(tasks, models)
    return Trained(variant, dataset, tasks, models, curves or {}, seed)


def evaluated(study: str, trained: Trained) -> Evaluation:
    """Evaluate a run as the study does; its stages must be counted from the first to the last."""
    calls: list[tuple[int, int]] = []
    found = get_study(study).provided("evaluate")(trained, lambda *call: calls.append(call))
    n = len(calls) - 1
    assert n > 0, "no progress was told"
    assert calls == [(done, n) for done in range(n + 1)]
    return found


def values(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Return the values of metrics by name."""
    return {name: metric.value for name, metric in metrics.items()}


def check_metrics(
    study: str,
    evaluation: Evaluation,
    better: Callable[[str], str],
    without: Collection[str] = (),
) -> None:
    """Check that metrics are finite, say what they are, and that claims find theirs.

    Parameters
    ----------
    study : str
        Whose claims.
    evaluation : Evaluation
        What was found.
    better : callable
        Takes a metric's name, returns which side must be better.
    without : collection of str
        Metrics of claims that the variant cannot have.
    """
    for name, metric in evaluation.metrics.items():
        assert np.isfinite(metric.value), name
        assert metric.definition, name
        assert metric.unit, name
        assert metric.better == better(name), name
    alike = {without_numbers(name): metric for name, metric in evaluation.metrics.items()}
    for claim in get_study(study).claims.claims:
        for metric in (claim.place_of(name)[1] for name in claim.metrics):
            found = alike.get(without_numbers(metric))
            assert (found is None) == (metric in without), f"{claim.id}: {metric}"
            if found is None:
                continue
            assert found.resampled or claim.without_samples, f"{claim.id}: {metric} alone"


def without_numbers(name: str) -> str:
    """Return a metric's name without the thickness or layer in it, which smaller runs lack."""
    return re.sub(r"\d{2,}", "N", name)


def check_inside(figure: Figure) -> None:
    """Check that no mark of a figure lies outside its paper, which cuts it off."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert np.isfinite(box.extents).all()
    assert min(box.x0, box.y0) > -0.05
    assert max(box.x1 - width, box.y1 - height) < 0.05


def check_same_bytes(draw: Callable[[], dict[str, Figure]]) -> None:
    """Check that figures drawn twice are the same files; else results would seem to change."""
    one, two = draw(), draw()
    for name, figure in one.items():
        assert image(figure, ".svg") == image(two[name], ".svg"), name
