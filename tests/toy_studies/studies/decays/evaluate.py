"""What is measured."""

import numpy as np

from repro.evaluation.metrics import Evaluation, lower
from repro.evaluation.resampling import Resampling


def evaluate(trained, progress):
    """Measure the error of the time constant on the test split."""
    rows = trained.dataset.rows("test")
    x, true = trained.tasks["time_constant"].load(rows)
    found = trained.models["time_constant"].predict(x, verbose=0)
    progress(len(x), len(x))
    errors = Resampling("decay", rows).mean(np.abs(found - true).reshape(len(x), -1).mean(axis=1))
    error = lower(errors, "Mean |error| over the test split.", "s")
    return Evaluation({"error": error}, {"true": true, "found": found})
