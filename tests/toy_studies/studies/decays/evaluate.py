"""What is measured."""

from repro.evaluation.metrics import Evaluation, Metric, mean_absolute_error


def evaluate(trained, progress):
    """Measure the error of the time constant on the test split."""
    x, true = trained.tasks["time_constant"].load(trained.dataset.rows("test"))
    found = trained.models["time_constant"].predict(x, verbose=0)
    progress(len(x), len(x))
    about = "Mean |error| over the test split."
    error = Metric(mean_absolute_error(true, found), "s", "lower", about)
    return Evaluation({"error": error}, {"true": true, "found": found})
