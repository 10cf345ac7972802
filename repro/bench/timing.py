"""Steps timed in turns, and what their times say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter

import numpy as np
from scipy.stats import binom

from repro.bench.rows import Times
from repro.errors import ReproError

Epoch = Callable[[int], Iterator[int]]  # of a number of steps; yields how many are newly done
CONFIDENCE = 0.95
ROUNDS = 2
MOST_STEPS = 1024  # of an epoch
WARMING_UP = 1  # pieces at an epoch's start that do not count, where there are enough
ENOUGH_PIECES = 4


class NotTimed(ReproError):
    """Says why something that was asked for is not timed."""


def warm_up(programs: Mapping[str, Epoch], at_once: int = 1) -> tuple[float, float]:
    """Run the fewest steps of each program twice.

    Parameters
    ----------
    programs : mapping
        What is timed.
    at_once : int
        The fewest steps, which are one call of the device [1].

    Returns
    -------
    first_seconds : float
        What they took first, compilation included, all programs together [s].
    again_seconds : float
        What they took the second time [s].
    """

    def run() -> float:
        begin = perf_counter()
        for epoch in programs.values():
            _pieces(epoch, at_once)
        return perf_counter() - begin

    return run(), run()


def steps_within(
    seconds: float, fewest_seconds: float, most: int, limit: float, at_once: int = 1
) -> int:
    """Return how many steps each epoch of `take_turns` may have, a multiple of the fewest.

    Parameters
    ----------
    seconds : float
        How long all of it should take [s].
    fewest_seconds : float
        What the fewest steps of all programs take [s].
    most : int
        Most steps for other reasons [1].
    limit : float
        How long the fewest steps may take, if they take longer than that [s].
    at_once : int
        The fewest steps [1].

    Raises
    ------
    NotTimed
        If they take longer still.
    """
    if ROUNDS * fewest_seconds > limit:
        step = fewest_seconds / at_once
        raise NotTimed(f"a step takes {step:.2g} s, too long for the time that was left")
    fitting = int(seconds / (ROUNDS * max(fewest_seconds, 1e-9)))
    return at_once * max(1, min(fitting, most // at_once))


def take_turns(programs: Mapping[str, Epoch], n_steps: int) -> dict[str, list[float]]:
    """Time epochs of programs in turns, so that what disturbs one disturbs the others.

    Returns
    -------
    dict
        By program, the time of a step, of each piece of an epoch [s].
    """
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, epoch in programs.items():
            pieces = _pieces(epoch, n_steps)
            taken[name] += pieces[WARMING_UP if len(pieces) >= ENOUGH_PIECES else 0 :]
    return taken


def summarise(seconds: list[float]) -> Times:
    """Return median, its interval and the 95th percentile of times [s].

    The interval lies between two of the times, chosen so that the median is between them with
    95 % confidence whatever the distribution; with fewer than six it is all of them.
    """
    ordered = np.sort(seconds)
    n = len(ordered)
    below = max(int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5)) - 1, 0)
    return Times(
        median=float(np.median(ordered)),
        low=float(ordered[below]),
        high=float(ordered[n - 1 - below]),
        p95=float(np.percentile(ordered, 95)),
        steps=n,
    )


def _pieces(epoch: Epoch, n_steps: int) -> list[float]:
    """Run an epoch; return the time of a step in each piece of it [s]."""
    times, begin = [], perf_counter()
    for n_done in epoch(n_steps):
        now = perf_counter()
        times.append((now - begin) / n_done)
        begin = now
    return times
