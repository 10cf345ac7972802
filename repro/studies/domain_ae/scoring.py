"""The specimens of the test split, what is found in them, and what scores it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from repro.evaluation.metrics import Metric, higher
from repro.evaluation.resampling import Resampled, Resampling
from repro.studies.domain_ae import areas
from repro.studies.domain_ae.baselines import Baseline
from repro.studies.domain_ae.clusters import GMM, KMEANS, Truth, cluster
from repro.studies.domain_ae.domains import Domains
from repro.studies.domain_ae.mapping import darkness_of, find_domains
from repro.studies.domain_ae.model import CODE, LATENT, N_FEATURES, coding_network
from repro.studies.domain_ae.recipe import AUTOENCODER, Windows
from repro.studies.domain_ae.simulate import series_of
from repro.studies.domain_ae.specimen import AA, AC, STRIPED
from repro.studies.domain_ae.windows import central_means, window_labels
from repro.study import Trained

if TYPE_CHECKING:
    import keras

Metrics = dict[str, Metric]
Arrays = dict[str, np.ndarray]
Answers = tuple[Metrics, Arrays]
BY_SPECIMEN = "mean over specimens of the test split"
SHOWN = 6  # frames of the figures
DRAWN = 128  # pixels of such a frame along a side, about: noise fills a page
BATCH = 256  # windows that a network is asked for at once


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


def features_of(codes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the features of codes and latents, ``(..., 8)``."""
    return codes[1][..., :N_FEATURES]


def labels_found(specimen: Frames) -> np.ndarray:
    """Return labels of windows: ours by direction, a network's clusters named by the truth."""
    bench = specimen.bench
    if bench.trained.variant == "improved":
        return specimen.domains.labels
    return specimen.truth.named(cluster(features_of(specimen.codes), KMEANS, bench.seed))


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
