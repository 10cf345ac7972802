"""The probability that a claim's protocol tells a reproduction from what is none.

Simulated: runs whose true value is exactly as reported, and runs two margins away, are judged as
real ones are. Spread and test samples are those of the records at hand, the samples counted as at
the paper's scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from repro.evaluation.claims import Claim, Condition
from repro.evaluation.estimates import FEWEST_SEEDS, STANDARD_ERRORS, Estimate, OfSeeds
from repro.evaluation.metrics import CONFIDENCE, NORMAL, student_t
from repro.evaluation.outcomes import judge
from repro.evaluation.records import Record
from repro.seeds import generator

N_RUNS = 4000
FAR_OFF = 20  # margins: a run that misses by more scatters otherwise than one that reproduces
RECOGNISED, MISTAKEN = 0.8, 0.05  # what a claim worth having reaches, and does not exceed


@dataclass(frozen=True)
class Power:
    """What a claim's protocol can tell.

    Parameters
    ----------
    recognised : float
        Probability that a run with exactly the reported value is said to hold.
    mistaken : float
        Probability that a run two margins away is said to hold.
    source : str
        Where the spread comes from.
    """

    recognised: float
    mistaken: float
    source: str

    @property
    def suffices(self) -> bool:
        """Whether a verdict is worth having."""
        return self.recognised >= RECOGNISED and self.mistaken <= MISTAKEN


def power(claim: Claim, records: Sequence[Record]) -> Power | None:
    """Return what a claim's protocol can tell at the paper's scale; None if no spread is known.

    The spread of a run that is far off says nothing of one that reproduces, and is not taken.

    Parameters
    ----------
    claim : Claim
        The claim.
    records : sequence of Record
        Records of its study, the spread of which is taken.
    """
    outcome = judge(claim, records)
    if not outcome.estimates or any(e.of_samples is None for e in outcome.estimates):
        return None
    if claim.expected_spread is None and any(e.of_seeds is None for e in outcome.estimates):
        return None
    if claim.expected_spread is None and any(map(_is_far_off, outcome.estimates)):
        return None
    expected = [_at_paper_scale(claim, e, outcome.sources) for e in outcome.estimates]
    near = [e.condition.as_reported for e in expected]
    hold_near = _hold(claim, expected, near, "near")
    mistaken = 0.0
    for i, one in enumerate(expected):
        values = [*near[:i], one.condition.far, *near[i + 1 :]]
        mistaken = max(mistaken, _hold(claim, expected, values, "far"))
    source = outcome.sources[0].label if claim.expected_spread is None else "the claim"
    return Power(hold_near, mistaken, source)


def _is_far_off(found: Estimate) -> bool:
    condition = found.condition
    margin = abs(condition.far - condition.as_reported) / 2  # `far` is two margins off
    return abs(found.value - condition.as_reported) > FAR_OFF * margin


def _at_paper_scale(claim: Claim, found: Estimate, sources: Sequence[Record]) -> Estimate:
    """Return an estimate with the test samples, and the spread, of a run at the paper's scale."""
    samples, data = found.of_samples, sources[0].data
    if samples is None:
        raise ValueError(f"nobody knows how far the test samples leave {claim.id} open")
    here = data.counts.get(samples.split) if data and samples.split else None
    of_data = claim.data_protocol.get(sources[0].experiment, {})
    there = of_data.get(f"data.counts.{samples.split}")
    if here and there:
        n = max(round(samples.n_units * there / here), 1)
        scale = math.sqrt(samples.n_units / n)
        samples = replace(
            samples,
            n_units=n,
            below=scale * samples.below,
            above=scale * samples.above,
            n_answers=samples.n_answers / scale**2,
        )
    measured = found.of_seeds.spread if found.of_seeds else math.nan
    spread = claim.expected_spread.seeds if claim.expected_spread else measured
    return replace(found, of_samples=samples, of_seeds=OfSeeds(math.nan, spread, claim.seeds))


def _hold(
    claim: Claim, expected: Sequence[Estimate], values: Sequence[float], purpose: str
) -> float:
    """Return the share of simulated runs with these true values that are said to hold."""
    holds = np.ones(N_RUNS, bool)
    for i, (found, value) in enumerate(zip(expected, values, strict=True)):
        rng = generator(i, "power", claim.id, purpose)
        low, high = _simulated(claim, found, value, rng)
        holds &= _inside(found.condition, low, high)
    return float(holds.mean())


def _simulated(
    claim: Claim, found: Estimate, value: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % intervals of simulated runs with a true value, ``(N_RUNS,)`` each."""
    n, runs = claim.seeds, claim.reported_runs if claim.kind == "number" else None
    samples = found.of_samples
    if samples is None or found.of_seeds is None:
        raise ValueError(f"an estimate of {claim.id} lacks a part of its interval")
    spread = found.of_seeds.spread
    seeds = rng.normal(0.0, spread, (N_RUNS, n))
    share = 1 / n + (1 / runs if runs else 0.0)
    if n < FEWEST_SEEDS:
        of_seeds, widening = NORMAL * spread * math.sqrt(share), STANDARD_ERRORS / NORMAL
    else:
        of_seeds = student_t(n - 1) * seeds.std(axis=1, ddof=1) * math.sqrt(share)
        widening = 1.0
    if samples.n_answers:
        n_answers = max(round(samples.n_answers), 1)
        centre, below, above = _shares(value, n_answers, seeds.mean(axis=1), rng)
    else:
        error = (samples.below + samples.above) / 2 / NORMAL
        centre = value + seeds.mean(axis=1) + rng.normal(0.0, error, N_RUNS)
        below, above = samples.below, samples.above
    return (
        centre - widening * np.hypot(below, of_seeds),
        centre + widening * np.hypot(above, of_seeds),
    )


def _shares(value: float, n: int, shifts: np.ndarray, rng: np.random.Generator):
    """Return simulated shares of right answers, and how far their intervals reach."""
    from scipy.special import betaincinv

    centre = np.clip(rng.binomial(n, min(max(value, 0.0), 1.0), N_RUNS) / n + shifts, 0.0, 1.0)
    hits, tail = centre * n, (1 - CONFIDENCE) / 2
    low = np.where(hits > 0, betaincinv(hits + 0.5, n - hits + 0.5, tail), 0.0)
    high = np.where(hits < n, betaincinv(hits + 0.5, n - hits + 0.5, 1 - tail), 1.0)
    return centre, centre - low, high - centre


def _inside(condition: Condition, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (condition.floor <= low) & (high <= condition.ceiling)
