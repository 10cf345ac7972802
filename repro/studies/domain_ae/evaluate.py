"""How well domains are found without labels, in specimens that nothing was learned from.

Windows count whose central half is of one class to 70 %, unless a metric says otherwise. Clusters
are found in each specimen anew, from all of its frames; ``ari`` is the adjusted Rand index, by
k-means of K = 6 or, as ``ari_gmm``, by a mixture of normal laws.

``features/`` are the network's eight features, ``latent/`` these and the grids, ``otsu/`` the
authors' thresholds, whose channels the truth chooses; ``alone/`` and ``context/`` are our variant's
map by each window alone and with its neighbours. Every classical baseline has metrics under its
name; with the same neighbours under ``NAME/context`` and, wider, ``NAME/wide``. ``ceiling/`` asks
the truth.

Of the published frames no truth is known: there are a network's losses, and what our variant finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from repro.evaluation.metrics import Evaluation, Metric, higher, in_stages, lower, neither
from repro.evaluation.resampling import Resampled, Resampling
from repro.seeds import integer_seed
from repro.studies.domain_ae import areas
from repro.studies.domain_ae.baselines import (
    ALONE,
    BASELINES,
    CONTEXT,
    NEIGHBOURS,
    WIDE,
    Baseline,
    band_power,
    matched,
    principal,
    softly,
    supervised,
)
from repro.studies.domain_ae.clusters import (
    GMM,
    KMEANS,
    Truth,
    cluster,
    masks,
    masks_f1,
    number_of_clusters,
)
from repro.studies.domain_ae.domains import Domains
from repro.studies.domain_ae.mapping import darkness_of, find_domains
from repro.studies.domain_ae.model import CODE, LATENT, N_FEATURES, THETA, TILE, coding_network
from repro.studies.domain_ae.power import Band
from repro.studies.domain_ae.recipe import AUTOENCODER, Windows
from repro.studies.domain_ae.simulate import series_of
from repro.studies.domain_ae.specimen import AA, AC, NONE, STRIPED, VOID
from repro.studies.domain_ae.windows import central_means, window_labels
from repro.study import Trained

if TYPE_CHECKING:
    import keras

Metrics = dict[str, Metric]
Arrays = dict[str, np.ndarray]
Answers = tuple[Metrics, Arrays]
BY_SPECIMEN = "mean over specimens of the test split"
BATCH = 256  # windows that a network is asked for at once
HOT = 210.0  # from where on there are no domains [°C]
LATE = 190.0  # from where on they are gone, as the poster has it [°C]
BRANCHES = ("heating", "cooling")
PLATEAU = 5  # epochs, from 0, after which the published loss is flat
N_RECONSTRUCTED = 2000  # windows whose reconstruction is measured
N_UNTRAINED = 4  # every so many frames are shown to the untrained network
SHOWN = 6  # frames of the figures
DRAWN = 128  # pixels of such a frame along a side, about: noise fills a page
FAINT = 0.01  # of its largest value: a feature below that is off
TURN = 15.0  # by which windows are turned to see whether their cluster changes [degrees]


def evaluate(trained: Trained, progress: Callable[[int, int], None]) -> Evaluation:
    """Measure what is found in the specimens of the test split."""
    bench = Bench(trained)
    is_ours = trained.variant == "improved"
    if not bench.knows_truth:
        stages = [found_areas_stage, signal_stage] if is_ours else [reconstruction_stage]
    elif is_ours:
        stages = [ours_stage, stripes_stage, signal_stage, found_areas_stage, areas_stage]
    else:
        stages = [features_stage, input_stage, physics_stage, reconstruction_stage]
        stages += [found_areas_stage, areas_stage]
    if bench.knows_truth:
        stages += [baseline_stage, ceiling_stage]
    return in_stages(stages, bench, progress).defined()


@dataclass(frozen=True)
class Frames:
    """The frames of one specimen.

    Parameters
    ----------
    bench : Bench
        Of which they are a part.
    number : int
        The specimen's.
    rows : numpy.ndarray
        Numbers of the frames in the data set, ``(n_frames,)``.
    """

    bench: Bench
    number: int
    rows: np.ndarray

    def read(self, frame: int) -> np.ndarray:
        """Return a frame, ``(size, size)``."""
        return self.bench.trained.dataset.array("counts")[self.rows[frame]]

    def of(self, variable: str) -> np.ndarray:
        """Return a variable of the frames, ``(n_frames, ...)``."""
        return self.bench.trained.dataset.array(variable)[self.rows]

    @cached_property
    def truth(self) -> Truth:
        """The true classes of the windows."""
        series = self.bench.series
        found = [window_labels(m, series.window, series.step) for m in self.of("labels")]
        return Truth(*map(np.stack, zip(*found, strict=True)))

    @cached_property
    def areas(self) -> np.ndarray:
        """True areas of a-c and a-a, ``(2, n_frames)``, by pixels."""
        labels = self.of("labels")
        return np.array([[np.isin(m, classes).mean() for m in labels] for classes in (AC, AA)])

    def areas_of(self, labels: np.ndarray) -> np.ndarray:
        """Return areas of a-c and a-a by labels of windows, ``(2, n_frames)``."""
        series = self.bench.series
        shape = (series.size, series.size)
        return np.array(
            [
                areas.area(np.isin(labels, classes), shape, series.window, series.step)
                for classes in (AC, AA)
            ]
        )

    @cached_property
    def darkness(self) -> float:
        """Intensity below which there is no specimen, found without labels."""
        return darkness_of(self.read, np.arange(len(self.rows)))

    def by(self, baseline: Baseline) -> np.ndarray:
        """Return what a baseline reads of the frames, ``(n_frames, n_rows, n_columns, n)``."""
        series = self.bench.series
        numbers = range(len(self.rows))
        return np.stack(
            [
                baseline.read(self.read(n), series.window, series.step, self.darkness).astype(
                    np.float32
                )
                for n in numbers
            ]
        )

    @cached_property
    def domains(self) -> Domains:
        """What our variant finds."""
        series = self.bench.series
        return find_domains(self.read, len(self.rows), series.window, series.step)

    @cached_property
    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Code ``(n_frames, n_rows, n_columns, 8)`` and latent ``(..., n)`` of every window."""
        return self.coded(self.bench.coding, self.rows)

    def coded(self, coding: keras.Model, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return code and latent of the windows of some frames."""
        windows = self.bench.windows
        found: dict[str, list] = {CODE: [], LATENT: []}
        for part in batches(windows.of_frames(rows)):
            answer = coding.predict_on_batch(windows.load(part)[0])
            for name, values in found.items():
                values.append(answer[name])
        side = len(windows.places)
        shape = (len(rows), side, side, -1)
        return tuple(np.concatenate(values).reshape(shape) for values in found.values())


def batches(numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Yield numbers a batch at a time."""
    yield from np.array_split(numbers, max(1, -(-len(numbers) // BATCH)))


class Bench:
    """The specimens of the test split, and what finds domains in them."""

    def __init__(self, trained: Trained):
        self.trained = trained
        self.series = series_of(trained.dataset.spec)

    @property
    def knows_truth(self) -> bool:
        """Whether the classes of pixels are known: not those of published frames."""
        return "labels" in self.trained.dataset.names

    @cached_property
    def specimens(self) -> list[Frames]:
        """The specimens of the test split; of published frames that which was trained on."""
        return self.of_split("test" if self.knows_truth else "train")

    def of_split(self, split: str) -> list[Frames]:
        """Return the specimens of a split."""
        rows = self.trained.dataset.rows(split)
        numbers = self.trained.dataset.array("specimen")[rows]
        return [Frames(self, int(n), rows[numbers == n]) for n in np.unique(numbers)]

    @cached_property
    def windows(self) -> Windows:
        """The windows as the network sees them."""
        return self.trained.tasks[AUTOENCODER].context

    @cached_property
    def areas(self) -> dict[int, np.ndarray]:
        """Areas of a-c and a-a found in each specimen, ``(2, n_frames)`` by its number."""
        return {s.number: s.areas_of(labels_found(s)) for s in self.specimens}

    @property
    def network(self) -> keras.Model:
        """The autoencoder."""
        return self.trained.models[AUTOENCODER]

    @cached_property
    def coding(self) -> keras.Model:
        """The part of it that finds codes."""
        return coding_network(self.network)

    @property
    def seed(self) -> int:
        """The run's."""
        return self.trained.seed

    def mean(self, of_specimen: Callable[[Frames], float]) -> Resampled:
        """Return the mean over specimens, drawn by specimens; one without a value is left out."""
        values = {s.number: of_specimen(s) for s in self.specimens}
        known = {number: v for number, v in values.items() if np.isfinite(v)}
        if not known:
            return Resampling("specimen", np.zeros(1)).mean(np.full(1, np.nan))
        return Resampling("specimen", np.array(list(known))).mean(np.array(list(known.values())))

    def scores(self, name: str, about: str, found: Callable[[Frames], np.ndarray]) -> Metrics:
        """Return how clusters agree with the truth: indices of Rand, and F1."""
        clusters = {s.number: found(s) for s in self.specimens}

        def score(of: Callable[[Truth, np.ndarray], float]) -> Resampled:
            return self.mean(lambda s: of(s.truth, clusters[s.number]))

        where = f"{about}, {BY_SPECIMEN}"
        everywhere = np.ones(self.specimens[0].truth.labels.shape, bool)
        return {
            f"{name}/ari": higher(score(Truth.ari), f"adjusted Rand index of {where}"),
            f"{name}/ari_all": higher(
                score(lambda t, c: t.ari(c, everywhere[: len(c)])),
                f"adjusted Rand index of {where}, all windows",
            ),
            f"{name}/ari_domains": higher(
                score(Truth.ari_domains),
                f"adjusted Rand index of {where}, windows with domains",
            ),
            f"{name}/f1": higher(
                score(lambda t, c: t.f1(t.named(c))),
                f"mean F1 over classes of {where}, clusters named by the truth",
            ),
        }


def clustered(
    bench: Bench, name: str, about: str, features: Callable[[Frames], np.ndarray]
) -> Metrics:
    """Return scores of k-means, and the index of a mixture of normal laws."""
    kept = {s.number: features(s) for s in bench.specimens}

    def by(method: str) -> Callable[[Frames], np.ndarray]:
        return lambda s: cluster(kept[s.number], method, bench.seed)

    metrics = bench.scores(name, f"k-means of {about}", by(KMEANS))
    metrics[f"{name}/ari_gmm"] = higher(
        bench.mean(lambda s: s.truth.ari(by(GMM)(s))),
        f"adjusted Rand index of a mixture of normal laws of {about}, {BY_SPECIMEN}",
    )
    return metrics


# ---- the network


def features_of(codes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the features of codes and latents, ``(..., 8)``."""
    return codes[1][..., :N_FEATURES]


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


# ---- our variant


def ours_stage(bench: Bench) -> Answers:
    """Score the map by windows alone and with their neighbours."""
    metrics = bench.scores(
        "alone", "our classes, each window alone", lambda s: s.domains.clusters_alone
    )
    metrics |= bench.scores("context", "our classes, with neighbours", lambda s: s.domains.clusters)
    metrics["context/accuracy"] = higher(
        bench.mean(lambda s: np.mean((s.domains.labels == s.truth.labels)[s.truth.is_pure])),
        f"share of windows whose class is right, named by direction, {BY_SPECIMEN}",
    )
    metrics["context/classes"] = neither(
        bench.mean(lambda s: 1 + s.domains.known.n_classes),
        f"classes that are found, void and none included, {BY_SPECIMEN}",
    )
    metrics["context/confidence_gap"] = lower(
        bench.mean(confidence_gap),
        f"mean probability of the likeliest class less the share that is right, {BY_SPECIMEN}",
    )
    first = bench.specimens[0]
    return metrics, maps_of(first, shown_frames(first), first.domains.labels)


def confidence_gap(specimen: Frames) -> float:
    """Return how much surer windows are than they are right."""
    counted = specimen.truth.is_pure & ~specimen.domains.is_void
    right = (specimen.domains.labels == specimen.truth.labels)[counted]
    return float(abs(specimen.domains.found.max(axis=-1)[counted].mean() - right.mean()))


def true_waves(specimen: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Return true direction [degrees] and period [pixels] of the stripes of each window."""
    series, seed = specimen.bench.series, specimen.bench.trained.dataset.spec.seed
    made = series.specimen(specimen.number, seed)
    labels = specimen.truth.labels
    direction, period = np.full((2, *labels.shape), np.nan)
    for label in STRIPED:
        turned, long = made.wave(label)
        doubled = 2 * np.deg2rad(turned)
        cosine, sine, mean = (
            central_means(a, series.window, series.step)
            for a in (np.cos(doubled), np.sin(doubled), long)
        )
        is_label = labels == label
        direction = np.where(is_label, np.rad2deg(np.arctan2(sine, cosine) / 2) % 180, direction)
        period = np.where(is_label, mean, period)
    return direction, period


def stripes_stage(bench: Bench) -> Answers:
    """Hold direction and period of the stripes against the true ones."""

    def error(of: Callable[[Frames], np.ndarray]) -> Resampled:
        return bench.mean(lambda s: _median(of(s)[_rightly_striped(s)]))

    metrics = {
        "stripes/direction": lower(
            error(lambda s: np.abs((s.domains.direction - true_waves(s)[0] + 90) % 180 - 90)),
            f"median error of the direction of stripes, {BY_SPECIMEN}",
            "degrees",
        ),
        "stripes/period": lower(
            error(lambda s: np.abs(s.domains.period * bench.series.window / true_waves(s)[1] - 1)),
            f"median error of the period of stripes over the period, {BY_SPECIMEN}",
        ),
    }
    return metrics, {}


def signal_stage(bench: Bench) -> Answers:
    """Measure how far stripes stand out of the counting noise."""
    metrics = {
        "stripes/signal": neither(
            bench.mean(lambda s: float(s.domains.known.stripes.max(initial=0.0))),
            f"power of the strongest stripes over that of the counting noise, {BY_SPECIMEN}",
        )
    }
    return metrics, {}


def _rightly_striped(specimen: Frames) -> np.ndarray:
    striped = specimen.truth.is_pure & np.isin(specimen.truth.labels, STRIPED)
    return striped & (specimen.domains.labels == specimen.truth.labels)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


# ---- areas


def labels_found(specimen: Frames) -> np.ndarray:
    """Return labels of windows: ours by direction, a network's clusters named by the truth."""
    bench = specimen.bench
    if bench.trained.variant == "improved":
        return specimen.domains.labels
    return specimen.truth.named(cluster(features_of(specimen.codes), KMEANS, bench.seed))


def found_areas_stage(bench: Bench) -> Answers:
    """Read areas over the series, and at which temperatures they cross and end."""
    metrics: Metrics = {
        "area/domains": neither(
            bench.mean(lambda s: bench.areas[s.number].sum(axis=0).max()),
            f"largest area of domains, {BY_SPECIMEN}",
        ),
        "area/coexistence": neither(
            bench.mean(lambda s: bench.areas[s.number].min(axis=0).mean()),
            f"mean over the series of the smaller of the areas of a-c and a-a, {BY_SPECIMEN}",
        ),
        "area/late": lower(
            bench.mean(lambda s: _largest(s, bench.areas[s.number], LATE)),
            f"largest area of domains from {LATE:g} °C on, {BY_SPECIMEN}",
        ),
    }
    for is_cooling, branch in enumerate(BRANCHES):
        for name, read in READS.items():
            metrics[f"area/{name}/{branch}"] = neither(
                bench.mean(lambda s, c=is_cooling, r=read: r(*on_branch(s, c, bench.areas))),
                f"temperature of the {name} on {branch}, {BY_SPECIMEN}",
                "°C",
            )
    first = bench.specimens[0]
    arrays = {
        "area_temperature": first.of("temperature"),
        "area_is_cooling": first.of("is_cooling"),
        "area_found": bench.areas[first.number],
    }
    return metrics, arrays


def areas_stage(bench: Bench) -> Answers:
    """Hold areas over the series against the true ones."""
    found, true = bench.areas, {s.number: s.areas for s in bench.specimens}
    metrics: Metrics = {}
    for place, name in enumerate(("ac", "aa")):
        metrics[f"area/{name}"] = lower(
            bench.mean(lambda s, p=place: np.abs(found[s.number] - true[s.number])[p].mean()),
            f"mean error of the area of {name[0]}-{name[1]} over the series, {BY_SPECIMEN}",
        )
    metrics["area/false"] = lower(
        bench.mean(lambda s: _mean(found[s.number].sum(axis=0)[s.of("temperature") >= HOT])),
        f"area of domains from {HOT:g} °C on, where there are none, {BY_SPECIMEN}",
    )
    for is_cooling, branch in enumerate(BRANCHES):
        for name, read in READS.items():

            def error(s: Frames, c: int = is_cooling, r: Callable = read) -> float:
                return abs(r(*on_branch(s, c, found)) - r(*on_branch(s, c, true)))

            metrics[f"area/{name}_error/{branch}"] = lower(
                bench.mean(error),
                f"error of the temperature of the {name} on {branch}, {BY_SPECIMEN}",
                "°C",
            )
    return metrics, {"area_true": bench.specimens[0].areas}


def on_branch(
    specimen: Frames, is_cooling: int, areas_by: dict[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return temperatures of a branch, ``(n,)`` [°C], and areas there, ``(2, n)``."""
    chosen = specimen.of("is_cooling") == is_cooling
    return specimen.of("temperature")[chosen], areas_by[specimen.number][:, chosen]


READS = {
    "crossing": lambda temperature, found: areas.crossing(temperature, *found),
    "end": lambda temperature, found: areas.end(temperature, found.sum(axis=0)),
}


def _largest(specimen: Frames, found: np.ndarray, start: float) -> float:
    late = found.sum(axis=0)[specimen.of("temperature") >= start]
    return float(late.max()) if len(late) else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


# ---- other means


def baseline_stage(bench: Bench) -> Answers:
    """Cluster classical features of the same windows, alone and with neighbours."""
    metrics: Metrics = {}
    for name, baseline in BASELINES.items():
        read = {s.number: s.by(baseline) for s in bench.specimens}
        for kind, extent in NEIGHBOURS.items():
            prefix = name if kind == ALONE else f"{name}/{kind}"
            about = {ALONE: "", CONTEXT: ", with neighbours", WIDE: ", with more neighbours"}[kind]

            def features(s: Frames, b=baseline, r=read, e=extent) -> np.ndarray:
                return b.features(r[s.number], e, bench.seed)

            found = clustered(bench, prefix, f"{name}{about}", features)
            kept = ("ari", "ari_gmm") if kind != ALONE else ("ari", "ari_gmm", "ari_all", "f1")
            metrics |= {f"{prefix}/{k}": found[f"{prefix}/{k}"] for k in kept}
    return metrics, {}


def ceiling_stage(bench: Bench) -> Answers:
    """Ask the truth: known stripes, and a linear model that learned from true labels."""
    metrics: Metrics = {}
    baseline = Baseline(band_power, softly)
    training = bench.of_split("train")[-1]
    for kind in (ALONE, CONTEXT):
        extent = NEIGHBOURS[kind]
        features, labels = (
            baseline.features(training.by(baseline), extent, bench.seed),
            training.truth.labels,
        )
        counted = training.truth.is_pure
        found = {
            s.number: supervised(
                features[counted],
                labels[counted],
                baseline.features(s.by(baseline), extent, bench.seed),
                bench.seed,
            )
            for s in bench.specimens
        }
        about = " with neighbours" if kind == CONTEXT else ""
        metrics[f"ceiling/supervised/{kind}"] = higher(
            bench.mean(lambda s, f=found: s.truth.ari(f[s.number])),
            f"adjusted Rand index of a linear model that learned from labels{about}, {BY_SPECIMEN}",
        )
    metrics["ceiling/gabor"] = higher(
        bench.mean(lambda s: s.truth.ari(matched_labels(s))),
        f"adjusted Rand index of the strongest of the known stripes, {BY_SPECIMEN}",
    )
    return metrics, {}


def matched_labels(specimen: Frames) -> np.ndarray:
    """Return the class of known stripes that is strongest, if above half of its full amplitude."""
    series, truth = specimen.bench.series, specimen.truth
    made = series.specimen(specimen.number, specimen.bench.trained.dataset.spec.seed)
    vectors = []
    for label in STRIPED:
        direction, period = (np.median(a) for a in made.wave(label))
        angle = np.deg2rad(direction)
        vectors.append(series.window / period * np.array([np.cos(angle), np.sin(angle)]))
    power = specimen.by(Baseline(band_power, softly))
    strength = matched(power, Band(1.0, 10.0), np.array(vectors)) - 1
    full = np.ones(len(STRIPED))
    for i, label in enumerate(STRIPED):
        if np.any(truth.labels == label):
            full[i] = np.median(strength[..., i][truth.labels == label])
    share = strength / np.maximum(full, 1e-6)
    found = np.where(share.max(axis=-1) > 0.25, np.array(STRIPED)[strength.argmax(axis=-1)], NONE)
    return np.where(truth.labels == VOID, VOID, found)


# ---- what the figures show


def shown_frames(specimen: Frames) -> np.ndarray:
    """Return numbers of frames on heating that the figures show."""
    heating = np.flatnonzero(specimen.of("is_cooling") == 0)
    return heating[np.linspace(0, len(heating) - 1, min(SHOWN, len(heating))).astype(int)]


def maps_of(specimen: Frames, shown: np.ndarray, labels: np.ndarray) -> Arrays:
    """Return frames, true classes and classes found, of frames that are shown."""
    every = max(1, specimen.bench.series.size // DRAWN)
    return {
        "map_counts": specimen.of("counts")[shown][:, ::every, ::every],
        "map_true": specimen.truth.labels[shown],
        "map_found": labels[shown].astype(np.uint8),
        "map_temperature": specimen.of("temperature")[shown],
        "confusion_true": specimen.truth.labels[specimen.truth.is_pure],
        "confusion_found": labels[specimen.truth.is_pure].astype(np.uint8),
    }
