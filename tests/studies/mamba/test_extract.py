"""The structure read off the true field is the true one; noise, outliers and gaps do no harm."""

import functools

import numpy as np
import pytest

from repro.errors import ReproError
from repro.evaluation.resampling import Resampling
from repro.studies.mamba import density, extract, simulate
from repro.studies.mamba.extract import Structure

pytestmark = pytest.mark.slow

ROUGH_11_TO_13 = simulate.Film(n_layers=13, n_layers_varied=2, rough=True)
TWELVE = simulate.Film()
FILMS = {
    "4 layers": simulate.Film(n_layers=4),
    "12 layers": TWELVE,
    "24 layers": simulate.Film(n_layers=24),
    "4 layers, rough": simulate.Film(n_layers=4, rough=True),
    "12 layers, rough": simulate.Film(rough=True),
    "11 to 13 layers, rough": ROUGH_11_TO_13,
    "11 to 13 layers, flat": simulate.Film(n_layers=13, n_layers_varied=2),
    "4 to 6 layers, rough": simulate.Film(n_layers=6, n_layers_varied=2, rough=True),
}


@functools.cache
def simulated(film, n=300):
    films = simulate.films(0, n, 1, vars(film))
    occupancy = extract.final_occupancy(film, films["occupancy"], films["n_cells"])
    true = Structure(films["z_atoms"], films["p_intermixing"], occupancy)
    return films["field_real"] + 1j * films["field_imag"], true


@functools.cache
def extracted(film):
    return extract.extract(film, simulated(film)[0])


def scores(film, true, found):
    films = Resampling("film", np.arange(len(true.occupancy)))
    return {n: score.value for n, score in extract.r2_by_layer(film, true, found, films).items()}


def scores_of(scores, names):
    return {key: value for key, value in scores.items() if key.split("/")[1] in names}


@pytest.mark.parametrize("film", FILMS.values(), ids=FILMS.keys())
def test_ceiling_from_the_true_field(film):
    found = scores(film, simulated(film)[1], extracted(film))
    assert min(scores_of(found, {"c"}).values()) > 0.9995
    assert min(found.values()) > 0.998


@pytest.mark.parametrize("film", FILMS.values(), ids=FILMS.keys())
def test_every_quantity_and_layer_has_a_score(film):
    found = scores(film, simulated(film)[1], extracted(film))
    layers = film.n_layers
    expected = {f"r2/c/{i:02d}" for i in range(1, layers)} | {f"r2/p/0{i}" for i in range(1, 5)}
    expected |= {f"r2/{s}/{i:02d}" for s in simulate.SITES[1:] for i in range(1, layers + 1)}
    if film.rough or film.n_layers_varied:
        expected.add("r2/occupancy/01")
    assert set(found) == expected


def test_atoms_are_found_to_a_thousandth_of_an_angstrom():
    error = np.abs(extracted(TWELVE).z_atoms - simulated(TWELVE)[1].z_atoms)
    assert error.max() < 2e-3


def test_peaks_alone_are_good_starts():
    field, true = simulated(TWELVE)
    z = extract.find_peaks(TWELVE, density.column_fields(field))
    assert np.abs(z - true.z_atoms).max() < 0.05


def test_fit_separates_o1_from_aluminium_better_than_peaks():
    field, true = simulated(TWELVE)
    in_film = (slice(None), slice(9, None), simulate.SITES.index("O1"))
    peaks = extract.find_peaks(TWELVE, density.column_fields(field))[in_film]
    fitted = extracted(TWELVE).z_atoms[in_film]
    expected = true.z_atoms[in_film]
    assert np.std(fitted - expected) < 0.2 * np.std(peaks - expected)


def test_noise_of_a_network_lowers_the_scores_but_breaks_nothing():
    field, true = simulated(TWELVE)
    random = np.random.default_rng(0)
    noise = random.normal(size=(2, *field.shape))
    noisy = field + 0.15 * (
        field.real.std(axis=0) * noise[0] + 1j * field.imag.std(axis=0) * noise[1]
    )
    found = scores(TWELVE, true, extract.extract(TWELVE, noisy))
    assert min(scores_of(found, {"c", "B", "p"}).values()) > 0.98
    assert min(found.values()) > 0.9


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_a_meaningless_field_gives_a_possible_structure(scale):
    random = np.random.default_rng(0)
    field = scale * random.normal(size=(40, 16, 240)).astype(np.complex64)
    structure = extract.extract(ROUGH_11_TO_13, field)
    c = np.diff(structure.z_atoms[:, :, 0], axis=1)
    assert (np.abs(c - ROUGH_11_TO_13.nominal_c[:-1]) <= 0.12 + 1e-9).all()
    assert np.isfinite(structure.z_atoms).all()
    np.testing.assert_allclose(structure.p_intermixing.sum(axis=1), 2)
    assert structure.p_intermixing.min() >= 0
    assert structure.occupancy.min() >= 0.3
    assert structure.occupancy.max() <= 3


def test_a_film_is_extracted_alike_alone_and_among_others():
    field, _ = simulated(ROUGH_11_TO_13)
    alone = extract.extract(ROUGH_11_TO_13, field[70:71])
    among = extract.extract(ROUGH_11_TO_13, field[:100])
    np.testing.assert_allclose(alone.z_atoms[0], among.z_atoms[70], atol=1e-9)
    np.testing.assert_allclose(alone.occupancy[0], among.occupancy[70], atol=1e-9)


def test_flat_films_are_full():
    np.testing.assert_array_equal(extracted(TWELVE).occupancy, 1.0)


def test_final_occupancy_joins_thickness_and_roughness():
    occupancy = extract.final_occupancy(
        ROUGH_11_TO_13, np.array([0.3, 1.0, 0.4]), np.array([12, 12, 14])
    )
    np.testing.assert_allclose(occupancy, [0.3, 1.0, 2.4])
    fixed = simulate.Film(rough=True)
    np.testing.assert_allclose(extract.final_occupancy(fixed, np.array([0.6]), 13), [0.6])


@pytest.mark.parametrize("film", [TWELVE, ROUGH_11_TO_13], ids=["12", "11 to 13"])
def test_outlier_rule_leaves_every_possible_film_alone(film):
    z = simulate.draw_structures(0, 500, 0, film)["z_atoms"]
    np.testing.assert_allclose(extract.replace_outliers(film, z), z, atol=1e-9)


def test_outlier_rule_puts_the_nominal_value_beyond_ten_per_cent():
    z = np.cumsum(TWELVE.nominal_c) - TWELVE.nominal_c
    z = z[None, :, None] + TWELVE.nominal_c[:, None] * simulate.SITE_Z
    far, near = z.copy(), z.copy()
    far[0, 5] += 0.13  # cell 4 too high, cell 5 too low
    far[0, 3, 1] -= 0.3
    np.testing.assert_allclose(extract.replace_outliers(TWELVE, far), z)
    near[0, 5] += 0.11
    near[0, 3, 1] -= 0.25
    np.testing.assert_allclose(extract.replace_outliers(TWELVE, near), near)


def test_fractions_move_to_the_nearest_possible_ones():
    possible = np.array([[1.0, 0.6, 0.3, 0.1]])
    np.testing.assert_allclose(extract.nearest_fractions(possible), possible, atol=1e-9)
    impossible = np.array([[1.2, 1.0, 0.1, -0.1], [0.2, 0.2, 0.2, 0.2], [3.0, 3.0, 3.0, 3.0]])
    nearest = extract.nearest_fractions(impossible)
    np.testing.assert_allclose(nearest[0], [1.0, 0.95, 0.05, 0.0], atol=1e-9)
    np.testing.assert_allclose(nearest[1:], 0.5, atol=1e-9)


def test_scored_quantities_are_distances_to_the_cell_below():
    _, true = simulated(TWELVE)
    quantities = extract.scored_quantities(TWELVE, **vars(true))
    assert {name: values.shape[1] for name, values in quantities.items()} == {
        "c": 11, "B": 12, "O1": 12, "O2": 12, "O3": 12, "p": 4,
    }  # fmt: skip
    c = simulate.draw_structures(0, 300, 1, TWELVE)["c_spacing"]
    np.testing.assert_allclose(quantities["c"], c[:, 1:-1])
    np.testing.assert_allclose(
        quantities["O1"][:, 4], true.z_atoms[:, 5, 2] - true.z_atoms[:, 4, 2]
    )


def test_scores_of_the_truth_are_one_and_of_the_mean_zero():
    _, true = simulated(ROUGH_11_TO_13)
    assert set(scores(ROUGH_11_TO_13, true, true).values()) == {1.0}
    _, twelve = simulated(TWELVE)
    mean = Structure(*(np.broadcast_to(a.mean(axis=0), a.shape) for a in vars(twelve).values()))
    found = scores(TWELVE, twelve, mean)
    np.testing.assert_allclose(list(found.values()), 0, atol=1e-9)


def test_atoms_of_absent_cells_are_not_scored():
    _, true = simulated(ROUGH_11_TO_13)
    z = true.z_atoms.copy()
    z[true.occupancy <= 2, 13] += 5
    z[true.occupancy <= 1, 12] += 5
    found = Structure(z, true.p_intermixing, true.occupancy)
    assert set(scores(ROUGH_11_TO_13, true, found).values()) == {1.0}
    z[:, 11] += 5
    assert scores(ROUGH_11_TO_13, true, found)["r2/c/10"] < 0


def test_density_slices_show_every_atom_at_its_place():
    field, true = simulated(TWELVE)
    x, z = np.linspace(0, 3.905, 5), np.arange(-2, 52, 0.02)
    for y, sites in [(0, {"A": 0, "O3": 2}), (3.905 / 2, {"B": 2, "O2": 0})]:
        image = density.density_slice(field[0], y, x, z)
        assert image.shape == (len(z), 5)
        for site, column in sites.items():
            for height in true.z_atoms[0, 1:, simulate.SITES.index(site)]:
                near = np.abs(z - height) < 0.4
                assert z[near][image[near, column].argmax()] == pytest.approx(height, abs=0.06)


def test_column_density_is_the_slice_at_the_column():
    field, _ = simulated(TWELVE)
    z = np.arange(0, 50) * density.Z_STEP
    slice_a = density.density_slice(field[0], 0.0, np.array([0.0]), z)[:, 0]
    column_a = density.to_density(density.column_fields(field[0]))[0, :50]
    assert np.corrcoef(slice_a, column_a)[0, 1] == pytest.approx(1)


def test_wrong_input_is_refused():
    with pytest.raises(ReproError, match="not flattened"):
        extract.extract(TWELVE, np.zeros((2, 3840), complex))
    with pytest.raises(ReproError, match="at most 37 layers"):
        extract.extract(simulate.Film(n_layers=60), np.zeros((2, 16, 240), complex))
