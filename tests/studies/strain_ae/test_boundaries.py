"""How wide the step is that a map shows at a boundary."""

from dataclasses import replace

import numpy as np
import pytest

from repro.studies.strain_ae.boundaries import (
    crystals,
    patterns_across,
    share_beyond,
    shares_of_step,
    width,
)
from repro.studies.strain_ae.lattice import deformation
from repro.studies.strain_ae.scoring import simulation_of

PLACES = np.linspace(-8, 8, 81)


def test_the_share_of_a_round_beam_is_its_area():
    side = np.linspace(-1, 1, 401)
    x, y = np.meshgrid(side, side)
    inside = x**2 + y**2 <= 1
    for place in (-2.5, -1.3, 0.0, 0.4, 2.5):
        area = (inside & (2 * x + place > 0)).sum() / inside.sum()
        assert share_beyond(np.array([place]), 2.0)[0] == pytest.approx(area, abs=4e-3)


def test_a_beam_without_extent_meets_one_crystal():
    assert share_beyond(np.array([-0.1, 0.1]), 0.0).tolist() == [0, 1]


def test_patterns_far_from_the_boundary_are_of_one_crystal(scans):
    simulation = replace(simulation_of(scans.spec), noise=0.0, count_type="float64", n_columns=5)
    patterns = patterns_across(simulation, 2, seed=3)
    strain, rotation = crystals(2, seed=3)
    for side, column in ((0, 0), (1, -1)):
        deformed = deformation(strain[:, side], rotation[:, side])[:, None]
        expected = simulation.expected(deformed, np.ones((2, 1)))
        np.testing.assert_allclose(patterns[:, column], expected, rtol=1e-9)


def test_what_is_mixed_by_share_shows_the_shares():
    strain, _ = crystals(4, seed=0)
    shares = np.linspace(0, 1, 7)
    found = strain[:, None, 0] + shares[:, None] * (strain[:, 1] - strain[:, 0])[:, None]
    np.testing.assert_allclose(shares_of_step(found, strain), np.tile(shares, (4, 1)), atol=1e-12)


def test_the_width_of_a_ramp_is_four_fifths_of_it():
    ramp = np.clip(PLACES / 4 + 0.5, 0, 1)
    assert width(PLACES, ramp) == pytest.approx(0.8 * 4)
    noise = np.random.default_rng(0).normal(0, 0.02, 81)
    assert width(PLACES, ramp + noise) == pytest.approx(0.8 * 4, rel=0.15)


def test_a_map_that_misses_the_step_is_as_wide_as_all_positions():
    assert width(PLACES, np.full(81, 0.5)) == 16
