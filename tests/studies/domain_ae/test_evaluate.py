"""What is measured of the domains that are found."""

import re
from dataclasses import replace

import bench
import numpy as np
import pytest

from repro.studies.domain_ae.evaluate import areas_stage
from repro.studies.domain_ae.evaluate_network import (
    _nearest_cluster,
    circular_correlation,
    deviation_gain,
    explained,
    sparsity,
)
from repro.studies.domain_ae.figures import CAPTIONS, across, figures
from repro.studies.domain_ae.scoring import Bench, Frames, true_waves
from repro.studies.domain_ae.specimen import AA, AC, STRIPED

RNG = np.random.default_rng(0)
LOWER = (
    "turned/", "loss/", "area/ac", "area/aa", "area/false", "area/late", "crossing_error",
    "end_error", "stripes/", "confidence_gap",
)  # fmt: skip
NEITHER = (
    "features/clusters", "context/classes", "reconstruction/gain", "area/domains",
    "area/coexistence", "stripes/signal",
)  # fmt: skip
CURVES = {"autoencoder": {"epoch": [1.0] * 8, "loss": [0.3] * 8, "val_loss": [0.31] * 8}}


def better(name):
    if name.startswith(NEITHER) or re.match(r"area/(crossing|end)/", name):
        return "neither"
    return "lower" if any(part in name for part in LOWER) else "higher"


@pytest.fixture(scope="module")
def evaluations(untrained):
    """What every variant yields, its networks untrained."""
    found = {}
    for variant in ("faithful", "improved"):
        trained = replace(untrained(variant, "vacuum"), curves=CURVES)
        found[variant] = bench.evaluated("domain_ae", trained)
    return found


@pytest.mark.slow
def test_metrics_are_finite_and_claims_find_theirs(evaluations):
    found = evaluations["faithful"]
    # An untrained network's areas need not cross.
    without = {"stripes/signal", "area/crossing/heating"} - found.metrics.keys()
    bench.check_metrics("domain_ae", found, better, without)
    of_network = {
        "features/ari", "theta/correlation", "features/sparsity", "features/disentanglement",
        "loss/training", "loss/gap", "loss/plateau", "turned/changed",
    }  # fmt: skip
    bench.check_metrics("domain_ae", evaluations["improved"], better, of_network)


@pytest.mark.slow
def test_ours_tells_domains_of_small_frames_in_vacuum(evaluations):
    found = bench.values(evaluations["improved"].metrics)
    assert found["context/ari"] > 0.75
    assert found["context/ari"] > found["pca/ari"]
    assert found["mean_spectrum/ari"] < 0.4
    assert found["ceiling/gabor"] > 0.7


@pytest.mark.slow
def test_every_figure_is_drawn_and_has_a_caption(evaluations):
    for evaluation in evaluations.values():
        drawn = figures({0: evaluation.arrays})
        assert {"maps", "areas", "confusion"} <= drawn.keys() <= CAPTIONS.keys()
        for figure in drawn.values():
            figure.draw_without_rendering()  # which lays it out
            bench.check_inside(figure)
    assert "features" in figures({0: evaluations["faithful"].arrays})
    bench.check_same_bytes(lambda: figures({0: evaluations["faithful"].arrays}))


def test_experiments_are_compared_in_figures():
    level = {"features/ari": 0.5, "pca/ari": 0.4}
    drawn = across({"gas": level, "vacuum": level, "no_grids": level})
    assert drawn.keys() == {"across_noise", "ablations"}
    assert across({"gas": level}) == {}
    assert drawn.keys() <= CAPTIONS.keys()
    for figure in drawn.values():
        figure.draw_without_rendering()
        bench.check_inside(figure)


# ---- single measures


def specimen(untrained, variant="improved"):
    return Bench(untrained(variant, "vacuum")).specimens[0]


def test_only_specimens_of_the_test_split_are_measured(untrained):
    measured = Bench(untrained("improved", "vacuum"))
    assert [s.number for s in measured.specimens] == [3, 4]
    assert [s.number for s in measured.of_split("train")] == [0, 1]


def test_areas_by_true_windows_are_nearly_those_of_pixels(untrained):
    frames = specimen(untrained)
    np.testing.assert_allclose(frames.areas_of(frames.truth.labels), frames.areas, atol=0.15)
    labels = frames.of("labels")
    np.testing.assert_allclose(frames.areas[0], [np.isin(m, AC).mean() for m in labels])
    np.testing.assert_allclose(frames.areas[1], [np.isin(m, AA).mean() for m in labels])


def test_areas_of_the_truth_have_no_error(untrained, monkeypatch):
    measured = Bench(untrained("improved", "vacuum"))
    monkeypatch.setattr(Frames, "areas_of", lambda frames, labels: frames.areas)
    assert set(measured.areas) == {3, 4}
    found = bench.values(areas_stage(measured)[0])
    errors = [value for name, value in found.items() if "error" in name or name[5:] in ("ac", "aa")]
    assert np.nanmax(errors) == 0


def test_true_directions_are_known_where_there_are_stripes(untrained):
    frames = specimen(untrained)
    direction, period = true_waves(frames)
    striped = np.isin(frames.truth.labels, STRIPED)
    assert np.isfinite(direction[striped]).all()
    assert np.isnan(direction[~striped]).all()
    assert 12 < np.nanmin(period) < np.nanmax(period) < 24


def test_angles_that_turn_together_are_correlated():
    angle = RNG.uniform(-3, 3, 4000)
    noise = RNG.normal(scale=0.1, size=4000)
    assert circular_correlation(angle + 1 + noise, angle) > 0.95
    assert circular_correlation(-angle, angle) < -0.95
    assert abs(circular_correlation(RNG.uniform(-3, 3, 4000), angle)) < 0.06
    assert circular_correlation(np.ones(4000), angle) == 0


class Coded:
    """A specimen with features at hand."""

    def __init__(self, features):
        self.codes = np.zeros(features.shape), features


def test_features_that_are_off_are_counted():
    features = np.zeros((2, 3, 4, 8))
    features[..., :2] = 1
    assert sparsity(Coded(features)) == pytest.approx(0.75)


def test_windows_go_to_the_nearest_cluster():
    every, found = np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([4, 4, 2, 2])
    np.testing.assert_array_equal(_nearest_cluster(np.array([[4.0], [0.2]]), every, found), [2, 4])


@pytest.mark.parametrize(("share", "gain"), [(1.0, 1.0), (1 / 16, 16.0)])
def test_what_of_the_tiles_is_reconstructed(monkeypatch, share, gain):
    tiles = RNG.normal(size=(300, 50))
    found = tiles.mean(axis=0) + share * (tiles - tiles.mean(axis=0))
    monkeypatch.setattr(
        "repro.studies.domain_ae.evaluate_network._reconstructed", lambda specimen: (tiles, found)
    )
    assert explained(None) == pytest.approx(1 - (1 - share) ** 2)
    assert deviation_gain(None) == pytest.approx(gain)
