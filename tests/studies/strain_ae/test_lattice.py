"""The WS2 lattice, its strain and its rotation."""

import numpy as np

from repro.studies.strain_ae.lattice import (
    SIXTH,
    decomposed,
    deformation,
    largest_gap,
    sixfold,
    spots,
    turn,
)

RNG = np.random.default_rng(0)


def test_strain_and_rotation_come_back_from_the_deformation():
    strain, rotation = RNG.uniform(-0.05, 0.05, (50, 3)), RNG.uniform(-3, 3, 50)
    found = decomposed(deformation(strain, rotation))
    np.testing.assert_allclose(found[0], strain, atol=1e-14)
    np.testing.assert_allclose(found[1], rotation, atol=1e-14)


def test_a_crystal_stretched_along_the_rows_has_its_spots_nearer_there_and_nowhere_else():
    moved = deformation(np.array([0.02, 0, 0]), np.array(0.0)) @ np.eye(2)
    np.testing.assert_allclose(moved, [[1 / 1.02, 0], [0, 1]])


def test_rings_lie_where_the_hexagonal_lattice_has_them():
    places, plateaus, rings = spots(37.9)
    np.testing.assert_allclose(np.hypot(*places.T), 37.9 * np.sqrt(rings))
    counted = dict(zip(*np.unique(rings, return_counts=True), strict=True))
    assert counted == {1: 6, 3: 6, 4: 6, 7: 12, 9: 6, 12: 6}
    assert len(set(plateaus[rings == 3])) == 1, "the second ring is alike all round"
    assert sorted(set(plateaus[rings == 1])) == [1.48, 2.52], "the first is not: no inversion"


def test_a_third_of_a_turn_changes_nothing_and_a_sixth_swaps_unlike_spots():
    places, plateaus, rings = spots(1.0)
    for angle, alike in (
        (2 * SIXTH, np.ones(len(rings), bool)),
        (SIXTH, np.isin(rings, [3, 9, 12])),
    ):
        turned = places @ turn(np.array(angle)).T
        nearest = np.linalg.norm(turned[:, None] - places, axis=2).argmin(axis=1)
        assert ((plateaus == plateaus[nearest]) == alike).all()


def test_angles_are_folded_to_the_nearest_of_six():
    np.testing.assert_allclose(
        sixfold(np.deg2rad([59.0, -59.0, 120.0, 10.0])), np.deg2rad([-1, 1, 0, 10]), atol=1e-12
    )


def test_the_widest_gap_is_found_across_the_wrap():
    assert np.isclose(largest_gap(np.array([0.1, 0.2, 0.3]), 1.0), 0.7)
    assert np.isclose(largest_gap(np.array([0.9, 0.0, 0.5]), 1.0), 0.25)
