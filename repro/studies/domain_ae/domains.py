"""Domains without labels: classes of stripes read from the power of a series, and their map.

The power of a window over its noise is, for each frequency, exponentially distributed about that of
its class, so that its likelihood is known (Whittle 1953, Ark. Mat. 2, 423). The classes are the
peaks of the mean spectrum; what their stripes look like is learned from the windows themselves. A
window counts as striped where the stripes have more than half of their usual amplitude.

Neighbours are of the same class, more often than not: windows beside, and the frames before and
after. How far they are asked is chosen by how sure windows are: with little noise not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter
from scipy.special import logsumexp, softmax

from repro.errors import ReproError
from repro.studies.domain_ae.power import Band
from repro.studies.domain_ae.specimen import DIRECTIONS, NONE, VOID

N_STRIPED = 4  # classes of stripes, at most
LONGEST = 2.2  # the lowest frequency that stripes are looked for at [cycles / window]
SEEN = 6.0  # standard errors by which a peak stands out
AMPLITUDES = np.array([0.15, 0.3, 0.5, 0.65, 0.8, 1.0, 1.2])  # of stripes, over usual ones
STRIPED_FROM = 0.65
TEMPER = 1 / 2.25  # a Hann taper makes of so many independent frequencies one and a quarter squared
REDUNDANCY = 3.7  # windows of which one is new, a quarter of a window apart
UNEVEN = 0.03  # of the strongest power: stripes are no more alike than that
N_ROUNDS = 8  # of learning
PRIOR_WINDOWS = 20  # that the first guess of a class counts as
EXTENTS = ((0, 0), (0.5, 0.3), (0.7, 0.5), (1, 0.5), (1, 1), (1.5, 1), (2, 1.5))  # windows, frames
SURE, FAIRLY_SURE = 0.9, 0.7  # mean probability, to learn from and to go on with
COUPLING = (3.0, 2.0)  # to windows beside, and to frames before and after
N_SETTLING = 10
MARGIN = 2  # windows about the void that nothing is learned from
N_REFINED = 3
NEAR = 1.8  # of a peak: frequencies that tell direction and period [cycles / window]


@dataclass(frozen=True)
class Stripes:
    """What the windows of a series look like, by class.

    Parameters
    ----------
    band : Band
        The frequencies.
    background : numpy.ndarray
        Power without stripes over noise, ``(n_bins,)``.
    stripes : numpy.ndarray
        What the usual stripes of each class add, ``(n_striped, n_bins)``.
    weights : numpy.ndarray
        How common each state is, ``(n_states,)``; see `states`.
    extent : tuple of float
        Neighbours that are asked at first, as standard deviations in windows and frames.
    """

    band: Band
    background: np.ndarray
    stripes: np.ndarray
    weights: np.ndarray
    extent: tuple[float, float] = EXTENTS[0]

    @property
    def n_classes(self) -> int:
        """Classes, that without stripes first."""
        return 1 + len(self.stripes)

    @cached_property
    def class_of_state(self) -> np.ndarray:
        """Class of each state, ``(n_states,)``: faint stripes count as none."""
        striped = np.arange(1, self.n_classes)[:, None] * (AMPLITUDES >= STRIPED_FROM)
        return np.append(0, striped.ravel())

    @property
    def states(self) -> np.ndarray:
        """Power of each state, ``(n_states, n_bins)``: no stripes, and those of each amplitude."""
        added = AMPLITUDES[:, None] ** 2 * self.stripes[:, None]
        return self.background + np.vstack([np.zeros(len(self.background)), *added])

    def state_likelihoods(self, power: np.ndarray) -> np.ndarray:
        """Return logarithms of the likelihoods of states, ``(n, n_states)``.

        Parameters
        ----------
        power : numpy.ndarray
            Over noise, ``(n, n_bins)``.
        """
        floor = UNEVEN * self.stripes.max(initial=0)
        states, power = (self.states + floor) / (1 + floor), (power + floor) / (1 + floor)
        return -TEMPER * (np.log(states).sum(axis=1) + power @ (1 / states).T)

    def likelihoods(self, power: np.ndarray) -> np.ndarray:
        """Return logarithms of the likelihoods of classes, ``(..., n_classes)``.

        Parameters
        ----------
        power : numpy.ndarray
            Over noise, ``(..., n_bins)``.
        """
        found = self.state_likelihoods(power.reshape(-1, power.shape[-1])) + np.log(self.weights)
        return (self._by_class(found) - self.log_shares).reshape(*power.shape[:-1], -1)

    @property
    def log_shares(self) -> np.ndarray:
        """Logarithms of how common the classes are, ``(n_classes,)``."""
        return self._by_class(np.log(self.weights)[None])[0]

    def _by_class(self, values: np.ndarray) -> np.ndarray:
        parts = [values[:, self.class_of_state == c] for c in range(self.n_classes)]
        return np.stack([logsumexp(part, axis=1) for part in parts], axis=1)

    @cached_property
    def wave_vectors(self) -> np.ndarray:
        """Mean frequency of the stripes of each class, ``(n_striped, 2)`` [cycles / window]."""
        middle = self.band.frequencies[self.stripes.argmax(axis=1)]
        found = [self.refined(m, s[None])[0] for m, s in zip(middle, self.stripes, strict=True)]
        return np.reshape(found, (-1, 2))

    def refined(self, about: np.ndarray, power: np.ndarray) -> np.ndarray:
        """Return the mean frequency of power near another, ``(n, 2)`` of ``(n, n_bins)``.

        The middle moves to the mean it finds, some times over: a fixed one would hold it back.
        """
        both = np.concatenate([self.band.frequencies, -self.band.frequencies])
        power = np.tile(np.maximum(power, 0), 2)
        found = np.broadcast_to(about, (len(power), 2))
        for _ in range(N_REFINED):
            squares = ((both - found[:, None]) ** 2).sum(axis=2)
            weight = power * np.exp(-squares / (2 * (NEAR / 2) ** 2)) * (squares < NEAR**2)
            total = weight.sum(axis=1, keepdims=True)
            found = np.where(total > 0, weight @ both / np.maximum(total, 1e-12), found)
        return found

    @cached_property
    def labels(self) -> np.ndarray:
        """The label of each class by the direction of its stripes, ``(n_classes,)`` uint8."""
        directions = direction_of(self.wave_vectors)
        names, at = np.array(list(DIRECTIONS)), np.array(list(DIRECTIONS.values()))
        nearest = np.abs((directions[:, None] - at + 90) % 180 - 90).argmin(axis=1)
        return np.append(NONE, names[nearest]).astype(np.uint8)


def direction_of(wave_vectors: np.ndarray) -> np.ndarray:
    """Return the direction of stripes, ``(...)`` [degrees], of ``(..., 2)``, as labels count it."""
    return np.rad2deg(np.arctan2(wave_vectors[..., 1], wave_vectors[..., 0])) % 180


# ---- learning


def learn(power: np.ndarray, is_void: np.ndarray, band: Band) -> Stripes:
    """Learn the classes of a series from the power of its windows.

    Parameters
    ----------
    power : numpy.ndarray
        Over noise, ``(n_frames, n_rows, n_columns, n_bins)``.
    is_void : numpy.ndarray
        Windows without specimen, ``(n_frames, n_rows, n_columns)`` bool.
    band : Band
        The frequencies.

    Raises
    ------
    ReproError
        If there are no windows to learn from.
    """
    about = np.ones((1, 2 * MARGIN + 1, 2 * MARGIN + 1), bool)
    counted = ~binary_dilation(is_void, about)
    if not counted.any():
        raise ReproError("The frames are all void: no window shows a specimen.")
    windows = power[counted].astype(np.float32)
    known = first_guess(windows, band)
    for _ in range(N_ROUNDS):
        likelihoods = known.likelihoods(power.astype(np.float32))
        extent, shares = surest(likelihoods, ~is_void, SURE)
        known = _learned(known, windows, shares[counted], extent)
    return known


def first_guess(windows: np.ndarray, band: Band) -> Stripes:
    """Return classes that are peaks of the mean spectrum of windows, ``(n, n_bins)``."""
    mean = windows.mean(axis=0)
    error = np.sqrt(REDUNDANCY / len(windows))
    stripes = []
    for peak in peaks(mean, band, SEEN * error)[:N_STRIPED]:
        shape = bump(peak, band)
        height = np.quantile(windows @ shape / shape.sum(), 0.95) - 1
        stripes.append(shape * max(height, 0.3))
    stripes = np.array(stripes).reshape(-1, len(mean))
    n_states = 1 + len(stripes) * len(AMPLITUDES)
    return Stripes(band, np.ones(len(mean)), stripes, np.full(n_states, 1 / n_states))


def peaks(mean: np.ndarray, band: Band, least: float) -> list[np.ndarray]:
    """Return frequencies where the mean spectrum peaks, the strongest first; no harmonics.

    Parameters
    ----------
    mean : numpy.ndarray
        Mean power over noise, ``(n_bins,)``.
    band : Band
        The frequencies.
    least : float
        By how much a peak stands above the noise.
    """
    plane = np.full((2 * band.reach + 1,) * 2, -np.inf)
    places = band.frequencies.astype(int)
    for sign in (1, -1):
        plane[tuple((sign * places + band.reach).T)] = mean
    is_peak = (plane == maximum_filter(plane, 3))[tuple((places + band.reach).T)]
    is_peak &= (band.radii >= LONGEST) & (mean - 1 > least)
    found: list[np.ndarray] = []
    for i in np.argsort(-mean):
        if is_peak[i] and not any(_is_harmonic(band.frequencies[i], known) for known in found):
            found.append(band.frequencies[i])
    return found


def _is_harmonic(frequency: np.ndarray, known: np.ndarray) -> bool:
    """Tell whether a frequency is nearly the second or the third multiple of another."""
    apart = [frequency - sign * n * known for sign in (1, -1) for n in (2, 3)]
    return min(np.hypot(*vector) for vector in apart) < NEAR


def bump(peak: np.ndarray, band: Band, width: float = 0.9) -> np.ndarray:
    """Return the spectrum of a stripe through a Hann taper, ``(n_bins,)``, 1 at its peak."""
    apart = [((band.frequencies - sign * peak) ** 2).sum(axis=1) for sign in (1, -1)]
    return sum(np.exp(-squares / (2 * width**2)) for squares in apart)


def _learned(
    known: Stripes, windows: np.ndarray, shares: np.ndarray, extent: tuple[float, float]
) -> Stripes:
    """Return classes as windows ``(n, n_bins)`` have them that belong to them by shares."""
    found = known.state_likelihoods(windows) + np.log(known.weights)
    of_states = np.empty_like(found)
    for c in range(known.n_classes):
        of_class = known.class_of_state == c
        of_states[:, of_class] = shares[:, c, None] * softmax(found[:, of_class], axis=1)
    weights = of_states.mean(axis=0) + 1e-4
    # What has faint stripes is no background.
    belonging = np.column_stack([of_states[:, 0], shares[:, 1:]])
    before = np.vstack([known.background, known.background + known.stripes])
    total = belonging.sum(axis=0)[:, None] + PRIOR_WINDOWS
    means = (belonging.T @ windows + PRIOR_WINDOWS * before) / total
    background, stripes = means[0], np.maximum(means[1:] - means[0], 0)
    return Stripes(known.band, background, stripes, weights / weights.sum(), extent)


# ---- neighbours


def pooled(likelihoods: np.ndarray, extent: tuple[float, float]) -> np.ndarray:
    """Return likelihoods of classes with those of neighbours, as if all were of one class.

    Parameters
    ----------
    likelihoods : numpy.ndarray
        Their logarithms, ``(n_frames, n_rows, n_columns, n_classes)``.
    extent : tuple of float
        Standard deviations in windows and frames.
    """
    of_windows, of_frames = extent
    widths = (of_frames, of_windows, of_windows, 0)
    means = gaussian_filter(likelihoods, widths, mode="nearest")
    beside = max(1.0, 4 * np.pi * of_windows**2 / REDUNDANCY)
    return means * beside * max(1.0, 2 * np.sqrt(np.pi) * of_frames)


def surest(
    likelihoods: np.ndarray, is_counted: np.ndarray, least: float, log_shares: float = 0.0
) -> tuple[tuple[float, float], np.ndarray]:
    """Return the smallest extent with which windows are sure, and the probabilities there."""
    for extent in EXTENTS:
        found = softmax(pooled(likelihoods, extent) + log_shares, axis=-1)
        if found.max(axis=-1)[is_counted].mean() >= least:
            break
    return extent, found


def settled(likelihoods: np.ndarray, known: Stripes, is_counted: np.ndarray) -> np.ndarray:
    """Return probabilities of classes, neighbours being likely to agree (a mean-field Potts model).

    Parameters
    ----------
    likelihoods : numpy.ndarray
        Logarithms, ``(n_frames, n_rows, n_columns, n_classes)``.
    known : Stripes
        The classes.
    is_counted : numpy.ndarray
        Windows with specimen, ``(n_frames, n_rows, n_columns)`` bool.

    Returns
    -------
    numpy.ndarray
        ``(n_frames, n_rows, n_columns, n_classes)``.
    """
    extent, _ = surest(likelihoods, is_counted, FAIRLY_SURE)
    alone = pooled(likelihoods, extent) + known.log_shares
    found = softmax(pooled(likelihoods, known.extent) + known.log_shares, axis=-1)
    for _ in range(N_SETTLING):
        found = softmax(alone + _agreement(found), axis=-1)
    return found


def _agreement(found: np.ndarray) -> np.ndarray:
    """Return what neighbours add to the logarithms of likelihoods."""
    own = 1 / (2 * np.pi)  # of a Gaussian of one window
    beside = gaussian_filter(found, (0, 1, 1, 0), mode="nearest") - own * found
    after = np.concatenate([found[1:], found[-1:]])
    before = np.concatenate([found[:1], found[:-1]])
    return COUPLING[0] * beside / (1 - own) + COUPLING[1] * (before + after) / 2


# ---- void


def darkness(pixels: np.ndarray) -> float:
    """Return the intensity below which there is no specimen; -inf where all are as bright.

    Void is dark and even: its pixels are a narrow peak apart from all others.

    Parameters
    ----------
    pixels : numpy.ndarray
        Intensities of smoothed frames, of any shape.
    """
    low, high = np.quantile(pixels, [0.0005, 0.5])
    if not high > low:
        return -np.inf
    counts, edges = np.histogram(pixels, bins=24, range=(low, high))
    lowest = int(counts[: len(counts) * 2 // 3].argmin())
    is_apart = counts[: lowest + 1].max() > 4 * counts[lowest]
    return float(edges[lowest] + edges[lowest + 1]) / 2 if is_apart else -np.inf


# ---- a series


@dataclass(frozen=True)
class Domains:
    """The domains of a series of frames.

    Parameters
    ----------
    known : Stripes
        The classes, that without stripes first.
    alone, found : numpy.ndarray
        Probabilities of classes by each window alone, and with its neighbours,
        ``(n_frames, n_rows, n_columns, n_classes)``.
    is_void : numpy.ndarray
        Windows without specimen, ``(n_frames, n_rows, n_columns)`` bool.
    direction, period : numpy.ndarray
        Of the stripes of each window [degrees], [windows]; NaN where there are none.
    """

    known: Stripes
    alone: np.ndarray
    found: np.ndarray
    is_void: np.ndarray
    direction: np.ndarray
    period: np.ndarray

    @property
    def clusters(self) -> np.ndarray:
        """The likeliest class of each window with its neighbours; 0 is void, 1 without stripes."""
        return np.where(self.is_void, 0, 1 + self.found.argmax(axis=-1))

    @property
    def clusters_alone(self) -> np.ndarray:
        """The likeliest class of each window by itself."""
        return np.where(self.is_void, 0, 1 + self.alone.argmax(axis=-1))

    @property
    def labels(self) -> np.ndarray:
        """Labels by the direction of the stripes, ``(n_frames, n_rows, n_columns)`` uint8."""
        return np.where(self.is_void, VOID, self.known.labels[self.found.argmax(axis=-1)])
