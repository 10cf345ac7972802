"""Whether an image is like the films that were learned from, whatever its exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from repro.studies.rheed_translator.ours.patterns import principal_patterns, rows_of

if TYPE_CHECKING:
    from sklearn.decomposition import PCA


@dataclass(frozen=True)
class Likeness:
    """How far images are from sums of the films' patterns.

    Parameters
    ----------
    principal : PCA
        Mean and principal components of the films, each from its darkest to its brightest pixel.
    most_unlike : float
        The greatest `unexplained` of a film by the patterns of all others.
    """

    principal: PCA
    most_unlike: float

    @classmethod
    def of(cls, images: np.ndarray) -> Likeness:
        """Return how images are judged that may be like these films, ``(n, height, width)``."""
        films = rows_of(of_full_range(images))
        within = np.linalg.qr(films.T, mode="r").T  # the same films in the space that they span
        unlike = [
            _unexplained(principal_patterns(np.delete(within, i, axis=0)), within[i : i + 1])
            for i in range(len(within))
        ]
        return cls(principal_patterns(films), float(np.max(unlike)))

    def unexplained(self, images: np.ndarray) -> np.ndarray:
        """Return the share of images' intensity squared that the patterns leave out, ``(n,)``.

        Parameters
        ----------
        images : numpy.ndarray
            ``(n, height, width)`` [any unit].
        """
        return _unexplained(self.principal, rows_of(of_full_range(images)))

    def is_unlike(self, images: np.ndarray) -> np.ndarray:
        """Return whether images are farther off than any film is from the others, ``(n,)`` bool.

        Of another film like them this happens once in n + 1 times.
        """
        return self.unexplained(images) > self.most_unlike


def of_full_range(images: np.ndarray) -> np.ndarray:
    """Return images, ``(n, height, width)``, from their darkest at 0 to their brightest at 1."""
    darkest = images.min(axis=(1, 2), keepdims=True)
    span = images.max(axis=(1, 2), keepdims=True) - darkest
    return (images - darkest) / np.maximum(span, np.finfo(np.float32).tiny)


def _unexplained(principal: PCA, films: np.ndarray) -> np.ndarray:
    rest = films - principal.inverse_transform(principal.transform(films))
    power = np.maximum(np.square(films).sum(axis=1), np.finfo(float).tiny)
    return np.square(rest).sum(axis=1) / power
