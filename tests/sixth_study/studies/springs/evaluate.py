"""What is measured."""

from repro.studies.springs.recipe import tasks

from repro.evaluation.metrics import Evaluation, Metric, mean_absolute_error


def evaluate(variant, dataset, models, curves, seed, progress):
    """Measure the error of the stiffness on the test split."""
    (task,) = tasks(variant, "smoke", dataset)
    x, stiffness = task.load(dataset.rows("test"))
    found = models["stiffness"].predict(x, verbose=0)
    progress(len(x), len(x))
    error = Metric(
        mean_absolute_error(stiffness, found), "N/m", "lower", "Mean |error| over the test split."
    )
    return Evaluation({"error": error}, {"stiffness": stiffness, "found": found})
