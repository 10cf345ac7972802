"""How the networks of `interface_dcnn` are trained.

faithful: the published 3-D CNN, SGD 0.01 without momentum, 300 epochs, about 1200 examples;
    published accuracy 98 % for rough or diffuse, 80 to 90 % for the step position.
    ``repro run interface_dcnn --variant faithful --preset paper --seeds 0,1,2 --out FOLDER``
improved: one network for all thicknesses a task, within minutes on two cores.
    ``repro run interface_dcnn --variant improved --preset desk --seeds 0,1,2 --out FOLDER``
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.store import Dataset
from repro.studies.interface_dcnn.examples import (
    Augmentation,
    Columns,
    Scale,
    as_input,
    augmented,
    evenly,
    sharp_class,
    soft_class,
)
from repro.studies.interface_dcnn.model import (
    Architecture,
    improved_network,
    published_network,
)
from repro.studies.interface_dcnn.simulate import N_CLASSES
from repro.study import Task
from repro.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

CLASS_TASK = "rough_or_diffuse"
POOLING = {"ablation_max_pooling": "max", "ablation_average_pooling": "average"}
ALL_THICKNESSES = "ablation_all_thicknesses"
SINGLE_LINE = "ablation_single_line"


@dataclass(frozen=True)
class PresetScale:
    """What a preset changes of any training.

    Parameters
    ----------
    n_bins : int
        Bins along each side of the patterns.
    class_epochs, step_epochs : int
        Epochs of the two kinds of task; 300 in the paper.
    """

    n_bins: int
    class_epochs: int
    step_epochs: int


@dataclass(frozen=True)
class FaithfulScale(PresetScale):
    """What a preset changes of the published training.

    Parameters
    ----------
    architecture : Architecture
        What the text leaves open.
    lines_each : int, optional
        Most lines of a class that a split gives the network for rough or diffuse; by default all.
    """

    architecture: Architecture
    lines_each: int | None = None


@dataclass(frozen=True)
class ImprovedScale(PresetScale):
    """What a preset changes of our networks and their training.

    Parameters
    ----------
    width : int
        Filters of the first convolution.
    warmup_steps : int
        Steps over which the learning rate rises.
    """

    width: int
    warmup_steps: int


FAITHFUL = {
    "smoke": FaithfulScale(
        n_bins=16,
        architecture=Architecture(n_convolutions=2, n_filters=8),
        class_epochs=2,
        step_epochs=2,
    ),
    "desk": FaithfulScale(n_bins=16, architecture=Architecture(), class_epochs=50, step_epochs=120),
    "paper": FaithfulScale(
        n_bins=32,
        architecture=Architecture(n_convolutions=4, n_filters=32, pool=(1, 8, 8)),
        class_epochs=300,
        step_epochs=300,
        lines_each=600,  # "600 simulations of each class"
    ),
}
IMPROVED = {
    "smoke": ImprovedScale(n_bins=16, width=8, class_epochs=4, step_epochs=4, warmup_steps=2),
    "desk": ImprovedScale(n_bins=16, width=16, class_epochs=30, step_epochs=120, warmup_steps=20),
    "paper": ImprovedScale(n_bins=32, width=32, class_epochs=60, step_epochs=240, warmup_steps=50),
}
# Not stated in the text. A step network has less than a hundred examples, and without momentum
# learns nothing from a few large batches.
CLASS_BATCH, STEP_BATCH = 16, 4
AUGMENTATION = Augmentation()


@dataclass(frozen=True)
class Question:
    """What a network is asked, and about which examples.

    Parameters
    ----------
    n_outputs : int
        Classes; 1 asks for a number.
    examples : callable
        From indices of samples to numbers of examples.
    patterns : callable
        From numbers of examples to patterns, ``(n, n_positions, n_bins, n_bins)``.
    answers : callable
        From numbers of examples to classes or numbers, ``(n,)``.
    columns : Columns
        The samples that the examples are of; those of the training split set the inputs' scale.
    """

    n_outputs: int
    examples: Callable[[np.ndarray], np.ndarray]
    patterns: Callable[[np.ndarray], np.ndarray]
    answers: Callable[[np.ndarray], np.ndarray]
    columns: Columns

    @cached_property
    def scale(self) -> Scale:
        """Mean and deviation of the training examples."""
        return Scale.of(self.patterns(self.examples(self.columns.training_rows)))

    @property
    def loss(self) -> str:
        """Cross-entropy of classes, squared error of a number."""
        return "sparse_categorical_crossentropy" if self.n_outputs > 1 else "mse"

    def inputs(self, patterns: np.ndarray, examples: np.ndarray) -> np.ndarray:
        """Return what the network sees of patterns of some examples."""
        return self.scale.apply(as_input(patterns))

    def probabilities(self, answers: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes that a network's answers stand for."""
        return answers

    def task(self, name: str, build_model: Callable[[], keras.Model], recipe: Recipe) -> Task:
        """Return the training of a network that is asked this."""
        return Task(
            name,
            build_model,
            self.load,
            recipe,
            self.examples,
            self.augmented,
            context=self,
        )

    def load(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return input and answer of examples."""
        return self.inputs(self.patterns(examples), examples), self.answers(examples)

    def augmented(self, examples: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return input and answer of examples, altered by what their seeds draw."""
        patterns = augmented(self.patterns(examples), seeds, AUGMENTATION)
        return self.inputs(patterns, examples), self.answers(examples)


@dataclass(frozen=True)
class QuestionWithThickness(Question):
    """A question to a network that is told the thickness.

    Parameters
    ----------
    thickness : callable
        From numbers of examples to thicknesses, ``(n, 1)``.
    """

    thickness: Callable[[np.ndarray], np.ndarray]

    def inputs(self, patterns: np.ndarray, examples: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the network sees: patterns and thickness."""
        return {
            "patterns": super().inputs(patterns, examples),
            "thickness": self.thickness(examples),
        }


@dataclass(frozen=True)
class SoftClassQuestion(QuestionWithThickness):
    """A question with thickness whose answers are soft classes; see `soft_class`."""

    def probabilities(self, answers: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes without their softness."""
        return sharp_class(answers)


def rough_or_diffuse(columns: Columns, lines_each: int | None = None) -> Question:
    """Ask for the class of a line at any thickness; of at most so many lines of a class."""

    def examples(rows: np.ndarray) -> np.ndarray:
        lines = columns.lines(rows)
        if lines_each is None:
            return lines
        return evenly(lines, columns.line_labels(lines), lines_each)

    return Question(2, examples, columns.line_patterns, columns.line_labels, columns)


def step_position(columns: Columns, thicknesses: list[int]) -> Question:
    """Ask for the class of a step's position, from patterns averaged over the cell."""
    examples = partial(columns.steps, thicknesses=thicknesses)
    return Question(N_CLASSES, examples, columns.step_patterns, columns.step_labels, columns)


def step_fraction(columns: Columns, thicknesses: list[int]) -> Question:
    """Ask for a step's position as a number, the share of the thickness."""
    return replace(step_position(columns, thicknesses), n_outputs=1, answers=columns.step_fractions)


def step_position_of_line(columns: Columns, thicknesses: list[int]) -> Question:
    """Ask for the class of a step's position from a single line."""
    examples = partial(columns.step_lines, thicknesses=thicknesses)
    return Question(N_CLASSES, examples, columns.line_patterns, columns.line_step_labels, columns)


def tasks(variant: str, preset: str, dataset: Dataset) -> list[Task]:
    """Return the networks to train: many for ``faithful``, two for ``improved``."""
    scale, task = {
        "faithful": (FAITHFUL[preset], faithful_task),
        "improved": (IMPROVED[preset], improved_task),
    }[variant]
    columns = columns_of(variant, dataset)
    return [
        task(name, question, columns, scale)
        for name, question in questions(variant, columns).items()
    ]


def columns_of(variant: str, dataset: Dataset) -> Columns:
    """Return the samples of a data set as the networks of a variant see them."""
    scales = {"faithful": FAITHFUL, "improved": IMPROVED}[variant]
    return Columns(dataset, scales[dataset.spec.preset].n_bins)


def questions(variant: str, columns: Columns) -> dict[str, Question]:
    """Return what the networks of a variant are asked, by the name of the task."""
    asked = {"faithful": faithful_questions, "improved": improved_questions}[variant]
    return asked(columns)


def improved_questions(columns: Columns) -> dict[str, Question]:
    """Return what our networks are asked; each knows the thickness and serves all of them."""
    everything = list(range(columns.n_thicknesses))
    return {
        CLASS_TASK: QuestionWithThickness(
            **vars(rough_or_diffuse(columns)),
            thickness=lambda examples: columns.thickness_input(columns.line_places(examples)[1]),
        ),
        "step": SoftClassQuestion(
            N_CLASSES,
            partial(columns.steps, thicknesses=everything),
            columns.step_lines_together,
            lambda examples: soft_class(columns.step_fractions(examples)),
            columns,
            thickness=lambda examples: columns.thickness_input(columns.step_places(examples)[1]),
        ),
    }


def improved_task(name: str, question: Question, columns: Columns, scale: ImprovedScale) -> Task:
    """Return the training of one of our networks."""
    is_class = name == CLASS_TASK
    recipe = Recipe(
        epochs=scale.class_epochs if is_class else scale.step_epochs,
        batch_size=32 if is_class else 16,
        learning_rate=1e-3,
        optimizer="adamw",
        schedule="cosine",
        warmup_steps=scale.warmup_steps,
        weight_decay=0.01,
        clip_norm=1.0,
        keep="last",
        loss="sparse_categorical_crossentropy" if is_class else "categorical_crossentropy",
    )
    shape = (*columns.example_shape, 1 if is_class else columns.simulation.n_lines)
    build = partial(improved_network, shape, question.n_outputs, scale.width)
    return question.task(name, build, recipe)


def faithful_questions(columns: Columns) -> dict[str, Question]:
    """Return what the published networks are asked, by the name of the task.

    The last are the alternatives that fail according to the paper: those of `POOLING` differ in
    their network, the others in their examples.
    """
    names = list(enumerate(columns.thickness_names))
    everything = [place for place, _ in names]
    lines_each = FAITHFUL[columns.dataset.spec.preset].lines_each
    return {
        CLASS_TASK: rough_or_diffuse(columns, lines_each),
        **{f"step_{name}": step_position(columns, [place]) for place, name in names},
        **{f"step_fraction_{name}": step_fraction(columns, [place]) for place, name in names},
        **{name: rough_or_diffuse(columns, lines_each) for name in POOLING},
        ALL_THICKNESSES: step_position(columns, everything),
        **{f"{SINGLE_LINE}_{n}": step_position_of_line(columns, [place]) for place, n in names},
    }


def faithful_task(name: str, question: Question, columns: Columns, scale: FaithfulScale) -> Task:
    """Return the published training of one network."""
    is_class = question.n_outputs == 2
    architecture = replace(scale.architecture, pooling=POOLING.get(name, "none"))
    recipe = Recipe(
        epochs=scale.class_epochs if is_class else scale.step_epochs,
        batch_size=CLASS_BATCH if is_class else STEP_BATCH,
        learning_rate=0.01,
        optimizer="sgd",
        loss=question.loss,
    )
    build = partial(
        published_network, (*columns.example_shape, 1), question.n_outputs, architecture
    )
    return question.task(name, build, recipe)
