"""Labels from features without truth, and how well they agree with the truth."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, binary_opening
from scipy.optimize import linear_sum_assignment

from repro.evaluation.metrics import confusion
from repro.seeds import generator, integer_seed
from repro.studies.domain_ae.specimen import CLASSES, STRIPED

K = len(CLASSES)
N_LEARNED = 6000  # windows that clusters are fitted to
N_STARTS = 4
NUMBERS = range(2, 10)  # of clusters that are compared
N_COMPARED = 1500  # windows
PURE = 0.7  # share of the commonest class of windows that are scored
REACH = 2  # radius of the disk by which masks are opened and closed [windows]
DISK = np.hypot(*np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]) <= REACH
KMEANS, GMM = "kmeans", "gmm"


@dataclass(frozen=True)
class Truth:
    """The classes of the windows of a specimen.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(n_frames, n_rows, n_columns)`` uint8.
    purity : numpy.ndarray
        Share of the commonest class, of the same shape.
    """

    labels: np.ndarray
    purity: np.ndarray

    @property
    def is_pure(self) -> np.ndarray:
        """Windows that are scored, of the shape of `labels`."""
        return self.purity > PURE

    def ari(self, found: np.ndarray, is_counted: np.ndarray | None = None) -> float:
        """Return the adjusted Rand index of clusters; of pure windows if no others are given."""
        from sklearn.metrics import adjusted_rand_score

        counted = self.is_pure if is_counted is None else is_counted
        return float(adjusted_rand_score(self.labels[counted], found[counted]))

    def ari_domains(self, found: np.ndarray) -> float:
        """Return the adjusted Rand index of pure windows with domains: no background counts."""
        return self.ari(found, self.is_pure & np.isin(self.labels, STRIPED))

    def named(self, found: np.ndarray) -> np.ndarray:
        """Return clusters as classes, each cluster of another class, so that most windows agree.

        This asks the truth: what follows from it is oracle-assisted.
        """
        counted = self.is_pure
        n = max(int(found.max()) + 1, K)
        table = confusion(self.labels[counted].astype(int), found[counted].astype(int), n)
        of_class, of_cluster = linear_sum_assignment(-table[:K])
        names = table[:K].argmax(axis=0)  # clusters beyond the classes: the commonest
        names[of_cluster] = of_class
        return names[found].astype(np.uint8)

    def f1(self, named: np.ndarray, classes: tuple[int, ...] = tuple(range(K))) -> float:
        """Return the mean over classes, those that there are, of F1 of pure windows."""
        counted = self.is_pure
        true, found = self.labels[counted], named[counted]
        scores = [
            2 * np.sum((true == c) & (found == c)) / (np.sum(true == c) + np.sum(found == c))
            for c in classes
            if np.any(true == c)
        ]
        return float(np.mean(scores)) if scores else float("nan")


def cluster(features: np.ndarray, method: str, seed: int, n_clusters: int = K) -> np.ndarray:
    """Return a cluster for each window, from features alone.

    Parameters
    ----------
    features : numpy.ndarray
        ``(n_frames, n_rows, n_columns, n_features)``; each is standardised.
    method : str
        ``"kmeans"``, or ``"gmm"``: a mixture of normal laws.
    seed : int
        Of the windows that clusters are fitted to, and of the starts.
    n_clusters : int
        How many.
    """
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    spread = flat.std(axis=0)
    flat = (flat - flat.mean(axis=0)) / np.where(spread > 1e-9, spread, 1)
    some = generator(seed, "clusters").permutation(len(flat))[:N_LEARNED]
    fitted = _fitted(flat[some], method, integer_seed(seed, method), n_clusters)
    return fitted.predict(flat).reshape(features.shape[:-1])


def number_of_clusters(features: np.ndarray, seed: int) -> int:
    """Return the number of clusters, by k-means, whose mean silhouette is largest.

    Parameters
    ----------
    features : numpy.ndarray
        ``(n_frames, n_rows, n_columns, n_features)``.
    seed : int
        Of the windows that are compared.
    """
    from sklearn.metrics import silhouette_score

    flat = features.reshape(-1, features.shape[-1])
    some = generator(seed, "silhouettes").permutation(len(flat))[:N_COMPARED]
    chosen = flat[some][:, None, None]
    scores = {}
    for n in NUMBERS:
        found = cluster(chosen, KMEANS, seed, n).ravel()
        is_split = 1 < len(np.unique(found)) < len(found)
        scores[n] = silhouette_score(flat[some], found) if is_split else -1.0
    return max(scores, key=scores.get)


def _fitted(features: np.ndarray, method: str, state: int, n_clusters: int):
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(n_clusters, reg_covar=1e-3, random_state=state)
    if method == KMEANS:
        model = KMeans(n_clusters, n_init=N_STARTS, random_state=state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # features that are alike make fewer clusters: so be it
        return model.fit(features)


def masks(features: np.ndarray) -> np.ndarray:
    """Return the authors' masks of features: a threshold a channel, opened and closed.

    Parameters
    ----------
    features : numpy.ndarray
        ``(n_frames, n_rows, n_columns, n_features)``.

    Returns
    -------
    numpy.ndarray
        Of the same shape, bool.
    """
    from skimage.filters import threshold_otsu

    found = np.zeros(features.shape, bool)
    for channel in range(features.shape[-1]):
        values = features[..., channel]
        if np.ptp(values) > 0:
            above = values > threshold_otsu(values)
            framed = np.pad(above, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
            cleaned = binary_closing(binary_opening(framed, DISK[None]), DISK[None])
            found[..., channel] = cleaned[:, REACH:-REACH, REACH:-REACH]
    return found


def masks_f1(truth: Truth, found: np.ndarray) -> float:
    """Return the mean F1 of classes of stripes whose masks are chosen by the truth, each another.

    Parameters
    ----------
    truth : Truth
        Which chooses: this is oracle-assisted.
    found : numpy.ndarray
        What `masks` returns.
    """
    counted = truth.is_pure
    true, masked = truth.labels[counted], found[counted]
    there = [c for c in STRIPED if np.any(true == c)]
    if not there:
        return float("nan")
    scores = np.zeros((len(there), masked.shape[-1]))
    for i, label in enumerate(there):
        is_label = true == label
        both = masked[is_label].sum(axis=0)
        scores[i] = 2 * both / (is_label.sum() + masked.sum(axis=0))
    return float(scores[linear_sum_assignment(-scores)].sum() / len(there))
