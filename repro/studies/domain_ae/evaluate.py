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

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from repro.evaluation.metrics import Evaluation, higher, in_stages, lower, neither
from repro.evaluation.resampling import Resampled
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
    softly,
    supervised,
)
from repro.studies.domain_ae.evaluate_network import (
    features_stage,
    input_stage,
    physics_stage,
    reconstruction_stage,
)
from repro.studies.domain_ae.power import Band
from repro.studies.domain_ae.scoring import (
    BY_SPECIMEN,
    Answers,
    Bench,
    Frames,
    Metrics,
    clustered,
    maps_of,
    shown_frames,
    true_waves,
)
from repro.studies.domain_ae.specimen import NONE, STRIPED, VOID
from repro.study import Trained

if TYPE_CHECKING:
    pass

HOT = 210.0  # from where on there are no domains [°C]
LATE = 190.0  # from where on they are gone, as the poster has it [°C]
BRANCHES = ("heating", "cooling")


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
