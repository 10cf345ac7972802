"""What a network's features, its latent and its reconstructions are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repro.evaluation.metrics import higher, lower, neither
from repro.seeds import integer_seed
from repro.studies.domain_ae.baselines import principal
from repro.studies.domain_ae.clusters import (
    KMEANS,
    Truth,
    cluster,
    masks,
    masks_f1,
    number_of_clusters,
)
from repro.studies.domain_ae.model import LATENT, N_FEATURES, THETA, TILE, coding_network
from repro.studies.domain_ae.recipe import AUTOENCODER
from repro.studies.domain_ae.scoring import (
    BY_SPECIMEN,
    Answers,
    Bench,
    Frames,
    Metrics,
    batches,
    clustered,
    features_of,
    maps_of,
    shown_frames,
    true_waves,
)
from repro.studies.domain_ae.specimen import STRIPED

if TYPE_CHECKING:
    import keras

BATCH = 256  # windows that a network is asked for at once
PLATEAU = 5  # epochs, from 0, after which the published loss is flat
N_RECONSTRUCTED = 2000  # windows whose reconstruction is measured
N_UNTRAINED = 4  # every so many frames are shown to the untrained network
FAINT = 0.01  # of its largest value: a feature below that is off
TURN = 15.0  # by which windows are turned to see whether their cluster changes [degrees]


def features_stage(bench: Bench) -> Answers:
    """Cluster the features, with and without grids, and apply the authors' thresholds."""
    metrics = clustered(bench, "features", "the features", lambda s: features_of(s.codes))
    metrics |= clustered(bench, "latent", "features and grids", lambda s: s.codes[1])
    metrics |= chosen_number(bench)
    metrics["otsu/f1"] = higher(
        bench.mean(lambda s: masks_f1(s.truth, masks(features_of(s.codes)))),
        f"mean F1 of the authors' masks, channels chosen by the truth, {BY_SPECIMEN}",
    )
    first = bench.specimens[0]
    shown = shown_frames(first)
    found = first.truth.named(cluster(features_of(first.codes), KMEANS, bench.seed))
    arrays = maps_of(first, shown, found)
    arrays["features"] = features_of(first.codes)[shown].astype(np.float32)
    return metrics, arrays


def chosen_number(bench: Bench) -> Metrics:
    """Return scores of k-means with as many clusters as silhouettes ask for."""
    numbers = {
        s.number: number_of_clusters(features_of(s.codes), bench.seed) for s in bench.specimens
    }

    def found(s: Frames) -> np.ndarray:
        return cluster(features_of(s.codes), KMEANS, bench.seed, numbers[s.number])

    return {
        "features/clusters": neither(
            bench.mean(lambda s: numbers[s.number]),
            f"clusters of the features whose mean silhouette is largest, {BY_SPECIMEN}",
        ),
        "features/ari_chosen": higher(
            bench.mean(lambda s: s.truth.ari(found(s))),
            f"adjusted Rand index of so many clusters, {BY_SPECIMEN}",
        ),
    }


def input_stage(bench: Bench) -> Answers:
    """Cluster what the network sees, and what it makes of that before it is trained."""
    metrics = clustered(
        bench, "input_pca", "eight principal components of the network's input", tile_components
    )
    untrained = coding_network(_fresh(bench, integer_seed(bench.seed, "untrained")))

    def by_untrained(s: Frames) -> float:
        every = slice(None, None, N_UNTRAINED)
        features = features_of(s.coded(untrained, s.rows[every]))
        truth = Truth(s.truth.labels[every], s.truth.purity[every])
        return truth.ari(cluster(features, KMEANS, bench.seed))

    metrics["untrained/ari"] = higher(
        bench.mean(by_untrained),
        f"adjusted Rand index of k-means of an untrained network's features, {BY_SPECIMEN}",
    )
    trained = bench.mean(lambda s: s.truth.ari(cluster(features_of(s.codes), KMEANS, bench.seed)))
    metrics["features/gain"] = higher(
        trained - metrics["input_pca/ari"].resampled,
        f"index of the features less that of eight components of the same input, {BY_SPECIMEN}",
    )
    return metrics, {}


def _fresh(bench: Bench, seed: int) -> keras.Model:
    import keras

    keras.utils.set_random_seed(seed)
    return bench.trained.tasks[AUTOENCODER].build_model()


def tile_components(specimen: Frames) -> np.ndarray:
    """Return eight principal components of the tiles of a specimen's windows."""
    bench = specimen.bench
    tiling = _tiling(bench)
    numbers = bench.windows.of_frames(specimen.rows)
    tiles = [
        tiling.predict_on_batch(bench.windows.load(part)[0])[..., 0].astype(np.float16)
        for part in batches(numbers)
    ]
    side = len(bench.windows.places)
    flat = np.concatenate(tiles).reshape(len(specimen.rows), side, side, -1)
    return principal(flat.astype(np.float32), bench.seed)


def _tiling(bench: Bench) -> keras.Model:
    import keras

    return keras.Model(bench.network.input, bench.network.get_layer(TILE).output)


def physics_stage(bench: Bench) -> Answers:
    """Hold the angle against the stripes, and count how sparse and how pure features are."""
    metrics = {
        "theta/correlation": higher(
            bench.mean(angle_correlation),
            f"correlation on the circle of theta with the direction of stripes, {BY_SPECIMEN}",
        ),
        "features/sparsity": higher(
            bench.mean(sparsity),
            f"share of features below a hundredth of their largest value, {BY_SPECIMEN}",
        ),
        "features/disentanglement": higher(
            bench.mean(disentanglement),
            f"mean over classes of the best area under the curve of one feature, {BY_SPECIMEN}",
        ),
        "turned/changed": lower(
            bench.mean(turned_share),
            f"share of windows with domains in another cluster once turned by {TURN:g} degrees, "
            f"{BY_SPECIMEN}",
        ),
    }
    return metrics, {}


def angle_correlation(specimen: Frames) -> float:
    """Return how theta follows the direction of the stripes, in either sense."""
    striped = specimen.truth.is_pure & np.isin(specimen.truth.labels, STRIPED)
    if not striped.any():
        return float("nan")
    theta = specimen.codes[0][..., THETA][striped]
    return abs(circular_correlation(2 * theta, 2 * np.deg2rad(true_waves(specimen)[0][striped])))


def circular_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return how angles ``(n,)`` [rad] turn together, -1 to 1; 0 where one of them is constant.

    By Jammalamadaka and Sarma (1988), Statistical Theory and Data Analysis II, 349.
    """
    first, second = (np.sin(a - np.angle(np.mean(np.exp(1j * a)))) for a in (one, other))
    size = np.sqrt(np.sum(first**2) * np.sum(second**2))
    return float(np.sum(first * second) / size) if size > 1e-12 else 0.0


def sparsity(specimen: Frames) -> float:
    """Return the share of features that are off."""
    features = features_of(specimen.codes).reshape(-1, N_FEATURES)
    largest = features.max(axis=0)
    return float(np.mean(features < np.maximum(FAINT * largest, 1e-9)))


def disentanglement(specimen: Frames) -> float:
    """Return how well the best single feature tells each class of stripes from all else."""
    from sklearn.metrics import roc_auc_score

    counted = specimen.truth.is_pure
    true, features = specimen.truth.labels[counted], features_of(specimen.codes)[counted]
    there = [c for c in STRIPED if np.any(true == c)]
    best = [
        max(max(score, 1 - score) for score in (roc_auc_score(true == c, f) for f in features.T))
        for c in there
    ]
    return float(np.mean(best)) if best else float("nan")


def turned_share(specimen: Frames) -> float:
    """Return the share of windows whose cluster changes when the window is turned."""
    from scipy.ndimage import rotate

    bench, side = specimen.bench, len(specimen.bench.windows.places)
    found = cluster(features_of(specimen.codes), KMEANS, bench.seed)
    striped = specimen.truth.is_pure & np.isin(specimen.truth.labels, STRIPED)
    places = np.flatnonzero(striped.ravel())
    if not len(places):
        return float("nan")
    some = places[:: max(1, len(places) // BATCH)]
    numbers = specimen.rows[some // side**2] * side**2 + some % side**2
    windows, _ = bench.windows.load(numbers)
    turned = rotate(windows, TURN, axes=(1, 2), reshape=False, order=1, mode="reflect")
    features = bench.coding.predict_on_batch(turned.astype(np.float32))[LATENT][:, 0]
    every = features_of(specimen.codes).reshape(-1, N_FEATURES)
    nearest = _nearest_cluster(features, every, found.ravel())
    return float(np.mean(nearest != found.ravel()[some]))


def _nearest_cluster(features: np.ndarray, every: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the cluster whose middle is nearest, features being standardised."""
    spread = np.where(every.std(axis=0) > 1e-9, every.std(axis=0), 1)
    known = np.unique(found)
    middles = np.stack([every[found == c].mean(axis=0) for c in known]) / spread
    apart = ((features[:, None] / spread - middles) ** 2).sum(axis=2)
    return known[apart.argmin(axis=1)]


def reconstruction_stage(bench: Bench) -> Answers:
    """Measure what of the tiles is reconstructed, beyond their mean, and the losses."""
    metrics = {
        "reconstruction/explained": higher(
            bench.mean(explained),
            f"variance of tiles that reconstructions explain beyond the mean tile, {BY_SPECIMEN}",
        ),
        "reconstruction/gain": neither(
            bench.mean(deviation_gain),
            "slope of the reconstruction's departure from the mean on the tile's own, "
            f"{BY_SPECIMEN}",
        ),
    }
    curve = bench.trained.curves.get(AUTOENCODER, {})
    if curve.get("loss"):
        metrics["loss/training"] = lower(curve["loss"][-1], "training loss of the last epoch")
    if curve.get("val_loss"):
        metrics["loss/gap"] = lower(
            curve["val_loss"][-1] - curve["loss"][-1],
            "validation loss less training loss, last epoch",
        )
    if len(curve.get("loss", [])) > PLATEAU:
        early, late = curve["loss"][PLATEAU], curve["loss"][-1]
        metrics["loss/plateau"] = lower(
            (early - late) / late, "fall of the training loss from epoch 5 to the last, of the last"
        )
    return metrics, {}


def _reconstructed(specimen: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Return tiles and reconstructions of some windows of a specimen, ``(n, n_pixels)`` each."""
    bench = specimen.bench
    numbers = bench.windows.of_frames(specimen.rows, N_RECONSTRUCTED)
    tiling, tiles, found = _tiling(bench), [], []
    for part in batches(numbers):
        windows, _ = bench.windows.load(part)
        tiles.append(tiling.predict_on_batch(windows))
        found.append(bench.network.predict_on_batch(windows))
    return tuple(np.concatenate(a).reshape(len(numbers), -1).astype(float) for a in (tiles, found))


def explained(specimen: Frames) -> float:
    """Return the share of the tiles' variance that reconstructions explain."""
    tiles, found = _reconstructed(specimen)
    departures = tiles - tiles.mean(axis=0)
    return float(1 - np.sum((tiles - found) ** 2) / np.sum(departures**2))


def deviation_gain(specimen: Frames) -> float:
    """Return how far reconstructions depart from their mean where a perfect one would by 1."""
    tiles, found = (a - a.mean(axis=0) for a in _reconstructed(specimen))
    return float(np.sum(tiles * found) / np.sum(found**2)) if np.any(found) else float("nan")
