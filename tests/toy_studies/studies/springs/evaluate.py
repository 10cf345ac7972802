"""What is measured."""

from repro.evaluation.metrics import Evaluation, Metric, mean_absolute_error


def evaluate(trained, progress):
    """Measure the error of the stiffness on the test split."""
    x, stiffness = trained.tasks["stiffness"].load(trained.dataset.rows("test"))
    found = trained.models["stiffness"].predict(x, verbose=0)
    progress(len(x), len(x))
    error = Metric(
        mean_absolute_error(stiffness, found), "N/m", "lower", "Mean |error| over the test split."
    )
    return Evaluation({"error": error}, {"stiffness": stiffness, "found": found})
