"""What is measured."""

import numpy as np

from repro.evaluation.metrics import Evaluation, lower
from repro.evaluation.resampling import Resampling


def evaluate(trained, progress):
    """Measure on the test split the background, and the time constant if there is its network."""
    metrics, arrays = {}, {}
    rows = trained.dataset.rows("test")
    for task, metric, unit in (("background", "background", "1"), ("time_constant", "error", "s")):
        if task in trained.tasks:
            x, true = trained.tasks[task].load(rows)
            found = trained.models[task].predict(x, verbose=0)
            errors = np.abs(found - true).reshape(len(x), -1).mean(axis=1)
            of_split = Resampling("decay", rows).mean(errors)
            metrics[metric] = lower(of_split, "Mean |error| over the test split.", unit)
            arrays = {"true": true, "found": found}
    progress(len(rows), len(rows))
    return Evaluation(metrics, arrays)
