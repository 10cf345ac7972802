"""What the codes of an encoder hold: strain and rotation as a line reads them, grains, phases."""

from __future__ import annotations

import numpy as np

from repro.studies.strain_ae.lattice import sixfold


class LinearReading:
    """Strain and rotation as the line through known codes reads them.

    Rotations are read within a sixth of a turn about the middle of those that are known.

    Parameters
    ----------
    codes : numpy.ndarray
        ``(n, n_features)``.
    components : numpy.ndarray
        True strain [1] and rotation [rad], ``(n, 4)``.
    """

    def __init__(self, codes: np.ndarray, components: np.ndarray):
        self._coefficients, *_ = np.linalg.lstsq(_with_one(codes), components, rcond=None)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Return strain [1] and rotation [rad], ``(n, 4)``."""
        found = _with_one(codes) @ self._coefficients
        found[:, 3] = sixfold(found[:, 3])
        return found


def _with_one(codes: np.ndarray) -> np.ndarray:
    return np.concatenate([codes, np.ones((len(codes), 1))], axis=1)


def grain_information(codes: np.ndarray, grain: np.ndarray, seed: int) -> float:
    """Return the adjusted mutual information of clusters of codes with grains.

    Parameters
    ----------
    codes : numpy.ndarray
        ``(n, n_features)``; each feature counts by its spread.
    grain : numpy.ndarray
        ``(n,)``; there are as many clusters.
    seed : int
        Of the clusters' first middles.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score

    scaled = (codes - codes.mean(axis=0)) / np.maximum(codes.std(axis=0), 1e-12)
    clusters = KMeans(len(np.unique(grain)), n_init=10, random_state=seed).fit_predict(scaled)
    return float(adjusted_mutual_info_score(grain, clusters))
