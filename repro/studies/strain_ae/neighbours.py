"""What neighbouring positions of a scan add to the reading of one pattern.

Adaptive weights smoothing: every position is averaged with those around it that do not differ from
it by more than noise explains, over a reach that grows step by step, so that a grain is averaged
and its boundary is not (Polzehl and Spokoiny, Probab. Theory Relat. Fields 135, 335, 2006). At the
edge of a scan, with neighbours on one side only, a gradient is flattened by less than its noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from repro.studies.strain_ae.lattice import sixfold

REACH = 4.0  # positions around one that are averaged at most
FIRST_REACH, GROWTH = 1.25**0.5, 1.25**0.5
# Squared difference of two positions, in standard deviations of the first as it is known so far and
# summed over the four components, from which they are not averaged. Chosen by the propagation
# condition on pure noise: it is averaged to within 5 % of what no threshold at all would give.
THRESHOLD = 16.0

Area = tuple[slice, slice]


def with_neighbours(found: np.ndarray, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average a map within its grains.

    Parameters
    ----------
    found : numpy.ndarray
        ``(n_rows, n_columns, 4)``: ε_xx, ε_yy, ε_xy [1], and rotation [rad] that a sixth of a turn
        leaves as it is. NaN where nothing was found.
    deviations : numpy.ndarray
        Their standard deviations, of the same shape.

    Returns
    -------
    found, deviations : numpy.ndarray
        The same with neighbours; NaN where nothing was found.
    """
    known = np.isfinite(found) & np.isfinite(deviations) & (deviations > 0)
    precision = np.where(known, 1 / np.where(known, deviations, 1.0) ** 2, 0.0)
    single = np.where(known, found, 0.0)
    smooth, gathered, reach = single.copy(), precision, FIRST_REACH
    while True:
        smooth, gathered, variance = _averaged(single, precision, smooth, gathered, reach)
        if reach >= REACH:
            break
        reach = min(reach * GROWTH, REACH)
    unknown = ~known
    smooth[unknown] = variance[unknown] = np.nan
    return smooth, np.sqrt(variance)


def _averaged(single, precision, smooth, gathered, reach):
    """Average once over a reach; return the mean, the precision it gathers, and its variance."""
    total, weights, squares = (np.zeros_like(single) for _ in range(3))
    for here, there, near in _pairs(single.shape[:2], reach):
        apart = _difference(smooth[there], smooth[here])
        unlike = (gathered[here] * apart**2).sum(axis=-1) / THRESHOLD
        weight = near * np.clip(2 * (1 - unlike), 0, 1)
        each = weight[..., None] * precision[there]
        total[here] += each * _difference(single[there], smooth[here])
        weights[here] += each
        squares[here] += weight[..., None] * each
    safe = np.where(weights > 0, weights, 1.0)
    return smooth + total / safe, weights, squares / safe**2


def _pairs(shape: tuple[int, int], reach: float) -> Iterator[tuple[Area, Area, float]]:
    """Yield two parts of a map that lie apart by less than a reach, and the weight of that."""
    most = int(np.ceil(reach))
    for down, right in product(range(-most, most + 1), repeat=2):
        near = 1 - (down**2 + right**2) / reach**2
        if near > 0:
            pairs = [_overlap(n, step) for n, step in zip(shape, (down, right), strict=True)]
            (rows, their_rows), (columns, their_columns) = pairs
            yield (rows, columns), (their_rows, their_columns), near


def _overlap(n: int, step: int) -> tuple[slice, slice]:
    return slice(max(0, -step), n - max(0, step)), slice(max(0, step), n - max(0, -step))


def _difference(there: np.ndarray, here: np.ndarray) -> np.ndarray:
    apart = there - here
    apart[..., 3] = sixfold(apart[..., 3])
    return apart
