"""Classical means on the same windows."""

import numpy as np
import pytest

from repro.studies.domain_ae.baselines import BASELINES, CONTEXT, NEIGHBOURS, matched, supervised
from repro.studies.domain_ae.clusters import Truth, cluster
from repro.studies.domain_ae.power import Band, power_over_noise

RNG = np.random.default_rng(0)
DARK = 20.0


def patchwork(dose=300.0, size=256):
    """Return counts with four directions of stripes, one a quarter, and which is where."""
    rows, columns = np.indices((size, size))
    quarter = 2 * (rows >= size // 2) + (columns >= size // 2)
    across = np.choose(
        quarter, [rows, columns, (rows + columns) / 2**0.5, (rows - columns) / 2**0.5]
    )
    return RNG.poisson(dose * (0.5 + 0.15 * np.cos(2 * np.pi * across / 16))), quarter


FRAME, QUARTER = patchwork()
MIDDLES = np.arange(32, 225, 16)
TRUE = QUARTER[np.ix_(MIDDLES, MIDDLES)][None].astype(np.uint8)
AWAY = np.abs(MIDDLES - 128) > 24
PURE = Truth(TRUE, 1.0 * (AWAY[:, None] & AWAY)[None])


def read(name, frame=FRAME, extent=(0, 0), dark=DARK):
    baseline = BASELINES[name]
    return baseline.features(baseline.read(frame, 64, 16, dark)[None], extent, 0)


@pytest.mark.parametrize("name", ["pca", "pca_banded", "polar", "tensor", "gabor"])
def test_clear_stripes_of_four_directions_are_told_apart(name):
    # Six clusters: of four, two may be one direction and what lies between.
    assert PURE.ari(cluster(read(name), "gmm", 0, n_clusters=6)) > 0.7


@pytest.mark.parametrize("name", BASELINES)
def test_features_are_finite_even_where_there_is_no_specimen(name):
    frame = FRAME.copy()
    frame[:120, :120] = RNG.poisson(5, (120, 120))
    features = read(name, frame)
    assert features.shape[:3] == (1, 13, 13)
    assert np.isfinite(features).all()


def test_the_mean_spectrum_and_raw_pixels_are_worse_than_spectra():
    scores = {
        name: PURE.ari(cluster(read(name), "kmeans", 0, n_clusters=4))
        for name in ("pca", "raw", "mean_spectrum")
    }
    assert scores["pca"] > scores["raw"] + 0.3
    assert scores["pca"] > scores["mean_spectrum"] + 0.3


def test_neighbours_help_in_noise():
    noisy = patchwork(dose=0.3)[0]
    scores = [
        PURE.ari(cluster(read("polar", noisy, extent, -np.inf), "kmeans", 0, n_clusters=4))
        for extent in ((0, 0), NEIGHBOURS[CONTEXT])
    ]
    assert scores[1] > scores[0] + 0.1


def test_known_stripes_are_matched():
    band = Band(1.0, 10.0)
    power = power_over_noise(FRAME, 64, 16, band, DARK)
    diagonal = 4 / 2**0.5
    vectors = np.array([[4, 0], [0, 4], [diagonal, diagonal], [diagonal, -diagonal]])
    found = matched(power, band, vectors).argmax(axis=-1)
    assert PURE.ari(found[None]) == 1


def test_a_linear_model_learns_from_labels():
    features = read("polar")
    found = supervised(features[PURE.is_pure], TRUE[PURE.is_pure], features, 0)
    assert np.mean(found[PURE.is_pure] == TRUE[PURE.is_pure]) > 0.95
