"""Counting noise: what a detector makes of an expected pattern."""

from __future__ import annotations

import numpy as np

NOISE_FREE = 0.0  # stands for a dose without counting noise


def counted(patterns: np.ndarray, dose: float, draws: np.random.Generator) -> np.ndarray:
    """Return patterns as a detector counts them, electrons over dose, same shape float32.

    Parameters
    ----------
    patterns : numpy.ndarray
        Fraction of the electrons in each pixel, of any shape.
    dose : float
        Electrons in a pattern [1]; `NOISE_FREE` returns the patterns themselves.
    draws : numpy.random.Generator
        For the Poisson numbers.
    """
    if dose == NOISE_FREE:
        return patterns
    return (draws.poisson(patterns * dose) / dose).astype(np.float32)
