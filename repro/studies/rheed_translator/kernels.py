"""A Gaussian process as features of a linear layer, for sets of a few dozen samples.

The prior of the function is a line in some of the inputs plus a smooth deviation from it in all of
them that fades away from the samples. Both are features, whose weights have a normal prior with the
noise's variance: a linear layer trained on them with an L2 penalty finds the process's mean
(Rasmussen and Williams 2006, *Gaussian Processes for Machine Learning*, sections 2.1, 2.7 and 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from types import ModuleType
from typing import Any

import numpy as np

Columns = tuple[int, ...]

LINE_VARIANCE = 100.0  # prior of slopes and offset over the noise: as good as free
# What is tried for the smooth deviation: its variance over that of the noise, which ends where it
# would vary as much as the samples themselves, and its length [spreads].
VARIANCES = (0.3, 1.0, 3.0, 10.0, 30.0)
LENGTHS = (0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0)
LEAST_EIGENVALUE = 1e-4  # of the largest: directions that samples do not tell apart are left out


def every_choice(n_inputs: int) -> list[Columns]:
    """Return all sets of columns of inputs, the empty one first.

    Parameters
    ----------
    n_inputs : int
        Columns that there are.
    """
    sizes = range(n_inputs + 1)
    return [columns for size in sizes for columns in combinations(range(n_inputs), size)]


@dataclass(frozen=True)
class Process:
    """A Gaussian process and its known samples.

    Parameters
    ----------
    inputs : numpy.ndarray
        Of the samples, ``(n, n_inputs)`` [spreads].
    targets : numpy.ndarray
        Of the samples, ``(n, n_targets)``, centred.
    lines : tuple of int
        Columns of the inputs in which the function is a line but for the smooth deviation.
    variance, length : float
        Of the smooth deviation: variance over that of the noise [1]; distance, as root mean
        square over the inputs, over which it varies [spreads].
    """

    inputs: np.ndarray
    targets: np.ndarray
    lines: Columns
    variance: float
    length: float

    @classmethod
    def of(cls, inputs: np.ndarray, targets: np.ndarray, lines: list[Columns]) -> Process:
        """Return the process that best predicts each sample from the others.

        By the squared error, over `VARIANCES`, `LENGTHS` and some choices of lines.

        Parameters
        ----------
        inputs, targets
            As of the class.
        lines : list of tuple of int
            What is tried for `lines`.
        """

        def squared_error(process: Process) -> float:
            return float(np.square(process.left_out()[0]).sum())

        choices = product(lines, VARIANCES, LENGTHS)
        return min((cls(inputs, targets, *choice) for choice in choices), key=squared_error)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the noise, as far as the samples tell [unit of the targets]."""
        explained = self.targets * np.linalg.solve(self._covariance, self.targets)
        return float(np.sqrt(np.maximum(explained.mean(), np.finfo(float).tiny)))

    @cached_property
    def whitening(self) -> np.ndarray:
        """What turns likeness to each sample into smooth features, ``(n, n_smooth)``."""
        values, vectors = np.linalg.eigh(self._likeness(self.inputs, np))
        kept = values > LEAST_EIGENVALUE * values[-1]
        return vectors[:, kept] * np.sqrt(self.variance / values[kept])

    @cached_property
    def posterior(self) -> np.ndarray:
        """Factor of the weights' covariance over the noise's, ``(n_features, n_features)``."""
        features = self.features(self.inputs)
        precision = features.T @ features + np.eye(features.shape[1])
        return np.linalg.inv(np.linalg.cholesky(precision)).T

    def features(self, inputs: Any, ops: ModuleType = np) -> Any:
        """Return the features of inputs, ``(n, n_features)``.

        Parameters
        ----------
        inputs : array
            ``(n, n_inputs)`` [spreads].
        ops : module
            ``numpy``, or ``keras.ops`` for tensors.
        """
        smooth = ops.matmul(self._likeness(inputs, ops), self._as(inputs, self.whitening, ops))
        lines = LINE_VARIANCE**0.5 * self._in_lines(inputs, ops)
        offset = LINE_VARIANCE**0.5 * ops.ones_like(inputs[:, :1])
        return ops.concatenate([offset, lines, smooth], axis=1)

    def deviation(self, inputs: Any, ops: ModuleType = np) -> Any:
        """Return the standard deviation of a new sample, noise included, ``(n, 1)``.

        Parameters
        ----------
        inputs, ops
            As of `features`.
        """
        features = self.features(inputs, ops)
        known = ops.matmul(features, self._as(inputs, self.posterior, ops))
        smooth = features[:, 1 + len(self.lines) :]
        novel = self.variance - ops.sum(ops.square(smooth), axis=1, keepdims=True)
        uncertain = ops.sum(ops.square(known), axis=1, keepdims=True) + ops.maximum(novel, 0.0)
        return self.noise * ops.sqrt(1 + uncertain)

    def mean(self, inputs: np.ndarray) -> np.ndarray:
        """Return the mean of the process, ``(n, n_targets)``."""
        correlated = self.features(self.inputs).T @ self.targets
        return self.features(inputs) @ self.posterior @ (self.posterior.T @ correlated)

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return error and standard deviation of each sample, had it been left out.

        In closed form, with variance, length and noise as they are (equation 5.12 of the book).

        Returns
        -------
        errors : numpy.ndarray
            Target less prediction, ``(n, n_targets)``.
        deviations : numpy.ndarray
            ``(n, 1)``.
        """
        inverse = np.linalg.inv(self._covariance)
        alone = np.diag(inverse)[:, None]
        return inverse @ self.targets / alone, self.noise / np.sqrt(alone)

    @cached_property
    def _covariance(self) -> np.ndarray:
        """Of the samples' targets over the noise's variance, ``(n, n)``."""
        lines = np.column_stack([np.ones(len(self.inputs)), self._in_lines(self.inputs, np)])
        smooth = self.variance * self._likeness(self.inputs, np)
        return smooth + LINE_VARIANCE * lines @ lines.T + np.eye(len(lines))

    def _in_lines(self, inputs: Any, ops: ModuleType) -> Any:
        return ops.take(inputs, np.array(self.lines, dtype=np.int32), axis=1)

    def _likeness(self, inputs: Any, ops: ModuleType) -> Any:
        apart = inputs[:, None, :] - self._as(inputs, self.inputs, ops)[None]
        return ops.exp(-0.5 * ops.mean(ops.square(apart), axis=2) / self.length**2)

    @staticmethod
    def _as(inputs: Any, array: np.ndarray, ops: ModuleType) -> Any:
        return array if ops is np else ops.convert_to_tensor(array, inputs.dtype)
