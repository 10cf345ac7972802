"""Labels from features, and how they are scored."""

import numpy as np
import pytest

from repro.studies.domain_ae.clusters import (
    Truth,
    cluster,
    masks,
    masks_f1,
    number_of_clusters,
)
from repro.studies.domain_ae.specimen import AA, AC, NONE, STRIPED

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 6, (3, 20, 20)).astype(np.uint8)
PURE = Truth(LABELS, np.ones(LABELS.shape))


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_groups_apart_are_found_whatever_their_scale(method):
    features = np.eye(6)[LABELS] @ RNG.normal(size=(6, 5)) * [1, 100, 1, 0.01, 1]
    features += 0.02 * features.std(axis=(0, 1, 2)) * RNG.normal(size=features.shape)
    found = cluster(features, method, seed=0)
    assert PURE.ari(found) == pytest.approx(1, abs=0.02)
    np.testing.assert_array_equal(found, cluster(features, method, seed=0))


@pytest.mark.parametrize("n", [2, 4, 6])
def test_the_number_of_groups_apart_is_found(n):
    features = np.eye(6)[LABELS % n] * 5 + 0.3 * RNG.normal(size=(*LABELS.shape, 6))
    assert number_of_clusters(features, 0) == n


def test_features_that_are_constant_are_no_trouble():
    assert PURE.ari(cluster(np.zeros((*LABELS.shape, 2)), "gmm", 0)) == pytest.approx(0, abs=0.01)


def test_the_index_is_one_for_any_numbering_and_zero_by_chance():
    assert PURE.ari(np.array([3, 1, 5, 0, 2, 4])[LABELS]) == 1
    assert abs(PURE.ari(RNG.integers(0, 6, LABELS.shape))) < 0.02


def test_only_pure_windows_count_unless_all_are_asked():
    spoiled = np.where(np.arange(20) < 10, LABELS, RNG.integers(0, 6, LABELS.shape))
    truth = Truth(LABELS, np.where(np.arange(20) < 10, 0.9, 0.5) * np.ones(LABELS.shape))
    assert truth.ari(spoiled) == 1
    assert truth.ari(spoiled, np.ones(LABELS.shape, bool)) < 0.6


def test_background_is_left_out_of_the_index_of_domains():
    confused = np.where(np.isin(LABELS, STRIPED), NONE, LABELS)
    assert PURE.ari(confused) > PURE.ari_domains(confused) == 0


def test_clusters_are_named_by_the_truth():
    shuffled = np.array([3, 1, 5, 0, 2, 4])[LABELS]
    np.testing.assert_array_equal(PURE.named(shuffled), LABELS)
    assert PURE.f1(LABELS) == 1
    assert PURE.f1(np.full_like(LABELS, NONE)) < 0.1


def test_masks_are_opened_and_closed_and_chosen_by_the_truth():
    labels = np.full((2, 30, 30), NONE, np.uint8)
    labels[:, 5:20, 5:20], labels[:, 22:, 22:] = AC[0], AA[1]
    features = np.stack([labels == AA[1], labels == AC[0], labels == 9], axis=-1).astype(float)
    features[0, 1, 27, 1] = 1  # a speck
    features[0, 10, 10, 1] = 0  # a hole
    found = masks(features)
    assert not found[0, 1, 27, 1]
    assert found[0, 10, 10, 1]
    assert masks_f1(Truth(labels, np.ones(labels.shape)), found) > 0.9
