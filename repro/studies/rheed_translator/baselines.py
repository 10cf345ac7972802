"""What simple models reach on the same films, from images to Sr content and back.

Each takes training films and the films to answer for, and knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from repro.imaging.geometry import resized
from repro.studies.rheed_translator.streaks import (
    LEAST_CONTRAST,
    streak_centre,
    streak_ratios,
    streak_spacings,
    typical_spacing,
)

Read = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Draw = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

SIZE = (34, 45)  # of the images that the models of all pixels see, as in the facts' anchors
FLOOR = 0.1  # added to ratios before their logarithm: those that vanish differ by noise alone
COMPONENTS = (2, 4, 8, 12)
PENALTIES = np.logspace(-4, 2, 13)


def mean_content(images: np.ndarray, stoichiometry: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the mean Sr content of the training films, ``(n_asked,)`` [at.%].

    Parameters
    ----------
    images : numpy.ndarray
        Of the training films, ``(n, height, width)``.
    stoichiometry : numpy.ndarray
        Their Sr content, ``(n,)`` [at.%].
    asked : numpy.ndarray
        Other images, ``(n_asked, height, width)``.
    """
    return np.full(len(asked), stoichiometry.mean())


def one_ratio(images: np.ndarray, stoichiometry: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return Sr content by a line in A02/A00, second-order over (00) streak; see `mean_content`."""
    from sklearn.linear_model import LinearRegression

    spacing = typical_spacing(*streak_spacings(images, streak_centre(images)))

    def ratio(films: np.ndarray) -> np.ndarray:
        return streak_ratios(films, streak_centre(films), np.full(len(films), spacing))[:, 1:]

    return LinearRegression().fit(ratio(images), stoichiometry).predict(ratio(asked))


def two_ratios(images: np.ndarray, stoichiometry: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return Sr content by a line in the logarithms of A01/A00 and A02/A00; see `mean_content`.

    Each film at its own spacing of the streaks. It was our design, chosen on 24 films, until the
    films kept aside were looked at.
    """
    from sklearn.linear_model import LinearRegression

    def cues(films: np.ndarray) -> np.ndarray:
        centre = streak_centre(films)
        spacings, contrasts = streak_spacings(films, centre)
        spacings = np.where(contrasts >= LEAST_CONTRAST, spacings, spacing)
        return np.log(streak_ratios(films, centre, spacings) + FLOOR)

    spacing = typical_spacing(*streak_spacings(images, streak_centre(images)))
    return LinearRegression().fit(cues(images), stoichiometry).predict(cues(asked))


def components(images: np.ndarray, stoichiometry: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return Sr content by ridge regression on principal components; see `mean_content`.

    Their number and the penalty are those that predict the training films best when each is left
    out.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline

    possible = [n for n in COMPONENTS if n < len(images) - 1]
    if not possible:
        return mean_content(images, stoichiometry, asked)
    ridges = [make_pipeline(PCA(n, svd_solver="full"), RidgeCV(PENALTIES)) for n in possible]
    fitted = [ridge.fit(flat(images), stoichiometry) for ridge in ridges]
    return max(fitted, key=lambda ridge: ridge[-1].best_score_).predict(flat(asked))


def nearest_film(images: np.ndarray, stoichiometry: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the Sr content of the training film whose image is nearest; see `mean_content`."""
    from sklearn.neighbors import KNeighborsRegressor

    neighbour = KNeighborsRegressor(1).fit(flat(images), stoichiometry)
    return neighbour.predict(flat(asked))


def flat(images: np.ndarray) -> np.ndarray:
    """Return images as rows of few pixels, ``(n, 34 * 45)``."""
    return resized(images, *SIZE).reshape(len(images), -1).astype(np.float64)


def mean_image(images: np.ndarray, stoichiometry: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the mean of the training images, ``(n_asked, height, width)``.

    Parameters
    ----------
    images, stoichiometry : numpy.ndarray
        Training films: ``(n, height, width)`` and ``(n,)`` [at.%].
    asked : numpy.ndarray
        Sr content of the images wanted, ``(n_asked,)`` [at.%].
    """
    return np.repeat(images.mean(axis=0, keepdims=True), len(asked), axis=0)


def between_nearest(images: np.ndarray, stoichiometry: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return sums of the images of the two films nearest in Sr content; see `mean_image`.

    Each counts by how near it is: between the two this is a line from one to the other.
    """
    apart = np.abs(stoichiometry[None] - asked[:, None])
    pair = np.argsort(apart, axis=1, kind="stable")[:, :2]
    near, far = np.take_along_axis(apart, pair, axis=1).T
    share = np.divide(near, near + far, out=np.zeros_like(near), where=near > 0)
    one, other = images[pair[:, 0]], images[pair[:, 1]]
    return one + share[:, None, None] * (other - one)


READ: dict[str, Read] = {
    "mean_content": mean_content,
    "one_ratio": one_ratio,
    "two_ratios": two_ratios,
    "pca_ridge": components,
    "nearest_film": nearest_film,
}
DRAW: dict[str, Draw] = {"mean_image": mean_image, "between_nearest": between_nearest}
