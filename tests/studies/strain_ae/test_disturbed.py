"""Disturbances do what they say, and nothing else: faults, a beam off its place, an ellipse."""

from dataclasses import replace

import numpy as np
import pytest

from repro.studies.strain_ae.disturbed import (
    ARTEFACTS,
    BEAM_SHIFT,
    DEAD_ROWS,
    DISTORTION,
    ELLIPTICITY,
    HOT_PIXELS,
    Replaced,
    patterns_with,
)
from repro.studies.strain_ae.lattice import deformation
from repro.studies.strain_ae.scans import beam_at
from repro.studies.strain_ae.simulate import Simulation

ROWS = np.arange(6)


@pytest.fixture(scope="module")
def simulation(scans):
    """How the scans are made, without noise."""
    parameters = dict(scans.spec.parameters)
    return Simulation(**parameters | {"noise": 0.0, "count_type": "float32"})


def centre_of_beam(simulation, patterns):
    """Return the centre of mass about the direct beam, ``(2,)`` [published pixels]."""
    places = simulation.detector.places
    near = np.abs(places) < 12
    middle = patterns[..., near, :][..., near].sum(axis=(0, 1)).astype(float)
    return np.array([middle.sum(axis=1 - axis) @ places[near] for axis in (0, 1)]) / middle.sum()


def test_the_beam_moves_by_what_is_said(simulation):
    moved = centre_of_beam(simulation, patterns_with(DISTORTION, simulation, ROWS, 1, 0))
    np.testing.assert_allclose(moved, simulation.beam_offset + BEAM_SHIFT, atol=0.02)


def test_an_elliptical_detector_stretches_every_pattern_alike(simulation):
    found = patterns_with(DISTORTION, simulation, ROWS[:1], 1, 0)[0]
    off = replace(simulation, beam_offset=simulation.beam_offset + BEAM_SHIFT)
    columns = simulation.column_places
    positions = np.stack([np.full_like(columns, simulation.row_places[0]), columns], axis=1)
    beam = beam_at("published", positions, simulation.probe_radius, 0, 1)
    stretch = np.diag([1 + ELLIPTICITY / 2, 1 - ELLIPTICITY / 2])
    expected = off.expected(stretch @ deformation(beam.strain, beam.rotation), beam.shares)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_hot_pixels_and_dead_rows_say_the_same_in_every_pattern(simulation):
    simulation = replace(simulation, noise=0.25)  # a background everywhere
    patterns = patterns_with(ARTEFACTS, simulation, ROWS, 1, 0).reshape(36, -1)
    alike = (patterns == patterns[0]).all(axis=0)
    n = simulation.n_pixels
    assert alike.sum() == pytest.approx(DEAD_ROWS * n + HOT_PIXELS * n * n, abs=2)
    assert ((patterns[0] == 0).reshape(n, n).all(axis=1)).sum() == DEAD_ROWS
    hot = patterns[0][alike & (patterns[0] > 0)]
    assert len(set(hot)) == 1


def test_another_seed_draws_other_faults(simulation):
    one, same, other = (
        patterns_with(ARTEFACTS, simulation, ROWS[:2], 1, seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_patterns_are_replaced_in_their_rows_alone(scans):
    rows = np.arange(12, 18)
    other = np.broadcast_to(np.arange(6)[:, None, None, None], scans.array("patterns")[:6].shape)
    positions = Replaced(scans, rows, other)
    numbers = positions.of_rows(rows)
    assert (positions.of("patterns", numbers)[:, 0, 0] == np.repeat(np.arange(6), 6)).all()
    np.testing.assert_array_equal(
        positions.of("grain", numbers), scans.array("grain")[12:18].ravel()
    )
