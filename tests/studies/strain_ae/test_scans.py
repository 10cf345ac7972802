"""What the beam meets."""

import os
from pathlib import Path

import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.strain_ae.scans import (
    FIELD,
    LARGEST_STRAIN,
    PUBLISHED_GRAINS,
    REFERENCE_GRAIN,
    beam_at,
    grain_at,
)

REFERENCES = os.environ.get("REPRO_REFERENCE_DATA", Path(__file__).parents[4] / "shared" / "refs")
LABELS = Path(REFERENCES) / "strain_ae" / "labels.npz"
EVERYWHERE = np.stack(np.meshgrid(np.arange(256.0), np.arange(256.0), indexing="ij"), axis=-1)
SOME = EVERYWHERE[::8, ::8].reshape(-1, 2)


@pytest.mark.skipif(
    not LABELS.exists(), reason="the published labels are not here: set REPRO_REFERENCE_DATA"
)
def test_the_table_of_grains_gives_the_published_labels_within_grains():
    labels = np.load(LABELS)
    grains = PUBLISHED_GRAINS[grain_at(PUBLISHED_GRAINS, EVERYWHERE)]
    names = ("strain_xx", "strain_yy", "strain_xy", "rotation")
    apart = [np.abs(labels[name] - grains[..., 2 + i]) for i, name in enumerate(names)]
    strains = np.stack([labels[name] for name in names[:3]])
    inside = (np.abs(strains * 100 - np.rint(strains * 100)) < 1e-3).all(axis=0)
    inside &= apart[3] < 0.05  # at a few boundaries strain is whole by chance, rotation is not
    assert inside.mean() > 0.7
    assert max(np.quantile(a[inside], 0.999) for a in apart) < 1e-3


def test_the_reference_is_unstrained():
    assert not PUBLISHED_GRAINS[REFERENCE_GRAIN, 2:5].any()


def test_a_scan_repeats_itself():
    np.testing.assert_array_equal(
        grain_at(PUBLISHED_GRAINS, SOME),
        grain_at(PUBLISHED_GRAINS, SOME + np.array([FIELD, -FIELD])),
    )


@pytest.mark.parametrize("kind", ["published", "polycrystal", "smooth"])
def test_shares_sum_to_one_and_strain_stays_within_two_per_cent(kind):
    beam = beam_at(kind, SOME, 2.0, 0, 3)
    np.testing.assert_allclose(beam.shares.sum(axis=1), 1)
    assert np.abs(beam.strain).max() <= LARGEST_STRAIN
    assert (beam.shares == 1).any()


def test_only_beams_across_a_boundary_mix_grains():
    point, wide = (beam_at("published", SOME, radius, 0, 0) for radius in (0.0, 2.0))
    assert (point.shares.max(axis=1) == 1).all()
    mixed = wide.shares.max(axis=1) < 1
    assert 0.05 < mixed.mean() < 0.3
    np.testing.assert_array_equal(wide.grain[~mixed], point.grain[~mixed])


def test_drawn_scans_depend_on_seed_and_number_only():
    for kind in ("polycrystal", "smooth"):
        once, again, other, next_one = (
            beam_at(kind, SOME, 0.0, seed, number).strain
            for seed, number in ((0, 3), (0, 3), (1, 3), (0, 4))
        )
        np.testing.assert_array_equal(once, again)
        assert (once != other).any()
        assert (once != next_one).any()


def test_strain_changes_smoothly_where_it_should():
    beam = beam_at("smooth", EVERYWHERE.reshape(-1, 2), 0.0, 0, 4)
    maps = beam.strain.reshape(256, 256, 3)
    assert np.abs(np.diff(maps, axis=0)).max() < 0.002
    assert maps.std(axis=(0, 1)).min() > 0.005


def test_another_kind_of_scan_is_refused_with_those_there_are():
    with pytest.raises(ReproError, match="polycrystal"):
        beam_at("liquid", SOME, 0.0, 0, 0)
