"""Classical means on the same windows: features of a frame, and what becomes of those of a series.

Each takes the counts of a frame, prepared alike, and returns numbers for every window. With context
they are averaged over neighbouring windows and frames, powers before their logarithm.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from repro.seeds import generator, integer_seed
from repro.studies.domain_ae.domains import EXTENTS, bump
from repro.studies.domain_ae.power import Band, power_over_noise, specimen_of, without_void
from repro.studies.domain_ae.specimen import PERIODS, REFERENCE_WINDOW
from repro.studies.domain_ae.windows import (
    central_means,
    cut,
    fourier,
    noise_of,
    starts,
)

N_COMPONENTS = 8
N_DIRECTIONS, RADII = 18, (1.5, 4.3, 10.0)  # of polar bins, [cycles / window]
N_ANGLES = 8  # of the Gabor bank
SOFT = 0.5  # added to powers before their logarithm [noise]
FAINT = 0.1  # added to amplitudes before theirs [median]
RAW_SIDE = 16  # of a window whose pixels are taken as they are
N_LEARNED = 6000
ALONE, CONTEXT, WIDE = "alone", "context", "wide"
NEIGHBOURS = {ALONE: EXTENTS[0], CONTEXT: EXTENTS[3], WIDE: EXTENTS[5]}  # windows, frames


@dataclass(frozen=True)
class Baseline:
    """One way to features.

    Parameters
    ----------
    read : callable
        Takes a frame, window and step [pixels], and the intensity below which there is no specimen;
        returns ``(n_rows, n_columns, n)``.
    finish : callable
        Takes those of all frames, averaged or not, and a seed; returns features.
    """

    read: Callable[[np.ndarray, int, int, float], np.ndarray]
    finish: Callable[[np.ndarray, int], np.ndarray]

    def features(self, read: np.ndarray, extent: tuple[float, float], seed: int) -> np.ndarray:
        """Return features ``(n_frames, n_rows, n_columns, m)`` of what was read of all frames."""
        of_windows, of_frames = extent
        widths = (of_frames, of_windows, of_windows, 0)
        values = read.astype(np.float32)
        if any(extent):
            values = gaussian_filter(values, widths, mode="nearest")
        return self.finish(values, seed)


# ---- what is read of a frame


def whole_power(frame: np.ndarray, window: int, step: int, dark: float) -> np.ndarray:
    """Return power over noise in the central half of the spectrum."""
    return power_over_noise(frame, window, step, Band(0.0, window / 4), dark)


def band_power(frame: np.ndarray, window: int, step: int, dark: float) -> np.ndarray:
    """Return power over noise in the band of the stripes."""
    return power_over_noise(frame, window, step, Band(1.0, RADII[-1]), dark)


def polar_power(frame: np.ndarray, window: int, step: int, dark: float) -> np.ndarray:
    """Return mean power over noise in bins of direction and frequency."""
    band = Band(RADII[0], RADII[-1])
    power = power_over_noise(frame, window, step, band, dark)
    bins = (band.directions / 180 * N_DIRECTIONS).astype(int) % N_DIRECTIONS
    bins += N_DIRECTIONS * (np.digitize(band.radii, RADII[1:-1]))
    one_hot = np.eye(N_DIRECTIONS * (len(RADII) - 1), dtype=np.float32)[bins]
    return power @ (one_hot / np.maximum(one_hot.sum(axis=0), 1))


def gabor_power(frame: np.ndarray, window: int, step: int, dark: float) -> np.ndarray:
    """Return power at eight directions and three periods that span those of the stripes."""
    flat = even(frame, window, dark)
    down, right = (starts(n, window, step) for n in flat.shape)
    scale = window / REFERENCE_WINDOW
    periods = np.linspace(min(PERIODS.values()), max(PERIODS.values()), 3) * scale
    angles = np.arange(N_ANGLES) * np.pi / N_ANGLES
    waves = [window / p * np.array([np.cos(a), np.sin(a)]) for p in periods for a in angles]
    found = []
    for of_rows, of_columns in waves:
        first, second = (fourier(window, np.array([k]), True)[0] for k in (of_rows, of_columns))
        along = np.stack([first @ flat[top : top + window] for top in down])
        each = np.lib.stride_tricks.sliding_window_view(along, window, axis=1)[:, right]
        found.append(np.abs(each @ second) ** 2)
    noise = float(np.sum(np.abs(fourier(window, np.zeros(1), True)) ** 2)) ** 2
    return np.stack(found, axis=-1) / noise


def tensor(frame: np.ndarray, window: int, step: int, dark: float) -> np.ndarray:
    """Return the structure tensor: products of slopes, averaged over the window's middle."""
    smooth = gaussian_filter(even(frame, window, dark), window / 32)
    down, right = np.gradient(smooth)
    products = (down * down, down * right, right * right)
    return np.stack([central_means(p, window, step) for p in products], axis=-1)


def raw_pixels(frame: np.ndarray, window: int, step: int, dark: float) -> np.ndarray:
    """Return the pixels of the window, some binned to one."""
    flat = even(frame, window, dark)
    down, right = np.meshgrid(*(starts(n, window, step) for n in flat.shape), indexing="ij")
    windows = cut(flat, down.ravel(), right.ravel(), window)
    bin_side = max(window // (2 * RAW_SIDE), 1)
    side = window // bin_side
    binned = windows[:, : side * bin_side, : side * bin_side]
    binned = binned.reshape(-1, side, bin_side, side, bin_side).mean(axis=(2, 4))
    return binned.reshape(*down.shape, -1)


def even(frame: np.ndarray, window: int, dark: float) -> np.ndarray:
    """Return a frame less its background over its noise, 0 where it shows no specimen."""
    frame = np.asarray(frame, np.float32)
    return without_void(frame, specimen_of(frame, dark), window) / noise_of(frame)


def total_power(frame: np.ndarray, window: int, step: int, dark: float) -> np.ndarray:
    """Return mean power over noise in the band: all that the mean spectrum tells of a window."""
    return band_power(frame, window, step, dark).mean(axis=-1, keepdims=True)


# ---- what becomes of it


def softly(power: np.ndarray, seed: int) -> np.ndarray:
    """Return logarithms of powers."""
    return np.log(power + SOFT)


def components(power: np.ndarray, seed: int) -> np.ndarray:
    """Return eight principal components of the logarithms of amplitudes."""
    amplitude = np.sqrt(np.maximum(power, 0))
    return principal(np.log(amplitude + FAINT * np.median(amplitude)), seed)


def principal(values: np.ndarray, seed: int) -> np.ndarray:
    """Return eight principal components."""
    from sklearn.decomposition import PCA

    return _decomposed(PCA(N_COMPONENTS, random_state=integer_seed(seed, "pca")), values, seed)


def factors(power: np.ndarray, seed: int) -> np.ndarray:
    """Return eight non-negative factors of the logarithms of one and amplitudes."""
    from sklearn.decomposition import NMF

    state = integer_seed(seed, "nmf")
    model = NMF(N_COMPONENTS, init="nndsvda", max_iter=300, tol=1e-3, random_state=state)
    return _decomposed(model, np.log1p(np.sqrt(np.maximum(power, 0))), seed)


def _decomposed(model, values: np.ndarray, seed: int) -> np.ndarray:
    flat = values.reshape(-1, values.shape[-1])
    some = generator(seed, "decomposition").permutation(len(flat))[:N_LEARNED]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NMF that is not through says so; it is as good as that
        model.fit(flat[some])
    return model.transform(flat).reshape(*values.shape[:-1], -1)


def orientation(products: np.ndarray, seed: int) -> np.ndarray:
    """Return cosine and sine of twice the direction, coherence and energy of structure tensors."""
    down, across, right = np.moveaxis(products, -1, 0)
    energy = np.maximum(down + right, 1e-6)
    straight = np.hypot(down - right, 2 * across)
    parts = [(down - right) / energy, 2 * across / energy, straight / energy, np.log(energy)]
    return np.stack(parts, axis=-1)


BASELINES = {
    "pca": Baseline(whole_power, components),
    "pca_banded": Baseline(band_power, components),
    "nmf": Baseline(band_power, factors),
    "polar": Baseline(polar_power, softly),
    "tensor": Baseline(tensor, orientation),
    "gabor": Baseline(gabor_power, softly),
    "raw": Baseline(raw_pixels, principal),
    "mean_spectrum": Baseline(total_power, softly),
}


# ---- ceilings, which ask the truth


def matched(power: np.ndarray, band: Band, wave_vectors: np.ndarray) -> np.ndarray:
    """Return power at known stripes, ``(..., n_striped)``.

    Parameters
    ----------
    power : numpy.ndarray
        Over noise, ``(..., n_bins)``.
    band : Band
        The frequencies.
    wave_vectors : numpy.ndarray
        Of the stripes, ``(n_striped, 2)`` [cycles / window].
    """
    shapes = np.stack([bump(vector, band) for vector in wave_vectors])
    return power @ (shapes / shapes.sum(axis=1, keepdims=True)).T


def supervised(
    features: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int
) -> np.ndarray:
    """Return the classes that a linear model gives, which learned from true ones.

    Parameters
    ----------
    features, labels : numpy.ndarray
        Of windows to learn from, ``(n, n_features)`` and ``(n,)``.
    asked : numpy.ndarray
        Features of others, ``(..., n_features)``.
    seed : int
        Of the windows that are learned from.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    some = generator(seed, "supervised").permutation(len(features))[:N_LEARNED]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
    model.fit(features[some], labels[some])
    return model.predict(asked.reshape(-1, asked.shape[-1])).reshape(asked.shape[:-1])
