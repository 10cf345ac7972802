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
SHARPEST = 1e-3  # blur of patterns that all stand in one place [pixels]
# Where the search for the most likely trend starts, and the bounds of its length [spreads].
SHARE_OF_NOISE, LENGTH, LENGTHS = 0.3, 1.0, (0.2, 10.0)


@dataclass(frozen=True)
class Patterns:
    """Patterns with the (00) streak in the middle whose sums are films.

    Parameters
    ----------
    principal : PCA
        Their mean and their principal components, of ``(n, HEIGHT * WIDTH)``.
    trend : GaussianProcessRegressor
        From scaled Sr content to the scaled shares of the patterns; its length, amplitude and
        noise, the same for all patterns, are the most likely ones.
    share : float
        Root mean square of the shares, which scales them.
    content : tuple of float
        Mean and standard deviation of the Sr content [at.%].
    place : tuple of float
        Mean and standard deviation of the place of the (00) streak [share of the width].
    """

    principal: PCA
    trend: GaussianProcessRegressor
    share: float
    content: tuple[float, float]
    place: tuple[float, float]

    @classmethod
    def of(cls, images: np.ndarray, stoichiometry: np.ndarray) -> Patterns:
        """Return the patterns of films, ``(n, height, width)`` and ``(n,)`` [at.%]."""
        place, films = streak_centre(images), rows_of(images)
        principal = principal_patterns(films)
        shares = principal.transform(films)
        content = float(stoichiometry.mean()), float(stoichiometry.std())
        share = max(float(np.sqrt(np.square(shares).mean())), np.finfo(float).tiny)
        trend = _most_likely_trend((stoichiometry - content[0]) / content[1], shares / share)
        places = float(place.mean()), float(place.std())
        return cls(principal, trend, share, content, places)

    def scaled(self, stoichiometry: np.ndarray) -> np.ndarray:
        """Return Sr contents, ``(n,)`` [at.%], in spreads from their mean."""
        return (stoichiometry - self.content[0]) / self.content[1]

    def shares(self, images: np.ndarray) -> np.ndarray:
        """Return how much of each pattern is in images, ``(n, n_patterns)``."""
        return self.principal.transform(rows_of(images))

    def expected(self, stoichiometry: np.ndarray) -> np.ndarray:
        """Return the shares that go with Sr contents, ``(n,)`` [at.%], as ``(n, n_patterns)``."""
        expected = self.trend.predict(self.scaled(stoichiometry)[:, None])
        return self.share * expected.reshape(len(stoichiometry), -1)

    def reconstructed(self, images: np.ndarray) -> np.ndarray:
        """Return the sums of patterns nearest to images, each with its (00) streak in its place."""
        return shifted(self._sums(self.shares(images)), 0.5 - streak_centre(images))

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
        blurred = gaussian_filter1d(sums, max(spread * WIDTH, SHARPEST), axis=2, mode="nearest")
        return shifted(blurred, np.full(len(sums), 0.5 - place))

    def _sums(self, shares: np.ndarray) -> np.ndarray:
        return self.principal.inverse_transform(shares).reshape(-1, HEIGHT, WIDTH)


def rows_of(images: np.ndarray) -> np.ndarray:
    """Return images with the (00) streak in the middle as rows, ``(n, HEIGHT * WIDTH)`` float64."""
    films = aligned(images, streak_centre(images), HEIGHT, WIDTH)
    return films.reshape(len(images), -1).astype(np.float64)


def principal_patterns(films: np.ndarray) -> PCA:
    """Return mean and principal components of films, ``(n, n_pixels)``, `N_PATTERNS` at most."""
    from sklearn.decomposition import PCA

    return PCA(min(N_PATTERNS, len(films) - 1), svd_solver="full").fit(films)


def _most_likely_trend(contents: np.ndarray, shares: np.ndarray) -> GaussianProcessRegressor:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel() * RBF(LENGTH, LENGTHS) + WhiteKernel(SHARE_OF_NOISE)
    with warnings.catch_warnings():  # a length at its bound says that the films show no trend
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel).fit(contents[:, None], shares)
