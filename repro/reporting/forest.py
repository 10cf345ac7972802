"""Ours against reported, claim by claim, on one axis: 0 is the paper's number, 1 its margin."""

from __future__ import annotations

import math
from dataclasses import dataclass

from repro.reporting.formatting import minus, number
from repro.reporting.tables import ClaimRow

WITHIN, BETTER, WORSE = "within the margin", "better", "worse"


@dataclass(frozen=True)
class ForestRow:
    """A claim's place on the axis.

    Parameters
    ----------
    claim : ClaimRow
        The claim.
    point, low, high : float
        Our mean and the ends of its interval [% of the axis].
    distance : str
        Our mean's distance from the paper's number, in words.
    """

    claim: ClaimRow
    point: float
    low: float
    high: float
    distance: str


@dataclass(frozen=True)
class Forest:
    """The rows with their axis: ticks and the margin's band [% of the axis]."""

    rows: list[ForestRow]
    ticks: list[tuple[str, float]]
    band: tuple[float, float]


def forest(rows: list[ClaimRow]) -> Forest | None:
    """Place every claim that has a number, a margin and a measured value; none if there is none.

    Parameters
    ----------
    rows : list of ClaimRow
        All claims.
    """
    placed = [(row, margins) for row in rows if (margins := margins_from_reported(row))]
    if not placed:
        return None
    largest = max(abs(x) for _, margins in placed for x in margins)
    decades = max(1, math.ceil(math.log10(largest))) if largest > 0 else 1

    def place(x: float) -> float:
        return round(50 + 50 * stretched(x) / (1 + decades), 2)

    powers = [10**i for i in range(decades + 1)]
    ticks = [-power for power in reversed(powers)] + [0] + powers
    return Forest(
        rows=[
            ForestRow(row, place(mean), place(low), place(high), distance(mean))
            for row, (mean, low, high) in placed
        ],
        ticks=[(minus(str(tick)), place(tick)) for tick in ticks],
        band=(place(-1), place(1)),
    )


def margins_from_reported(row: ClaimRow) -> tuple[float, float, float] | None:
    """Return mean, lower and upper end of ours in margins from the paper's number.

    Better is positive. None where a number, a margin or a measured value is missing.
    """
    if row.reported is None or not row.margin or row.value is None:
        return None
    sign = 1 if row.better == "higher" else -1
    low, high = row.interval or (row.value, row.value)
    mean, *ends = (sign * (x - row.reported) / row.margin for x in (row.value, low, high))
    return mean, min(ends), max(ends)


def stretched(x: float) -> float:
    """Return the place on an axis that is linear up to 1 and logarithmic beyond."""
    return x if abs(x) <= 1 else math.copysign(1 + math.log10(abs(x)), x)


def distance(margins: float) -> str:
    """Write how far ours lies from the paper's number."""
    if abs(margins) <= 1:
        return WITHIN
    return f"{number(abs(margins), 2)} margins {BETTER if margins > 0 else WORSE}"
