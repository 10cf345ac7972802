"""What the networks of `interface_dcnn` are worth, and what simple means make of the same patterns.

``class/`` is the question rough or diffuse, ``step/`` the class of the step position,
``step_fraction/`` the same as a number. Metrics of the network have plain names; ``linear/``,
``total_intensity/``, ``centre_of_mass/`` and ``radial_means/`` before them stand for baselines on
the same splits, ``ablation_.../`` for what the paper says fails. ``dose_1e+05`` is a number of
electrons in a pattern; without it patterns are free of noise. Of a run of some networks alone there
are the metrics whose networks are all there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import partial

import numpy as np

from repro.datasets.spec import SPLITS
from repro.evaluation.metrics import (
    Evaluation,
    Metric,
    calibration_error,
    confusion,
    higher,
    in_stages,
    lower,
    mean,
    root_mean_square,
    share,
)
from repro.evaluation.resampling import Resampling, average
from repro.imaging.counting import NOISE_FREE, counted
from repro.seeds import generator
from repro.studies.interface_dcnn import baselines
from repro.studies.interface_dcnn.examples import augmented, step_class
from repro.studies.interface_dcnn.recipe import (
    ALL_THICKNESSES,
    AUGMENTATION,
    CLASS_TASK,
    POOLING,
    SINGLE_LINE,
    Question,
)
from repro.studies.interface_dcnn.simulate import N_CLASSES
from repro.study import Trained

DOSES = (NOISE_FREE, 1e6, 1e5, 1e4, 1e3)  # electrons in a pattern
BATCH = 64
FEWEST_EPOCHS = 5  # whose mean loss means something
LOSS_OF_GUESSING = np.log(N_CLASSES)  # cross-entropy of a network that knows nothing

Predict = Callable[[np.ndarray], np.ndarray]
Answers = tuple[dict[str, Metric], dict[str, np.ndarray]]


def evaluate(trained: Trained, progress: Callable[[int, int], None]) -> Evaluation:
    """Measure trained networks on the test split, beside all baselines."""
    bench = Bench(trained)
    stages = {
        class_stage: bench.asks(CLASS_TASK),
        step_stage: bench.asks_steps("step"),
        baseline_stage: True,
        picture_stage: True,
        step_fraction_stage: bench.asks_steps("step_fraction"),
        ablation_stage: trained.variant == "faithful",
    }
    possible = [stage for stage, is_possible in stages.items() if is_possible]
    return in_stages(possible, bench, progress).defined()


class Bench:
    """The samples of the test split, and the networks that are measured on them."""

    def __init__(self, trained: Trained):
        self.dataset, self.seed = trained.dataset, trained.seed
        self.models, self.curves = trained.models, trained.curves
        self.questions: dict[str, Question] = {n: t.context for n, t in trained.tasks.items()}
        self.columns = next(iter(self.questions.values())).columns
        self.rows = {split: self.dataset.rows(split) for split in SPLITS}
        is_mixed = self.columns.simulation.random_split  # of any column, some examples are tested
        tested = np.arange(self.dataset.spec.n_samples) if is_mixed else self.rows["test"]
        self.drawn_columns = Resampling("column", tested)

    def ask(self, task: str, examples: np.ndarray, dose: float = NOISE_FREE) -> np.ndarray:
        """Return a network's answers, ``(n, n_outputs)``."""
        question = self.questions[task]
        if not len(examples):
            return np.empty((0, question.n_outputs))
        patterns = self.noisy(question.patterns(examples), task, dose)
        inputs = question.inputs(patterns, examples)
        return self.models[task].predict(inputs, batch_size=BATCH, verbose=0)

    def noisy(self, patterns: np.ndarray, purpose: str, dose: float) -> np.ndarray:
        """Return patterns with the counting noise of a dose, the same for the same purpose."""
        return counted(patterns, dose, generator(self.seed, "counting noise", purpose, f"{dose:g}"))

    def asks(self, task: str) -> bool:
        """Whether a network was trained."""
        return task in self.questions

    def asks_steps(self, prefix: str) -> bool:
        """Whether the networks for the step position of all thicknesses were trained."""
        return all(self.asks(task) for _, task, _ in self.step_tasks(prefix))

    def step_tasks(self, prefix: str) -> list[tuple[str, str, np.ndarray]]:
        """Return thickness, task and test examples of the networks for the step position."""
        names = self.columns.thickness_names
        return [
            (name, self.task_of(prefix, name), self.columns.steps(self.rows["test"], [place]))
            for place, name in enumerate(names)
        ]

    def task_of(self, prefix: str, thickness: str) -> str:
        """Return the network for a thickness: its own, or the one for all."""
        own = f"{prefix}_{thickness}"
        return own if self.asks(own) else prefix

    def unseen(self, samples: np.ndarray) -> np.ndarray:
        """Tell which samples have a structure that the training split lacks, ``(n,)`` bool."""
        depths = self.dataset.array("step_depth")
        known = depths[self.rows["train"]][~self.columns.is_intermixed[self.rows["train"]]]
        return self.columns.is_intermixed[samples] | ~np.isin(depths[samples], known)


def dose_name(dose: float) -> str:
    """Return the end of a metric's name for a dose; empty without noise."""
    return "" if dose == NOISE_FREE else f"/dose_{dose:.0e}"


# ---- rough or diffuse


def class_stage(bench: Bench) -> Answers:
    """Ask rough or diffuse: by dose, by thickness, of unseen structures, of nearly flat ones."""
    columns, examples = bench.columns, bench.columns.lines(bench.rows["test"])
    labels = columns.line_labels(examples)
    samples, thickness, _ = columns.line_places(examples)
    about = "share of test lines, fractions 0.1 to 0.95, whose class is right"
    metrics, table = {}, np.empty((len(DOSES), columns.n_thicknesses))
    for row, dose in enumerate(DOSES):
        found = bench.ask(CLASS_TASK, examples, dose)
        hits = found.argmax(axis=1) == labels
        drawn = bench.drawn_columns.only(samples)
        metrics[f"class/accuracy{dose_name(dose)}"] = share(hits, about, drawn)
        table[row] = [mean(hits[thickness == t]) for t in range(columns.n_thicknesses)]
        metrics[f"class/calibration_error{dose_name(dose)}"] = calibration(found, labels)
    clear = bench.ask(CLASS_TASK, examples)
    hits = clear.argmax(axis=1) == labels
    for t, name in enumerate(columns.thickness_names):
        own = thickness == t
        drawn = bench.drawn_columns.only(samples[own])
        metrics[f"class/accuracy/{name}_A"] = share(hits[own], f"{about}, {name} Å", drawn)
    metrics["class/accuracy/unseen"] = share(
        hits[bench.unseen(samples)], f"{about}; intermixed, or step depth not in training"
    )
    return (
        metrics | every_line(bench, examples) | on_validation(bench),
        {
            "class_accuracy": table,
            "class_confusion": confusion(labels, clear.argmax(axis=1), 2),
            "class_probability": clear[:, 1],
            "class_label": labels,
            "class_fraction": columns.fraction[samples, thickness],
        },
    )


def every_line(bench: Bench, told_apart: np.ndarray) -> dict[str, Metric]:
    """Return the accuracy on all lines, and on those whose two classes are nearly one crystal."""
    columns = bench.columns
    everything = columns.lines(bench.rows["test"], flat_too=True)
    hits = bench.ask(CLASS_TASK, everything).argmax(axis=1) == columns.line_labels(everything)
    drawn = bench.drawn_columns.only(columns.line_places(everything)[0])
    about = "share of test lines whose class is right"
    return {
        "class/accuracy/every_line": share(hits, f"{about}, whatever the fraction", drawn),
        "class/accuracy/nearly_flat": share(
            hits[~np.isin(everything, told_apart)], f"{about}, fractions below 0.1 or above 0.95"
        ),
    }


def on_validation(bench: Bench) -> dict[str, Metric]:
    """Return the accuracy on the validation split, which is what the paper reports."""
    examples = bench.columns.lines(bench.rows["validation"])
    hits = bench.ask(CLASS_TASK, examples).argmax(axis=1) == bench.columns.line_labels(examples)
    drawn = Resampling("column", bench.columns.line_places(examples)[0], "validation")
    about = "share of validation lines, fractions 0.1 to 0.95, whose class is right"
    return {"validation/class/accuracy": share(hits, about, drawn)}


def calibration(probabilities: np.ndarray, labels: np.ndarray) -> Metric:
    """Return how far stated confidence and accuracy lie apart."""
    value = calibration_error(probabilities, labels)
    return lower(value, "expected calibration error, ten bins of confidence")


# ---- position of the step


@dataclass(frozen=True)
class StepAnswers:
    """What was said of the step positions of one thickness, without noise.

    Parameters
    ----------
    probabilities : numpy.ndarray
        ``(n, 11)``.
    labels : numpy.ndarray
        ``(n,)`` int, the true classes.
    positions, fractions : numpy.ndarray
        ``(n,)``, the positions found and the true ones, as shares of the thickness.
    unseen : numpy.ndarray
        ``(n,)`` bool, whose depth the training split lacks.
    samples : numpy.ndarray
        ``(n,)`` int, the columns.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    fractions: np.ndarray
    unseen: np.ndarray
    samples: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """The likeliest classes, ``(n,)``."""
        return self.probabilities.argmax(axis=1)

    @property
    def hits(self) -> np.ndarray:
        """Which are right, ``(n,)`` bool."""
        return self.found == self.labels

    @property
    def errors(self) -> np.ndarray:
        """The positions found minus the true ones, ``(n,)``."""
        return self.positions - self.fractions


def step_stage(bench: Bench) -> Answers:
    """Ask for the class of the step position: by thickness, dose, and depths not seen before."""
    tasks = bench.step_tasks("step")
    answers = {name: step_answers(bench, task, examples) for name, task, examples in tasks}
    table = np.array([[step_accuracy(bench, *task[1:], dose) for task in tasks] for dose in DOSES])
    metrics = {
        f"step/accuracy/{name}_A": share(
            a.hits, f"{ABOUT_STEPS}, {name} Å", bench.drawn_columns.only(a.samples)
        )
        for name, a in answers.items()
    }
    by_thickness = [metric.resampled for metric in metrics.values()]
    about = f"mean over thicknesses: {ABOUT_STEPS}"
    for dose, row in zip(DOSES, table, strict=True):
        metrics[f"step/accuracy{dose_name(dose)}"] = share(row, about)
    metrics["step/accuracy"] = higher(average(by_thickness), about)
    metrics["step/accuracy/lowest"] = share(table[:1].min(axis=1), f"lowest of: {ABOUT_STEPS}")
    arrays = {
        f"step_confusion_{name}": confusion(a.labels, a.found, N_CLASSES)
        for name, a in answers.items()
    }
    return metrics | all_steps(bench, list(answers.values())), {**arrays, "step_accuracy": table}


ABOUT_STEPS = "share of test columns, averaged over the cell, whose tenth of the thickness is right"


def step_answers(bench: Bench, task: str, examples: np.ndarray) -> StepAnswers:
    """Return what a network says of the step positions of test columns."""
    columns, answers = bench.columns, bench.ask(task, examples)
    samples = columns.step_places(examples)[0]
    return StepAnswers(
        bench.questions[task].probabilities(answers),
        columns.step_labels(examples),
        answers @ np.linspace(0, 1, N_CLASSES),
        columns.step_fractions(examples),
        bench.unseen(samples),
        samples,
    )


def step_accuracy(bench: Bench, task: str, examples: np.ndarray, dose: float) -> float:
    """Return the share of test columns whose class is right at a dose."""
    answers = bench.ask(task, examples, dose)
    found = bench.questions[task].probabilities(answers).argmax(axis=1)
    return mean(found == bench.columns.step_labels(examples))


def all_steps(bench: Bench, answers: list[StepAnswers]) -> dict[str, Metric]:
    """Return what holds for the columns of all thicknesses together."""
    together = StepAnswers(
        *(np.concatenate(parts) for parts in zip(*map(astuple, answers), strict=True))
    )
    hits, unseen = together.hits, together.unseen
    near = np.abs(together.found - together.labels) <= 1
    drawn = bench.drawn_columns.only(together.samples)
    return {
        "step/accuracy/unseen_depth": share(hits[unseen], f"{ABOUT_STEPS}; not in training"),
        "step/accuracy/seen_depth": share(hits[~unseen], f"{ABOUT_STEPS}; in training"),
        "step/within_one": share(near, "share of test columns at most one class away", drawn),
        "step/rmse": fraction_error(together.errors, "mean of the class probabilities"),
        "step/calibration_error": calibration(together.probabilities, together.labels),
    }


def fraction_error(errors: np.ndarray, of: str) -> Metric:
    """Return the root mean square of errors of the step position [share of the thickness]."""
    return lower(root_mean_square(errors), f"{ABOUT_FRACTION}: {of}")


ABOUT_FRACTION = "root mean square error of the step fraction"


def step_fraction_stage(bench: Bench) -> Answers:
    """Ask for the step position as a number, as the published abstract has it."""
    metrics, truth, answers, hits, samples = {}, [], [], [], []
    for name, task, examples in bench.step_tasks("step_fraction"):
        found = bench.ask(task, examples)[:, 0]
        samples.append(bench.columns.step_places(examples)[0])
        true = bench.columns.step_fractions(examples)
        metrics[f"step_fraction/rmse/{name}_A"] = fraction_error(found - true, "regression")
        truth.append(true)
        answers.append(found)
        hits.append(mean(step_class(found) == step_class(true)))
    true, found = np.concatenate(truth), np.concatenate(answers)
    squared = bench.drawn_columns.only(np.concatenate(samples)).mean((found - true) ** 2)
    error = replace(squared, values=np.sqrt(squared.values))
    metrics["step_fraction/rmse"] = lower(error, f"{ABOUT_FRACTION}: regression")
    about = "mean over thicknesses of the share of columns whose tenth is right, by regression"
    metrics["step_fraction/accuracy"] = share(np.array(hits), about)
    return metrics, {"step_fraction_true": true, "step_fraction_found": found}


# ---- what the paper says fails


def ablation_stage(bench: Bench) -> Answers:
    """Measure the published alternatives, and how far each training got."""
    columns, test, metrics = bench.columns, bench.rows["test"], {}
    for task in filter(bench.asks, (*POOLING, ALL_THICKNESSES, *single_line_tasks(bench))):
        question = bench.questions[task]
        examples = question.examples(test)
        hits = bench.ask(task, examples).argmax(axis=1) == question.answers(examples)
        places = columns.step_places if task == ALL_THICKNESSES else columns.line_places
        drawn = bench.drawn_columns.only(places(examples)[0])
        about = "share of its test examples that are right"
        metrics[f"{task}/accuracy"] = share(hits, about, drawn)
    of_each_thickness = [task for _, task, _ in bench.step_tasks("step")]
    of_steps = (ALL_THICKNESSES, *single_line_tasks(bench), *of_each_thickness)
    for task in filter(bench.asks, of_steps):
        left = float(bench.curves[task]["loss"][-1] / LOSS_OF_GUESSING)
        about = "last training loss over that of a network that knows nothing, ln 11"
        metrics[f"{task}/loss_left"] = lower(left, about)
    for task in filter(bench.asks, (CLASS_TASK, *of_each_thickness)):
        guessing = np.log(bench.questions[task].n_outputs)
        metrics |= levelled_off(task, np.array(bench.curves[task]["loss"]) / guessing)
    return metrics, {}


def single_line_tasks(bench: Bench) -> list[str]:
    """Return the networks that see single lines, by thickness."""
    return [f"{SINGLE_LINE}_{name}" for name in bench.columns.thickness_names]


def levelled_off(task: str, losses: np.ndarray) -> dict[str, Metric]:
    """Return by how much the training loss still fell at the end; nothing of a short training.

    Parameters
    ----------
    task : str
        The network.
    losses : numpy.ndarray
        Training loss by epoch over that of a network that knows nothing, ``(n_epochs,)``.
    """
    last = len(losses) // 6
    if last < FEWEST_EPOCHS:
        return {}
    fall = losses[-2 * last : -last].mean() - losses[-last:].mean()
    about = "mean training loss of the fifth sixth of the epochs less that of the last sixth"
    return {f"{task}/still_falling": lower(fall, f"{about}, over the loss of guessing")}


# ---- baselines


def baseline_stage(bench: Bench) -> Answers:
    """Fit linear models to all bins and to simple quantities, one for each thickness."""
    metrics, arrays = {}, {}
    asked = {"class": bench.asks(CLASS_TASK), "step": bench.asks_steps("step")}
    for kind in (kind for kind, is_asked in asked.items() if is_asked):
        for method, answers in baseline_answers(bench, kind).items():
            found, table = baseline(bench, kind, method, answers)
            metrics |= found
            arrays[f"{method}_{kind}_accuracy"] = table
    return metrics, arrays


@dataclass(frozen=True)
class BaselineAnswers:
    """What a linear model said of the test examples of one thickness.

    Parameters
    ----------
    hits : numpy.ndarray
        ``(n_doses, n)`` bool, which are right; one NaN a dose if there was nothing to learn.
    samples : numpy.ndarray
        ``(n,)`` int, the columns.
    """

    hits: np.ndarray
    samples: np.ndarray


def baseline_answers(bench: Bench, kind: str) -> dict[str, list[BaselineAnswers]]:
    """Return what every method said, by thickness; all are given the same patterns."""
    ask, places = {
        "class": (line_question, bench.columns.line_places),
        "step": (step_question, bench.columns.step_places),
    }[kind]
    answers: dict[str, list[BaselineAnswers]] = {method: [] for method in baselines.FEATURES}
    for place, name in enumerate(bench.columns.thickness_names):
        question = ask(bench, place)
        hits = baseline_hits(bench, question, f"{kind} {name}")
        samples = places(question.examples(bench.rows["test"]))[0]
        for method, found in hits.items():
            answers[method].append(BaselineAnswers(found, samples[: found.shape[1]]))
    return answers


def baseline(
    bench: Bench, kind: str, method: str, answers: list[BaselineAnswers]
) -> tuple[dict[str, Metric], np.ndarray]:
    """Return the accuracy of one linear model, and that by dose and thickness.

    Over thicknesses, lines count alike for the question rough or diffuse, thicknesses for the step.
    """
    metrics = {}
    if kind == "step":
        for name, answer in zip(bench.columns.thickness_names, answers, strict=True):
            metrics[f"{method}/step/accuracy/{name}_A"] = share(answer.hits[0], ABOUT_BASELINE)
    table = np.stack([answer.hits.mean(axis=1) for answer in answers], axis=1)
    counts = np.array([answer.hits.shape[1] for answer in answers], float)
    weights = counts if kind == "class" else np.ones_like(counts)
    for dose, row in zip(DOSES, table @ weights / weights.sum(), strict=True):
        name = f"{method}/{kind}/accuracy{dose_name(dose)}"
        metrics[name] = share(np.atleast_1d(row), ABOUT_BASELINE)
    if kind == "class" and np.isfinite(table[0]).all():
        drawn = bench.drawn_columns.only(np.concatenate([answer.samples for answer in answers]))
        clear = drawn.share(np.concatenate([answer.hits[0] for answer in answers]))
        metrics[f"{method}/class/accuracy"] = higher(clear, ABOUT_BASELINE)
    return metrics, table


ABOUT_BASELINE = "the network's accuracy, reached by a linear model for each thickness"


def line_question(bench: Bench, thickness: int) -> Question:
    """Return the question rough or diffuse for one thickness."""
    columns = bench.columns

    def examples(rows: np.ndarray) -> np.ndarray:
        lines = columns.lines(rows)
        return lines[columns.line_places(lines)[1] == thickness]

    return Question(2, examples, columns.line_patterns, columns.line_labels, columns)


def step_question(bench: Bench, thickness: int) -> Question:
    """Return the question for the step position, as a number, for one thickness."""
    columns = bench.columns
    examples = partial(columns.steps, thicknesses=[thickness])
    return Question(1, examples, columns.step_patterns, columns.step_fractions, columns)


def baseline_hits(bench: Bench, question: Question, purpose: str) -> dict[str, np.ndarray]:
    """Return which test examples each linear model gets right, ``(n_doses, n)`` bool by method.

    They are trained as the networks are, on patterns free of noise and on augmented ones; without
    two different answers to learn, nothing is right or wrong (NaN).
    """
    examples, test = (question.examples(bench.rows[split]) for split in ("train", "test"))
    answers = question.answers(examples)
    if len(test) == 0 or len(np.unique(answers)) < 2:
        return {method: np.full((len(DOSES), 1), np.nan) for method in baselines.FEATURES}
    patterns = question.patterns(examples)
    seeds = generator(bench.seed, "baseline", purpose).integers(2**63, size=len(patterns))
    altered = augmented(patterns, seeds.astype(np.uint64), AUGMENTATION)
    is_number = question.n_outputs == 1
    places = bench.columns.step_places if is_number else bench.columns.line_places
    train = baselines.Examples(
        np.concatenate([patterns, altered]),
        np.tile(answers, 2),
        np.tile(places(examples)[0], 2),
    )
    as_class = step_class if is_number else np.asarray
    true, clear = as_class(question.answers(test)), question.patterns(test)
    noisy = [bench.noisy(clear, purpose, dose) for dose in DOSES]
    hits = {}
    for method, features in baselines.FEATURES.items():
        predict = baselines.fit(features, train, is_number)
        hits[method] = np.stack([as_class(predict(patterns)) == true for patterns in noisy])
    return hits


# ---- pictures


def picture_stage(bench: Bench) -> Answers:
    """Gather what the figures show: structures, images of the probe positions, patterns."""
    columns, simulation = bench.columns, bench.columns.simulation
    rows, crystal = bench.rows["test"], simulation.crystal
    fraction, mixed = columns.fraction[rows, -1], columns.is_intermixed[rows]
    shown = {
        "step": rows[~mixed][np.argmin(np.abs(fraction[~mixed] - 0.4))],
        "mixed": rows[mixed][np.argmin(np.abs(fraction[mixed] - 0.2))],
    }
    arrays = {
        "thicknesses": np.array(simulation.thicknesses),
        "doses": np.array(DOSES),
        "probe_x": simulation.probe_positions[0, :, 0] - crystal.interface,
        "probe_y": simulation.line_heights,
        "layer_x": np.array([layer[2] for layer in crystal.layers]) - crystal.interface,
        "k": simulation.setting.detector.centres,
    }
    for name, row in shown.items():
        patterns = bench.dataset.array("patterns")[row]
        arrays[f"{name}_exchanged"] = bench.dataset.array("exchanged")[row]
        arrays[f"{name}_image"] = patterns.sum(axis=(-1, -2))
        arrays[f"{name}_line"] = patterns[-1, 0]
    return {}, arrays
