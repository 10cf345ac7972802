"""What is measured."""

import numpy as np

from repro.evaluation.metrics import Evaluation, lower
from repro.evaluation.resampling import Resampling


def evaluate(trained, progress):
    """Measure the error of the stiffness on the test split."""
    rows = trained.dataset.rows("test")
    x, stiffness = trained.tasks["stiffness"].load(rows)
    found = trained.models["stiffness"].predict(x, verbose=0)
    progress(len(x), len(x))
    errors = Resampling("spring", rows).mean(np.abs(found - stiffness)[:, 0])
    error = lower(errors, "Mean |error| over the test split.", "N/m")
    return Evaluation({"error": error}, {"stiffness": stiffness, "found": found})
