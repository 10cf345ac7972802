"""How the networks of `mamba` are trained.

faithful: two U-Nets, one a part of the field, Adam 1e-3, MAE, batch 32, 30 epochs, 90 000 films;
    published validation MAE 0.1240 (real) and 0.1231 (imaginary) after about 11 h each on a laptop.
    ``repro run mamba --variant faithful --preset paper --seeds 0,1,2 --out FOLDER``
improved: one network for both parts, trained within half an hour of two cores at preset desk.
    ``repro run mamba --variant improved --preset desk --seed 0 --out FOLDER``
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from repro.datasets.store import Dataset
from repro.studies.mamba.model import (
    PUBLISHED_WIDTHS,
    FieldScale,
    faithful_unet,
    improved_network,
)
from repro.study import Task
from repro.training.recipe import Recipe

PARTS = {"real": "field_real", "imag": "field_imag"}


@dataclass(frozen=True)
class FaithfulScale:
    """What a preset changes of the published training: nothing at ``paper``."""

    widths: tuple[int, int, int]
    epochs: int


@dataclass(frozen=True)
class ImprovedScale:
    """What a preset changes of our network and its training."""

    width: int
    n_stages: int
    epochs: int
    warmup_steps: int
    precision: str


FAITHFUL = {
    "smoke": FaithfulScale(widths=(4, 8, 16), epochs=2),
    "desk": FaithfulScale(widths=(16, 32, 64), epochs=2),
    "paper": FaithfulScale(widths=PUBLISHED_WIDTHS, epochs=30),
}
IMPROVED = {
    "smoke": ImprovedScale(width=16, n_stages=2, epochs=8, warmup_steps=8, precision="float32"),
    "desk": ImprovedScale(
        width=64, n_stages=2, epochs=4, warmup_steps=100, precision="mixed_bfloat16"
    ),
    "paper": ImprovedScale(
        width=96, n_stages=3, epochs=30, warmup_steps=1000, precision="mixed_bfloat16"
    ),
}


def tasks(variant: str, preset: str, dataset: Dataset) -> list[Task]:
    """Return the networks to train: two for ``faithful``, one for ``improved``."""
    if variant == "faithful":
        return [faithful_task(part, FAITHFUL[preset], dataset) for part in PARTS]
    return [improved_task(IMPROVED[preset], dataset)]


def faithful_task(part: str, scale: FaithfulScale, dataset: Dataset) -> Task:
    """Return the published training of one part of the field, ``"real"`` or ``"imag"``."""
    recipe = Recipe(
        epochs=scale.epochs, batch_size=32, learning_rate=1e-3, optimizer="adam", loss="mae"
    )
    load = partial(flattened_rods, dataset, PARTS[part])
    return Task(part, partial(faithful_unet, scale.widths), load, recipe)


def improved_task(scale: ImprovedScale, dataset: Dataset) -> Task:
    """Return the training of our network."""
    recipe = Recipe(
        epochs=scale.epochs,
        batch_size=64,
        learning_rate=1e-3,
        optimizer="adam",
        schedule="cosine",
        warmup_steps=scale.warmup_steps,
        clip_norm=1.0,
        precision=scale.precision,
        loss="mae",
    )
    build = partial(improved_network, field_scale(dataset), scale.width, scale.n_stages)
    return Task("field", build, partial(rods_as_channels, dataset), recipe)


def field_scale(dataset: Dataset) -> FieldScale:
    """Return the normalisation constants of a data set's training split."""
    mean, deviation = dataset.statistics("log_intensity")
    parts = [dataset.statistics(name) for name in PARTS.values()]
    return FieldScale(
        float(mean),
        float(deviation),
        np.stack([part_mean for part_mean, _ in parts]),
        np.stack([part_deviation for _, part_deviation in parts]),
    )


def normalise(dataset: Dataset, name: str, values: np.ndarray) -> np.ndarray:
    """Return values of a variable minus its mean, over its deviation, float32, same shape."""
    mean, deviation = (np.asarray(s, dtype=np.float32) for s in dataset.statistics(name))
    return (values.astype(np.float32, copy=False) - mean) / deviation


def normalised(dataset: Dataset, name: str, rows: np.ndarray) -> np.ndarray:
    """Return a variable of some films as `normalise` does, ``(n, 16, 240)``."""
    return normalise(dataset, name, dataset.array(name)[rows])


def flattened_rods(dataset: Dataset, target: str, rows: np.ndarray):
    """Return log intensity and one part of the field, each ``(n, 3840, 1)``, as published."""
    log_intensity, field = (normalised(dataset, n, rows) for n in ("log_intensity", target))
    return log_intensity.reshape(len(rows), -1, 1), field.reshape(len(rows), -1, 1)


def rods_as_channels(dataset: Dataset, rows: np.ndarray):
    """Return log intensity ``(n, 240, 16)`` and field ``(n, 240, 32)``, real then imaginary."""
    log_intensity = normalised(dataset, "log_intensity", rows)
    field = np.concatenate([normalised(dataset, name, rows) for name in PARTS.values()], axis=1)
    return as_channels(log_intensity), as_channels(field)


def as_channels(rods: np.ndarray) -> np.ndarray:
    """From ``(n, rods, 240)`` to ``(n, 240, rods)``, contiguous."""
    return np.ascontiguousarray(rods.transpose(0, 2, 1))
