"""A data set of the shapes of any preset, made in seconds: for timing, never for results.

Its values are those of a few samples of the preset smoke, which every study can make in seconds,
repeated along each axis until they have the shape of the wanted preset. So labels are labels and
patterns are patterns, whatever the study, and a network of the paper's size is timed without the
paper's data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from repro.datasets.spec import ResolvedSpec, load_function
from repro.datasets.store import Dataset
from repro.study import Study

N_DRAWN = 24  # samples of the preset smoke
N_FEWEST = 8  # that a study gets at the wanted preset
N_OTHERS = 2  # validation samples, and test samples
LARGEST_BYTES = 2**28  # of the data set, unless the fewest samples take more


@dataclass(frozen=True)
class SampleSet(Dataset):
    """A data set in memory, which has no file.

    Parameters
    ----------
    arrays : mapping
        The variables, ``(n_samples, *shape)`` each.
    """

    arrays: Mapping[str, np.ndarray]

    def array(self, name: str) -> np.ndarray:
        """Return a variable, ``(n_samples, *shape)``."""
        return self.arrays[name]


def sample_set(study: Study, preset: str, experiment: str | None = None) -> SampleSet:
    """Return a small data set whose samples have the shapes that a preset's have.

    Parameters
    ----------
    study : Study
        Whose data spec it follows.
    preset : str
        The scale of the samples, not of their number.
    experiment : str, optional
        Which they are said to be of, though all are drawn from the first.

    Raises
    ------
    ReproError
        If the data spec has no such preset or experiment.
    """
    drawn = _drawn(study.name)
    n_train = min(N_DRAWN, max(N_FEWEST, LARGEST_BYTES // _sample_bytes(study, preset)))
    counts = {"train": n_train, "validation": N_OTHERS, "test": N_OTHERS}
    spec = study.data_spec.resolve(preset, experiment, counts)
    arrays = {
        name: repeated(drawn[name], (spec.n_samples, *variable.shape)).astype(variable.dtype)
        for name, variable in spec.variables.items()
    }
    return SampleSet(Path(), spec, "", {}, _moments(spec, arrays), arrays)


def repeated(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of another shape of as many axes: repeated, or cut, along each of them."""
    places = [np.arange(n) % there for n, there in zip(shape, values.shape, strict=True)]
    return values[np.ix_(*places)]


@cache
def _drawn(study: str) -> dict[str, np.ndarray]:
    """Return the first samples of the preset smoke."""
    from repro.study import get_study

    spec = get_study(study).data_spec.resolve("smoke")
    n_samples = min(N_DRAWN, spec.n_samples)
    return load_function(spec.generator)(0, n_samples, spec.seed, spec.parameters)


def _sample_bytes(study: Study, preset: str) -> int:
    variables = study.data_spec.resolve(preset).variables.values()
    return sum(np.dtype(v.dtype).itemsize * int(np.prod(v.shape)) for v in variables)


def _moments(
    spec: ResolvedSpec, arrays: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return mean and standard deviation of each normalised variable over the training split."""
    moments = {}
    for name, variable in spec.variables.items():
        if variable.normalise:
            axis = 0 if variable.normalise == "per_point" else None
            seen = arrays[name][: spec.counts["train"]].astype(np.float64)
            deviation = seen.std(axis=axis)
            moments[name] = seen.mean(axis=axis), np.where(deviation == 0, 1.0, deviation)
    return moments
