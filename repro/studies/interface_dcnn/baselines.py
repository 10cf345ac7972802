"""What simple means make of the same patterns: linear models on all bins or on a few quantities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repro.imaging.peaks import centre_of_mass
from repro.studies.interface_dcnn.examples import as_input

N_RINGS = 8
N_FOLDS = 5
N_COMPONENTS = (10, 20, 40)  # principal components
STRENGTHS = (1e-2, 1.0, 1e2)  # of the regularisation

Features = Callable[[np.ndarray], np.ndarray]


def all_bins(patterns: np.ndarray) -> np.ndarray:
    """Return what the networks see, flattened, ``(n, n_positions * n_bins**2)``."""
    return as_input(patterns).reshape(len(patterns), -1)


def total_intensity(patterns: np.ndarray) -> np.ndarray:
    """Return the electrons on the detector at each position, ``(n, n_positions)``."""
    return patterns.sum(axis=(2, 3))


def mean_k(patterns: np.ndarray) -> np.ndarray:
    """Return the mean k_x and k_y at each position [bins], ``(n, 2 * n_positions)``."""
    return np.concatenate(np.moveaxis(centre_of_mass(patterns), -1, 0), axis=1)


def radial_means(patterns: np.ndarray) -> np.ndarray:
    """Return the electrons in rings about the centre, ``(n, n_positions * 8)``."""
    away = np.arange(patterns.shape[-1]) - (patterns.shape[-1] - 1) / 2
    ring = np.hypot(away[:, None], away) * N_RINGS / (away[-1] + 0.5)
    rings = np.arange(N_RINGS) == np.minimum(ring, N_RINGS - 1).astype(int)[..., None]
    means = np.einsum("npxy,xyr->npr", patterns, rings / rings.sum(axis=(0, 1)))
    return means.reshape(len(patterns), -1)


FEATURES: dict[str, Features] = {
    "linear": all_bins,
    "total_intensity": total_intensity,
    "centre_of_mass": mean_k,
    "radial_means": radial_means,
}


@dataclass(frozen=True)
class Examples:
    """What a linear model is fitted to.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_positions, n_bins, n_bins)``.
    answers : numpy.ndarray
        Classes or numbers, ``(n,)``.
    samples : numpy.ndarray
        The sample that each example is of, ``(n,)`` int.
    """

    patterns: np.ndarray
    answers: np.ndarray
    samples: np.ndarray


def fit(features: Features, train: Examples, is_number: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a linear model to the principal components of some features.

    The number of components and the strength of the regularisation are those that do best on
    training samples left out, a fifth at a time.

    Parameters
    ----------
    features : callable
        One of `FEATURES`.
    train : Examples
        The training examples.
    is_number : bool
        Ridge regression; otherwise logistic regression.

    Returns
    -------
    callable
        From patterns to classes or numbers, ``(n,)``.
    """
    x = features(train.patterns)
    scores = np.mean(
        [
            _scores(x, train.answers, kept, left_out, is_number)
            for kept, left_out in _folds(train.samples)
        ],
        axis=0,
    )
    place, strength = np.unravel_index(scores.argmax(), scores.shape)
    components = _principal_components(x)
    n_components = N_COMPONENTS[place]
    model = _model(is_number, STRENGTHS[strength])
    model.fit(components(x)[:, :n_components], train.answers)
    return lambda patterns: model.predict(components(features(patterns))[:, :n_components])


def _folds(samples: np.ndarray):
    from sklearn.model_selection import GroupKFold

    n_folds = min(N_FOLDS, len(np.unique(samples)))
    return GroupKFold(n_folds).split(samples, groups=samples)


def _scores(
    x: np.ndarray, answers: np.ndarray, kept: np.ndarray, left_out: np.ndarray, is_number: bool
) -> np.ndarray:
    """Return minus the mean squared error on what was left out, for every choice."""
    components = _principal_components(x[kept])
    x_kept, x_left_out = components(x[kept]), components(x[left_out])
    scores = np.empty((len(N_COMPONENTS), len(STRENGTHS)))
    for place in np.ndindex(scores.shape):
        some = slice(0, N_COMPONENTS[place[0]])
        model = _model(is_number, STRENGTHS[place[1]]).fit(x_kept[:, some], answers[kept])
        errors = model.predict(x_left_out[:, some]) - answers[left_out]
        scores[place] = -np.mean(errors**2.0)
    return scores


def _principal_components(x: np.ndarray) -> Features:
    from sklearn.decomposition import PCA

    n_components = min(max(N_COMPONENTS), *x.shape)
    solver = "arpack" if n_components < min(x.shape) else "full"  # five times faster on all bins
    return PCA(n_components, svd_solver=solver, whiten=True, random_state=0).fit(x).transform


def _model(is_number: bool, strength: float):
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge(strength) if is_number else LogisticRegression(C=1 / strength, max_iter=5000)
