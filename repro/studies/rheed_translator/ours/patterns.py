"""Principal patterns of films, and how they follow the Sr content."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from repro.imaging.geometry import shifted
from repro.studies.rheed_translator.streaks import aligned, streak_centre

if TYPE_CHECKING:
    from sklearn.decomposition import PCA
    from sklearn.gaussian_process import GaussianProcessRegressor

HEIGHT, WIDTH = 72, 96  # of the patterns [pixels]
N_PATTERNS = 12  # as many as the published shared code has numbers
# Where the search for the most likely trend starts, and the bounds of its length [spreads].
SHARE_OF_NOISE, LENGTH, LENGTHS = 0.3, 1.0, (0.2, 10.0)


@dataclass(frozen=True)
class Patterns:
    """Patterns with the (00) streak in the middle whose sums are films from 0 to 1.

    Parameters
    ----------
    principal : PCA
        Their mean and their principal components, of ``(n, HEIGHT * WIDTH)``.
    trends : tuple of GaussianProcessRegressor
        From scaled Sr content to the share of each pattern in its standard deviations; length,
        amplitude and noise of each are the most likely ones.
    spreads : numpy.ndarray
        Standard deviations of the shares, ``(n_patterns,)``.
    content : tuple of float
        Mean and standard deviation of the Sr content [at.%].
    place : tuple of float
        Mean and standard deviation of the place of the (00) streak [share of the width].
    most_unlike : float
        The greatest `unexplained` of a film by the patterns of all others.
    """

    principal: PCA
    trends: tuple[GaussianProcessRegressor, ...]
    spreads: np.ndarray
    content: tuple[float, float]
    place: tuple[float, float]
    most_unlike: float

    @classmethod
    def of(cls, images: np.ndarray, stoichiometry: np.ndarray) -> Patterns:
        """Return the patterns of films, ``(n, height, width)`` and ``(n,)`` [at.%]."""
        place, films = streak_centre(images), _rows(images)
        principal = _principal(films)
        shares = principal.transform(films)
        spreads = np.maximum(shares.std(axis=0), np.finfo(float).tiny)
        content = float(stoichiometry.mean()), float(stoichiometry.std())
        contents = (stoichiometry - content[0]) / content[1]
        trends = tuple(_most_likely_trend(contents, each) for each in (shares / spreads).T)
        places = float(place.mean()), float(place.std())
        return cls(principal, trends, spreads, content, places, _most_unlike_the_others(films))

    def scaled(self, stoichiometry: np.ndarray) -> np.ndarray:
        """Return Sr contents, ``(n,)`` [at.%], in spreads from their mean."""
        return (stoichiometry - self.content[0]) / self.content[1]

    def shares(self, images: np.ndarray) -> np.ndarray:
        """Return how much of each pattern is in images, ``(n, n_patterns)``."""
        return self.principal.transform(_rows(images))

    def expected(self, stoichiometry: np.ndarray) -> np.ndarray:
        """Return the shares that go with Sr contents, ``(n,)`` [at.%], as ``(n, n_patterns)``."""
        contents = self.scaled(stoichiometry)[:, None]
        return self.spreads * np.stack([trend.predict(contents) for trend in self.trends], axis=1)

    def reconstructed(self, images: np.ndarray) -> np.ndarray:
        """Return the sums of patterns nearest to images, each in its place and at its exposure."""
        darkest, span = _range(images)
        return darkest + span * shifted(
            self._sums(self.shares(images)), 0.5 - streak_centre(images)
        )

    def drawn(self, stoichiometry: np.ndarray) -> np.ndarray:
        """Return the patterns of Sr contents, averaged over where films stand on the screen.

        Parameters
        ----------
        stoichiometry : numpy.ndarray
            ``(n,)`` [at.%].

        Returns
        -------
        numpy.ndarray
            ``(n, HEIGHT, WIDTH)``.
        """
        place, spread = self.place
        sums = self._sums(self.expected(stoichiometry))
        blurred = gaussian_filter1d(sums, spread * WIDTH, axis=2, mode="nearest")
        return shifted(blurred, np.full(len(sums), 0.5 - place))

    def unexplained(self, images: np.ndarray) -> np.ndarray:
        """Return the share of images' intensity squared that the patterns leave out, ``(n,)``.

        The exposure of an image, ``(n, height, width)`` [any unit], plays no part.
        """
        return _unexplained(self.principal, _rows(images))

    def _sums(self, shares: np.ndarray) -> np.ndarray:
        return self.principal.inverse_transform(shares).reshape(-1, HEIGHT, WIDTH)


def _rows(images: np.ndarray) -> np.ndarray:
    """Return aligned images from 0 to 1 as rows, ``(n, HEIGHT * WIDTH)`` float64."""
    darkest, span = _range(images)
    films = aligned((images - darkest) / span, streak_centre(images), HEIGHT, WIDTH)
    return films.reshape(len(images), -1).astype(np.float64)


def _range(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the darkest pixel of images and how much brighter the brightest is, ``(n, 1, 1)``."""
    darkest = images.min(axis=(1, 2), keepdims=True)
    span = images.max(axis=(1, 2), keepdims=True) - darkest
    return darkest, np.maximum(span, np.finfo(np.float32).tiny)


def _principal(films: np.ndarray) -> PCA:
    from sklearn.decomposition import PCA

    return PCA(min(N_PATTERNS, len(films) - 1), svd_solver="full").fit(films)


def _unexplained(principal: PCA, films: np.ndarray) -> np.ndarray:
    rest = films - principal.inverse_transform(principal.transform(films))
    power = np.maximum(np.square(films).sum(axis=1), np.finfo(float).tiny)
    return np.square(rest).sum(axis=1) / power


def _most_unlike_the_others(films: np.ndarray) -> float:
    """Return the greatest `Patterns.unexplained` of a film by the patterns of the others."""
    within = np.linalg.qr(films.T, mode="r").T  # the films in the space that they span: few numbers
    return max(
        float(_unexplained(_principal(np.delete(within, i, axis=0)), within[i : i + 1])[0])
        for i in range(len(within))
    )


def _most_likely_trend(contents: np.ndarray, share: np.ndarray) -> GaussianProcessRegressor:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel() * RBF(LENGTH, LENGTHS) + WhiteKernel(SHARE_OF_NOISE)
    with warnings.catch_warnings():  # a length at its bound says that the films show no trend
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel).fit(contents[:, None], share)
