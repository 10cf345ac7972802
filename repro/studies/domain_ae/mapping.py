"""Domains of a series of frames, read one at a time: memory does not grow with their sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from repro.side_by_side import side_by_side
from repro.studies.domain_ae.domains import (
    Domains,
    Stripes,
    darkness,
    direction_of,
    learn,
    settled,
)
from repro.studies.domain_ae.power import Band, brightness, power_over_noise
from repro.studies.domain_ae.windows import central_means

MOST_LEARNED = 64  # frames
THINNED = 4  # pixels of which one tells where void is
SMOOTHED = 1.0  # windows over which power is averaged to tell directions

Frames = Callable[[int], np.ndarray]


def find_domains(
    read: Frames,
    n_frames: int,
    window: int,
    step: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Domains:
    """Find the domains of a series; nothing is known of it but its frames.

    Parameters
    ----------
    read : callable
        Takes a frame's number, returns the frame, ``(height, width)``, all of one size. Frames that
        follow one another are of neighbouring temperatures.
    n_frames : int
        How many there are.
    window, step : int
        Of the windows [pixels].
    progress : callable
        Is told how many frames are mapped, and of how many.
    """
    band, numbers = Band(), range(n_frames)
    learned_from = np.unique(np.linspace(0, n_frames - 1, min(n_frames, MOST_LEARNED)).astype(int))
    dark = darkness_of(read, learned_from)

    def void_of(number: int) -> np.ndarray:
        return central_means(brightness(read(number)) < dark, window, step) > 0.5

    def power_of(number: int) -> np.ndarray:
        return power_over_noise(read(number), window, step, band, dark).astype(np.float16)

    power = np.stack(list(side_by_side(power_of, learned_from)))
    known = learn(power, np.stack([void_of(n) for n in learned_from]), band)
    del power

    def seen(number: int) -> tuple[np.ndarray, ...]:
        power = power_over_noise(read(number), window, step, band, dark)
        return known.likelihoods(power), waves(power, known), void_of(number)

    parts = []
    for part in side_by_side(seen, numbers):
        parts.append(part)
        progress(len(parts), n_frames)
    likelihoods, vectors, is_void = map(np.stack, zip(*parts, strict=True))
    alone = softmax(likelihoods + known.log_shares, axis=-1)
    found = settled(likelihoods, known, ~is_void)
    return Domains(known, alone, found, is_void, *_of_stripes(vectors, found, is_void))


def darkness_of(read: Frames, numbers: np.ndarray) -> float:
    """Return the intensity below which frames show no specimen; see `darkness`."""
    return darkness(np.stack([brightness(read(n))[::THINNED, ::THINNED] for n in numbers]))


def waves(power: np.ndarray, known: Stripes) -> np.ndarray:
    """Return the frequency of the stripes in each window, were they of each class.

    Parameters
    ----------
    power : numpy.ndarray
        Over noise, ``(n_rows, n_columns, n_bins)``.
    known : Stripes
        The classes.

    Returns
    -------
    numpy.ndarray
        ``(n_rows, n_columns, n_striped, 2)`` [cycles / window].
    """
    smooth = gaussian_filter(power, (SMOOTHED, SMOOTHED, 0), mode="nearest") - known.background
    flat = smooth.reshape(-1, smooth.shape[-1])
    found = np.empty((len(flat), len(known.stripes), 2))
    for place, about in enumerate(known.wave_vectors):
        found[:, place] = known.refined(about, flat)
    return found.reshape(*power.shape[:2], *found.shape[1:])


def _of_stripes(
    vectors: np.ndarray, found: np.ndarray, is_void: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return direction [degrees] and period [windows] of the stripes of each window."""
    best = found.argmax(axis=-1)
    shape = best.shape
    if not vectors.shape[-2]:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    which = np.maximum(best - 1, 0)[..., None, None]
    chosen = np.take_along_axis(vectors, which, axis=-2)[..., 0, :]
    is_striped = (best > 0) & ~is_void
    direction = np.where(is_striped, direction_of(chosen), np.nan)
    return direction, np.where(is_striped, 1 / np.hypot(*np.moveaxis(chosen, -1, 0)), np.nan)


def read_of(frames: Sequence[np.ndarray]) -> Frames:
    """Return what reads frames that are at hand."""
    return lambda number: frames[number]
