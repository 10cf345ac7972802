"""The forward model against slow sums, symmetries, and the authors' published statistics."""

import os
from pathlib import Path

import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.mamba import simulate

pytestmark = pytest.mark.slow

TWELVE = {"n_layers": 12}
ROUGH = {"n_layers": 12, "rough": True}
ROUGH_11_TO_13 = {"n_layers": 13, "n_layers_varied": 2, "rough": True}
BRAGG_L = np.isin(np.round(simulate.L, 3), [1, 2, 3, 4, 5, 6])


def slow_form_factor(species, h, k, l):  # noqa: E741
    *ab, constant = simulate.FORM_FACTORS[species[0] if species[0] == "O" else species]
    q = np.sqrt(h**2 + k**2 + l**2) * 2 * np.pi / 3.905
    atom = constant
    for i in range(4):
        atom += ab[i] * np.exp(-ab[4 + i] * (q / (4 * np.pi)) ** 2)
    return atom * np.exp(-(q**2) * simulate.DISPLACEMENTS[species] / 2)


def slow_field(h, k, l, z_atoms, strontium, n_aluminate, filling):  # noqa: E741
    """Add up eq. 2 of the paper atom by atom."""
    q_z, field = 2 * np.pi * l / 3.905, 0.0
    for cell, heights in enumerate(z_atoms):
        aluminate = cell >= len(z_atoms) - n_aluminate
        b = slow_form_factor("Al" if aluminate else "Ti", h, k, l)
        share = strontium[cell]
        a = share * slow_form_factor("Sr", h, k, l)
        a = a + (1 - share) * slow_form_factor("La", h, k, l)
        oxygen = [slow_form_factor(name, h, k, l) for name in ("O1", "O2", "O3")]
        for atom, (x, y), z in zip([a, b, *oxygen], simulate.SITE_XY, heights, strict=True):
            field += filling[cell] * atom * np.exp(2j * np.pi * (h * x + k * y) + 1j * q_z * z)
    return field


def field_of(films):
    return films["field_real"] + 1j * films["field_imag"].astype(np.complex128)


@pytest.fixture(scope="module")
def twelve():
    return simulate.films(0, 50, 0, TWELVE)


def test_field_equals_the_slow_sum_over_atoms():
    film = simulate.Film(**ROUGH_11_TO_13)
    structures = simulate.draw_structures(0, 3, 5, film)
    n_missing = np.array([0, 1, 2])
    fractions = simulate.cell_fractions(
        film, structures["p_intermixing"], n_missing, structures["occupancy"]
    )
    field = simulate.film_field(structures["z_atoms"], fractions)
    for i in range(3):
        strontium = np.r_[np.ones(7), structures["p_intermixing"][i], np.zeros(3)]
        top = 13 - n_missing[i]
        filling = np.r_[np.ones(top), structures["occupancy"][i], np.zeros(n_missing[i])]
        for rod, point in [(0, 0), (1, 100), (7, 239), (8, 39), (14, 170)]:
            h, k, l = rod % 4, rod // 4, 0.025 * (point + 1)  # noqa: E741
            slow = slow_field(h, k, l, structures["z_atoms"][i], strontium, 5, filling)
            assert field[i, rod, point] == pytest.approx(slow, rel=1e-10, abs=1e-9)


def test_bulk_closed_form_is_the_sum_over_an_absorbing_crystal():
    absorption, depth = 1e-3, np.arange(1, 15_001)
    phase = 2 * np.pi * np.outer(simulate.L[~BRAGG_L], depth)
    stack = (np.exp(-1j * phase) * np.exp(-absorption * depth)).sum(axis=1)
    for rod in (0, 1, 5, 14):
        cell = slow_field(rod % 4, rod // 4, simulate.L, [simulate.SITE_Z * 3.905], [1.0], 0, [1.0])
        bulk = simulate.bulk_field()[rod, ~BRAGG_L]
        np.testing.assert_allclose(bulk, cell[~BRAGG_L] * stack, rtol=1e-2)


def test_bulk_alone_is_the_textbook_truncation_rod():
    l = simulate.L[~BRAGG_L]  # noqa: E741
    cell = slow_field(1, 1, l, [simulate.SITE_Z * 3.905], [1.0], 0, [1.0])
    expected = np.abs(cell) ** 2 / (4 * np.sin(np.pi * l) ** 2)
    log_intensity = simulate.log_intensity(np.zeros((16, 240)))[5, ~BRAGG_L]
    np.testing.assert_allclose(np.exp(log_intensity), expected, rtol=1e-9)


def test_a_full_cell_on_the_bulk_is_more_bulk():
    cell = simulate.film_field(
        simulate.SITE_Z[None, None] * 3.905, np.array([1.0, 0, 1, 0, 1, 1])[None, :, None]
    )[0]
    grown = (simulate.bulk_field() + cell) * np.exp(-1j * simulate.Q_Z * 3.905)
    difference = (grown - simulate.bulk_field())[:, ~BRAGG_L]
    assert np.abs(difference).max() < 1e-9


def test_one_atom_scatters_its_form_factor_with_the_phase_of_its_height():
    z, only_lanthanum = 3.3, np.array([0.0, 1, 0, 0, 0, 0])
    field = simulate.film_field(np.full((1, 1, 5), z), only_lanthanum[None, :, None])[0]
    for rod in (0, 6, 15):
        atom = slow_form_factor("La", rod % 4, rod // 4, simulate.L)
        np.testing.assert_allclose(field[rod], atom * np.exp(1j * simulate.Q_Z * z), rtol=1e-10)


def test_lifting_all_atoms_turns_the_phase():
    film = simulate.Film()
    structures = simulate.draw_structures(0, 2, 0, film)
    fractions = simulate.cell_fractions(film, structures["p_intermixing"])
    field = simulate.film_field(structures["z_atoms"], fractions)
    lifted = simulate.film_field(structures["z_atoms"] + 0.7, fractions)
    np.testing.assert_allclose(lifted, field * np.exp(0.7j * simulate.Q_Z), atol=1e-9)


def test_rods_hk_and_kh_are_equal_as_o2_and_o3_share_one_height(twelve):
    field = field_of(twelve).reshape(-1, 4, 4, 240)
    np.testing.assert_allclose(field, field.transpose(0, 2, 1, 3), rtol=1e-5, atol=1e-4)


def test_phases_equal_the_exponential():
    z = np.linspace(-2, 100, 7).reshape(7, 1)
    np.testing.assert_allclose(
        simulate.phases(z), np.exp(1j * simulate.Q_Z * z[..., None]), atol=1e-11
    )


def test_site_phases_are_the_in_plane_exponentials():
    for site, (x, y) in zip(simulate.SITES, simulate.SITE_XY, strict=True):
        expected = np.exp(2j * np.pi * (simulate.ROD_H * x + simulate.ROD_K * y))
        np.testing.assert_allclose(simulate.site_phase(site), expected, atol=1e-12)


def test_intensity_is_finite_and_masked_at_the_bragg_points(twelve):
    log_intensity = twelve["log_intensity"]
    assert np.isfinite(log_intensity).all()
    assert (log_intensity[..., BRAGG_L] == 0).all()
    total = simulate.bulk_field() + field_of(twelve)
    expected = 2 * np.log(np.abs(total[..., ~BRAGG_L]))
    np.testing.assert_allclose(log_intensity[..., ~BRAGG_L], expected, rtol=1e-3, atol=1e-3)


def test_grid_and_rod_order_are_the_published_ones():
    assert (simulate.L[0], simulate.L[-1], len(simulate.L)) == (0.025, 6.0, 240)
    np.testing.assert_array_equal(simulate.ROD_H[:5], [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(simulate.ROD_K[:5], [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(simulate.BRAGG, BRAGG_L)


def test_published_film_has_eight_titanate_and_four_aluminate_layers():
    film = simulate.Film()
    assert (film.n_cells, film.n_aluminate) == (13, 4)
    assert (film.intermixed.start, film.intermixed.stop) == (7, 11)
    assert simulate.Film(**ROUGH_11_TO_13).first_aluminate == film.first_aluminate


def test_draws_stay_in_their_ranges_and_fill_them():
    film = simulate.Film()
    structures = simulate.draw_structures(0, 2000, 0, film)
    c, z, p = (structures[name] for name in ("c_spacing", "z_atoms", "p_intermixing"))
    for draw, half_width in [
        ((c - film.nominal_c)[:, 1:], 0.1),
        (((z - z[:, :, :1]) / c[..., None] - simulate.SITE_Z)[:, 1:, 1:], 0.05),
    ]:
        assert np.abs(draw).max() <= half_width * (1 + 1e-9)
        assert np.abs(draw).max() > 0.99 * half_width
        assert draw.std() == pytest.approx(half_width / np.sqrt(3), rel=0.02)
    np.testing.assert_allclose(z[:, 1:, 0], c.cumsum(axis=1)[:, :-1])
    np.testing.assert_array_equal(z[:, :, 3], z[:, :, 4])
    np.testing.assert_allclose(p.sum(axis=1), 2)
    assert p.min() >= 0
    assert p.max() <= 1
    assert (structures["occupancy"] == 1).all()
    assert (structures["n_missing"] == 0).all()


def test_dummy_cell_is_nominal():
    structures = simulate.draw_structures(0, 20, 0, simulate.Film())
    expected = np.tile(simulate.SITE_Z * 3.905, (20, 1))
    np.testing.assert_array_equal(structures["z_atoms"][:, 0], expected)
    np.testing.assert_array_equal(structures["c_spacing"][:, 0], 3.905)


def test_rough_films_vary_in_occupancy_and_thickness():
    structures = simulate.draw_structures(0, 2000, 0, simulate.Film(**ROUGH_11_TO_13))
    assert structures["occupancy"].min() == pytest.approx(0.3, abs=0.01)
    assert structures["occupancy"].max() == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose(np.bincount(structures["n_missing"]) / 2000, 1 / 3, atol=0.04)
    n_cells = simulate.films(0, 100, 0, ROUGH_11_TO_13)["n_cells"]
    assert set(n_cells) == {12, 13, 14}


def test_a_film_depends_on_its_index_and_the_seed_only():
    whole, part = simulate.films(0, 12, 3, ROUGH), simulate.films(5, 9, 3, ROUGH)
    other = simulate.films(5, 9, 4, ROUGH)
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][5:9], err_msg=name)
    for name in ("log_intensity", "field_real", "z_atoms", "p_intermixing", "occupancy"):
        assert not np.array_equal(part[name], other[name]), name
    assert len(np.unique(whole["occupancy"])) == 12


def test_a_film_too_thin_for_the_interface_is_refused():
    with pytest.raises(ReproError, match="too thin"):
        simulate.Film(n_layers=5, n_layers_varied=2)


# Against the authors' data


def statistics(n, parameters):
    """Mean and σ per point of the real field, mean and σ of the log intensity, in chunks."""
    sums, squares, log_sum, log_squares = 0.0, 0.0, 0.0, 0.0
    for start in range(0, n, 100):
        films = simulate.films(start, start + 100, 0, parameters)
        field = films["field_real"].reshape(100, -1).astype(np.float64)
        log_intensity = films["log_intensity"].ravel().astype(np.float64)
        sums, squares = sums + field.sum(axis=0), squares + np.einsum("np,np->p", field, field)
        log_sum += log_intensity.sum()
        log_squares += log_intensity @ log_intensity
    mean, log_mean = sums / n, log_sum / (n * 3840)
    deviation = np.sqrt(squares / n - mean**2)
    return mean, deviation, log_mean, np.sqrt(log_squares / (n * 3840) - log_mean**2)


def reference():
    root = Path(__file__).parents[3]
    folder = Path(os.environ.get("REPRO_REFERENCE_DATA", root.parent / "shared" / "refs"))
    path = folder / "mamba" / "field_real_statistics_12L.npz"
    if not path.exists():
        pytest.skip("the authors' statistics are not here: set REPRO_REFERENCE_DATA")
    with np.load(path) as arrays:
        return arrays["mean"], arrays["std"]


def test_statistics_equal_the_authors_of_101_000_films():
    reference_mean, reference_deviation = reference()
    n = 20_000
    mean, deviation, log_mean, log_deviation = statistics(n, TWELVE)
    error = np.abs(mean - reference_mean) / (reference_deviation / np.sqrt(n))
    assert error.max() < 5
    assert np.sqrt((error**2).mean()) < 1.3
    np.testing.assert_allclose(deviation / reference_deviation, 1, atol=0.02)
    assert log_mean == pytest.approx(6.3768, abs=0.005)
    assert log_deviation == pytest.approx(1.9830, abs=0.005)


@pytest.mark.parametrize(
    ("parameters", "log_mean", "log_deviation"),
    [(ROUGH, 6.0755, 2.0798), (ROUGH_11_TO_13, 6.03, 2.10)],
    ids=["12 layers: the authors' published numbers", "11 to 13 layers: the paper's text"],
)
def test_authors_rough_set_has_twelve_layers_not_11_to_13(parameters, log_mean, log_deviation):
    *_, mean, deviation = statistics(4000, parameters)
    assert mean == pytest.approx(log_mean, abs=0.012)
    assert deviation == pytest.approx(log_deviation, abs=0.012)
