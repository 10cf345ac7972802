"""Constants, form factors, projected potential and transmission against textbooks and slow sums."""

import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.interface_dcnn.potential import (
    LOBATO,
    POTENTIAL_PER_FORM_FACTOR,
    Grid,
    form_factor,
    interaction_parameter,
    projected_potential,
    transmission_function,
    wavelength,
)

BOHR_RADIUS = 0.529177211  # [Å]
ATOMIC_NUMBERS = {"O": 8, "Al": 13, "Ti": 22, "Sr": 38, "La": 57}
# f(0) [Å] of the International Tables C, table 4.3.1.1; oxygen's comes from other wave functions.
FORWARD_SCATTERING = {"O": 1.983, "Al": 5.889, "Ti": 8.776, "Sr": 13.109, "La": 17.805}
GRID = Grid((24, 20), (6.1, 4.3))
ATOMS = {"La": np.array([[0.3, 4.1], [2.9, 1.7]]), "O": np.array([[5.55, 0.02]])}


def shifted(atoms, x, y):
    return {element: positions + np.array([x, y]) for element, positions in atoms.items()}


def slow_potential(grid, atoms):
    """Add up the waves of all atoms one by one, over all frequencies of the grid."""
    x, y = (np.arange(n) * s / n for n, s in zip(grid.shape, grid.size, strict=True))
    potential = np.zeros(grid.shape)
    for k_x in grid.frequencies[0].ravel():
        for k_y in grid.frequencies[1].ravel():
            for element, positions in atoms.items():
                factor = form_factor(element, np.hypot(k_x, k_y))
                for at_x, at_y in positions:
                    phase = 2 * np.pi * (k_x * (x[:, None] - at_x) + k_y * (y - at_y))
                    potential += factor * np.cos(phase)
    return POTENTIAL_PER_FORM_FACTOR * potential / np.prod(grid.size)


# Constants


@pytest.mark.parametrize(
    ("energy", "expected"), [(100.0, 0.0370144), (200.0, 0.0250793), (300.0, 0.0196875)]
)
def test_wavelength_is_the_textbook_one(energy, expected):
    assert wavelength(energy) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(
    ("energy", "expected"), [(100.0, 9.2440e-4), (200.0, 7.2884e-4), (300.0, 6.5262e-4)]
)
def test_interaction_parameter_is_the_textbook_one(energy, expected):
    assert interaction_parameter(energy) == pytest.approx(expected, rel=1e-5)


# Form factors


@pytest.mark.parametrize("element", LOBATO)
def test_forward_scattering_is_that_of_other_tables(element):
    forward = form_factor(element, np.zeros(1))[0]
    tolerance = 0.03 if element == "O" else 1e-3
    assert forward == pytest.approx(FORWARD_SCATTERING[element], rel=tolerance)


@pytest.mark.parametrize("element", LOBATO)
def test_scattering_to_high_angles_is_rutherfords(element):
    k = np.array([20.0, 100.0, 1000.0])
    rutherford = ATOMIC_NUMBERS[element] / (2 * np.pi**2 * BOHR_RADIUS * k**2)
    ratio = form_factor(element, k) / rutherford
    assert (np.abs(ratio - 1) < [0.05, 1e-3, 1e-5]).all()
    assert (np.diff(ratio) > 0).all(), "the electrons do not screen the nucleus"


def test_form_factors_fall_with_angle_and_rise_with_the_atomic_number():
    k = np.linspace(0, 6, 200)
    factors = np.stack([form_factor(element, k) for element in ATOMIC_NUMBERS])
    assert (np.diff(factors, axis=1) < 0).all()
    assert (np.diff(factors[:, k > 1], axis=0) > 0).all()


def test_an_element_without_form_factor_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ReproError, match="no form factor of 'Xx' here: use O, Al, Ti, Sr, La"):
        projected_potential(GRID, {"Xx": np.zeros((1, 2))})


# Projected potential


@pytest.mark.parametrize("shape", [(9, 11), (9, 10), (10, 9)], ids=str)
def test_potential_equals_the_slow_sum_over_atoms_wherever_they_stand(shape):
    grid = Grid(shape, (3.9, 4.3))
    np.testing.assert_allclose(
        projected_potential(grid, ATOMS), slow_potential(grid, ATOMS), atol=1e-9
    )


def test_potential_is_real_and_its_mean_is_the_forward_scattering_over_the_area():
    potential = projected_potential(GRID, ATOMS)
    forward = 2 * form_factor("La", np.zeros(1))[0] + form_factor("O", np.zeros(1))[0]
    expected = POTENTIAL_PER_FORM_FACTOR * forward / np.prod(GRID.size)
    assert (potential.dtype, potential.shape) == (np.float64, GRID.shape)
    assert potential.mean() == pytest.approx(expected, rel=1e-12)


def test_atoms_moved_by_whole_points_move_the_potential():
    points, (d_x, d_y) = (5, -3), np.divide(GRID.size, GRID.shape)
    moved = projected_potential(GRID, shifted(ATOMS, 5 * d_x, -3 * d_y))
    expected = np.roll(projected_potential(GRID, ATOMS), points, axis=(0, 1))
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_atoms_moved_by_a_cell_leave_the_potential():
    there = projected_potential(GRID, shifted(ATOMS, GRID.size[0], -2 * GRID.size[1]))
    np.testing.assert_allclose(there, projected_potential(GRID, ATOMS), atol=1e-9)


def test_a_finer_grid_keeps_the_frequencies_of_the_coarser():
    coarse, fine = (
        np.fft.fft2(projected_potential(Grid(shape, GRID.size), ATOMS)) / np.prod(shape)
        for shape in (GRID.shape, (48, 40))
    )
    np.testing.assert_allclose(coarse[:12, :10], fine[:12, :10], atol=1e-12)


def test_an_atom_is_brightest_where_it_stands():
    d_x, d_y = np.divide(GRID.size, GRID.shape)
    potential = projected_potential(GRID, {"Sr": np.array([[7 * d_x, 4 * d_y]])})
    assert np.unravel_index(potential.argmax(), GRID.shape) == (7, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_atom_nowhere_is_refused(bad):
    with pytest.raises(ReproError, match="positions of O hold 1 numbers that are not finite"):
        projected_potential(GRID, {"O": np.array([[0.0, bad]])})


# Band limit and transmission


def test_band_limit_is_two_thirds_of_the_lower_nyquist_frequency():
    assert GRID.cutoff == pytest.approx(2 / 3 * 24 / (2 * 6.1))
    assert (GRID.band[GRID.k > GRID.cutoff] == 0).all()
    assert (GRID.band[GRID.k < 0.96 * GRID.cutoff] == 1).all()
    assert ((GRID.band >= 0) & (GRID.band <= 1)).all()


def test_products_within_the_band_do_not_fold_over():
    # Two waves just below the limit: their product, folded over, must lie beyond it.
    k = np.fft.fftfreq(48, 1 / 48)
    below = np.abs(k) <= 48 / 3
    products = (k[below][:, None] + k[below]).ravel()
    folded = (products + 24) % 48 - 24
    assert (np.abs(folded[np.abs(products) > 24]) >= 48 / 3).all()


def test_a_weak_potential_turns_the_phase_by_sigma_times_itself():
    potential = projected_potential(GRID, ATOMS) * 1e-6
    within = np.fft.ifft2(np.fft.fft2(potential) * GRID.band)
    expected = 1 + 1j * interaction_parameter(100.0) * within
    function = transmission_function(GRID, potential, 100.0)
    assert function.dtype == np.complex64
    np.testing.assert_allclose(function - 1, expected - 1, atol=2e-7)


def test_a_smooth_potential_changes_phases_only():
    x = np.arange(24)[:, None] / 24
    potential = 100 * np.cos(2 * np.pi * x) * np.ones(20)
    function = transmission_function(GRID, potential, 100.0)
    np.testing.assert_allclose(function, np.exp(9.2440e-4j * potential), atol=1e-6)


def test_nothing_of_a_transmission_function_lies_beyond_the_band_limit():
    spectrum = np.fft.fft2(transmission_function(GRID, projected_potential(GRID, ATOMS), 100.0))
    assert np.abs(spectrum[GRID.k > GRID.cutoff]).max() < 1e-6 * np.abs(spectrum).max()


def test_a_potential_that_is_not_finite_is_refused_with_the_count():
    potential = np.zeros(GRID.shape)
    potential[3, [1, 4]] = np.nan
    with pytest.raises(ReproError, match="potential hold 2 numbers that are not finite"):
        transmission_function(GRID, potential, 100.0)


def test_a_potential_of_another_grid_is_refused():
    with pytest.raises(ReproError, match=r"shape \(20, 24\), but its grid \(24, 20\)"):
        transmission_function(GRID, np.zeros((20, 24)), 100.0)
