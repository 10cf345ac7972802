"""A least-squares line with intervals that its left-out errors set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVEL = 0.9  # probability of an interval


@dataclass(frozen=True)
class Line:
    """Takes inputs to a target by a least-squares line.

    Parameters
    ----------
    coefficients : numpy.ndarray
        Offset and slopes, ``(1 + n_inputs,)``.
    spread : numpy.ndarray
        Covariance of the coefficients over the noise's variance, ``(1 + n_inputs, 1 + n_inputs)``.
    reach : float
        Half width of the interval at a sample that adds nothing to the uncertainty [target's unit].
    left_out_error : float
        Mean absolute error of the samples, each by the line through all others [target's unit].
    """

    coefficients: np.ndarray
    spread: np.ndarray
    reach: float
    left_out_error: float

    @classmethod
    def through(cls, inputs: np.ndarray, targets: np.ndarray) -> Line:
        """Return the line through samples.

        The interval is the jackknife's: the quantile of the samples' left-out errors, each over
        its own standard deviation (Barber et al. 2021, Ann. Stat. 49, 486, section 1).

        Parameters
        ----------
        inputs : numpy.ndarray
            ``(n, n_inputs)``.
        targets : numpy.ndarray
            ``(n,)``.
        """
        features = _features(inputs)
        spread = np.linalg.pinv(features.T @ features)
        coefficients = spread @ features.T @ targets
        # A left-out error is e / (1 - h), its deviation 1 / sqrt(1 - h), of leverage h.
        free = np.maximum(1 - _leverage(features, spread), np.finfo(float).eps)
        errors = np.abs(targets - features @ coefficients) / free
        rank = min(math.ceil(LEVEL * (len(errors) + 1)), len(errors))
        reach = np.sort(errors * np.sqrt(free))[rank - 1]
        return cls(coefficients, spread, float(reach), float(errors.mean()))

    def at(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the target at inputs, ``(n, n_inputs)``, and half the interval's width, ``(n,)``.

        The interval holds a new sample's target with probability `LEVEL`.
        """
        features = _features(inputs)
        half = self.reach * np.sqrt(1 + _leverage(features, self.spread))
        return features @ self.coefficients, half


def _features(inputs: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(inputs)), inputs])


def _leverage(features: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.einsum("ni,ij,nj->n", features, spread, features)
