import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.mamba import simulate
from repro.studies.mamba.film_model import FilmModel, measurement
from repro.studies.mamba.refine import RefinementSettings, refine
from repro.studies.mamba.simulate import Film

pytestmark = pytest.mark.slow

FILM = Film(12)
ONE_START = RefinementSettings(starts=1)


def simulated(film, n, seed=3):
    structures = simulate.draw_structures(0, n, seed, film)
    fractions = simulate.cell_fractions(
        film,
        structures["p_intermixing"],
        structures["n_missing"],
        structures["occupancy"],
    )
    field = simulate.film_field(structures["z_atoms"], fractions)
    return structures, simulate.log_intensity(field)


def shifted(structures, sigma, seed=0):
    random = np.random.default_rng(seed)
    z = structures["z_atoms"].copy()
    z[:, 1:, :4] += sigma * random.standard_normal(z[:, 1:, :4].shape)
    z[..., 4] = z[..., 3]
    return z, structures["p_intermixing"] + 0.3 * sigma


def largest_error(refinement, structures):
    return np.abs(refinement.z_atoms - structures["z_atoms"]).max(axis=(1, 2))


@pytest.mark.parametrize("film", [FILM, Film(4, rough=True), Film(13, 2, rough=True)])
def test_jacobian_equals_finite_differences(film):
    structures = simulate.draw_structures(0, 2, 5, film)
    data = measurement(np.zeros((2, 16, 240)))
    model = FilmModel(film, film.n_layers_varied, data.rods, data.points)
    parameters = model.pack(structures["z_atoms"], structures["p_intermixing"], 0.6)
    waves, field = model.field(parameters)
    jacobian = model.jacobian(parameters, waves, field)
    for column in range(1, model.n_parameters):
        step = np.zeros(model.n_parameters)
        step[column] = 1e-6
        above, below = (model.field(parameters + s)[1] for s in (step, -step))
        numeric = (np.log(np.abs(above) ** 2) - np.log(np.abs(below) ** 2)) / 2e-6
        scale = np.abs(numeric).max()
        np.testing.assert_allclose(jacobian[:, column] / scale, numeric / scale, atol=1e-5)


def test_model_agrees_with_the_simulator_for_missing_cells_and_a_rough_top():
    film = Film(13, 2, rough=True)
    structures, log_intensity = simulated(film, 12)
    data = measurement(log_intensity)
    for n_missing in range(3):
        model = FilmModel(film, n_missing, data.rods, data.points)
        of_this = structures["n_missing"] == n_missing
        assert of_this.any()
        z, p, occupancy = (
            structures[name][of_this] for name in ("z_atoms", "p_intermixing", "occupancy")
        )
        parameters = model.pack(z, p)
        parameters[:, -1] = occupancy
        field = model.field(parameters)[1]
        np.testing.assert_allclose(np.log(np.abs(field) ** 2), data.values[of_this], atol=1e-9)


def test_truth_is_kept():
    structures, log_intensity = simulated(FILM, 3)
    found = refine(
        FILM, log_intensity, structures["z_atoms"], structures["p_intermixing"], ONE_START
    )
    assert largest_error(found, structures).max() < 1e-9
    assert found.residual.max() < 1e-9
    assert found.solved.all()
    np.testing.assert_array_equal(found.n_starts, 1)


def test_small_displacements_are_undone():
    structures, log_intensity = simulated(FILM, 6)
    found = refine(FILM, log_intensity, *shifted(structures, 0.02), ONE_START)
    assert largest_error(found, structures).max() < 1e-6
    np.testing.assert_allclose(found.p_intermixing, structures["p_intermixing"], atol=1e-6)
    np.testing.assert_array_equal(found.occupancy, 1)


def test_nominal_start_solves_nearly_every_film_of_float32_data():
    structures, log_intensity = simulated(FILM, 24)
    found = refine(FILM, log_intensity.astype(np.float32))
    assert (largest_error(found, structures) < 1e-3).mean() >= 0.95


def test_solved_is_claimed_only_for_right_structures():
    structures, log_intensity = simulated(FILM, 16)
    bad_start = shifted(structures, 0.12)
    short = RefinementSettings(stages=((6.0, 25),), starts=1)
    found = refine(FILM, log_intensity, *bad_start, short)
    right = largest_error(found, structures) < 1e-3
    assert not right.all(), "a batch without failures tests nothing"
    assert right.any()
    np.testing.assert_array_equal(found.solved & ~right, False)


def test_more_starts_solve_what_one_does_not():
    structures, log_intensity = simulated(FILM, 6)
    bad_start = shifted(structures, 0.3)
    one = refine(FILM, log_intensity, *bad_start, ONE_START)
    more = refine(FILM, log_intensity, *bad_start, RefinementSettings(starts=6))
    assert not one.solved.all(), "without failures there is nothing to start again"
    assert more.solved.all()
    assert (more.n_starts[one.solved] == 1).all()
    assert (more.n_starts[~one.solved] > 1).all()


def test_result_does_not_depend_on_the_batch():
    structures, log_intensity = simulated(FILM, 7)
    z, p = shifted(structures, 0.05)
    together = refine(FILM, log_intensity, z, p)
    split = refine(FILM, log_intensity, z, p, RefinementSettings(films_at_once=3))
    alone = refine(FILM, log_intensity[:1], z[:1], p[:1])
    np.testing.assert_allclose(split.z_atoms, together.z_atoms, atol=1e-8)
    np.testing.assert_allclose(alone.z_atoms, together.z_atoms[:1], atol=1e-8)


def test_occupancy_of_a_rough_film_is_recovered():
    film = Film(8, rough=True)
    structures, log_intensity = simulated(film, 16)
    found = refine(film, log_intensity)
    assert found.solved.mean() >= 0.9
    np.testing.assert_allclose(
        found.occupancy[found.solved], structures["occupancy"][found.solved], atol=1e-5
    )


def test_thickness_is_found_and_missing_cells_have_no_heights():
    film = Film(9, 2)
    structures, log_intensity = simulated(film, 10)
    found = refine(film, log_intensity)
    n_cells = film.n_cells - structures["n_missing"]
    np.testing.assert_array_equal(found.n_cells, n_cells)
    missing = np.arange(film.n_cells) >= n_cells[:, None]
    np.testing.assert_array_equal(np.isnan(found.z_atoms).all(axis=-1), missing)
    error = np.abs(found.z_atoms - structures["z_atoms"])[~missing]
    assert error.max() < 1e-5


def test_weights_of_noise_give_true_errors_and_unit_residual():
    structures, log_intensity = simulated(FILM, 10)
    sigma = np.broadcast_to(np.where(simulate.L < 3, 0.02, 0.2), (16, 240))
    noise = sigma * np.random.default_rng(1).standard_normal(log_intensity.shape)
    weighted = refine(FILM, log_intensity + noise, weights=1 / sigma)
    unweighted = refine(FILM, log_intensity + noise, settings=ONE_START)
    error = largest_error(weighted, structures)
    np.testing.assert_allclose(weighted.residual, 1, atol=0.06)
    assert weighted.solved.all()
    assert (error < 6 * weighted.estimated_error).all()
    assert np.median(error) < np.median(largest_error(unweighted, structures))


def test_points_of_zero_weight_are_ignored():
    structures, log_intensity = simulated(FILM, 3)
    weights = np.ones((16, 240))
    weights[:, 90:100] = 0
    weights[6] = 0  # its twin 9 is measured
    spoiled = np.where(weights > 0, log_intensity, 50.0)
    found = refine(FILM, spoiled, *shifted(structures, 0.02), ONE_START, weights=weights)
    assert largest_error(found, structures).max() < 1e-6


def test_a_few_rods_suffice_and_the_others_are_not_read():
    structures, log_intensity = simulated(FILM, 3)
    rods = [0, 4, 5]
    spoiled = np.full_like(log_intensity, 7.0)
    spoiled[:, rods] = log_intensity[:, rods]
    found = refine(FILM, spoiled, *shifted(structures, 0.02), ONE_START, rods=rods)
    assert largest_error(found, structures).max() < 1e-6


def test_heights_that_the_rods_leave_open_are_not_called_solved():
    structures, log_intensity = simulated(FILM, 3)
    no_oxygen_pair = [1, 3, 6, 11]  # O2 and O3 cancel where h + k is odd
    start = shifted(structures, 0.02)
    found = refine(FILM, log_intensity, *start, ONE_START, rods=no_oxygen_pair)
    assert (found.residual < 1e-6).all()
    assert (found.estimated_error > 0.1).all()
    assert not found.solved.any()


def test_progress_reaches_the_end():
    _, log_intensity = simulated(FILM, 5)
    calls = []
    settings = RefinementSettings(stages=((2.0, 1),), starts=1, films_at_once=2)
    refine(FILM, log_intensity, settings=settings, progress=lambda *call: calls.append(call))
    assert calls == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_intensity": np.full((1, 16, 240), np.nan)}, "log_intensity .* not finite"),
        ({"log_intensity": np.zeros((16, 240))}, "log_intensity must be"),
        ({"start_z": np.zeros((1, 3, 5))}, "start_z must have the shape"),
        ({"start_p": np.full((1, 4), np.nan)}, "start_p .* not finite"),
        ({"rods": [16]}, "rods must be"),
        ({"rods": []}, "rods must be"),
        ({"weights": np.ones(240)}, "weights must be"),
        ({"weights": np.zeros((16, 240))}, "no measured point"),
        ({"weights": np.full((16, 240), -1.0)}, "negative"),
        ({"film": Film(6, 2)}, "interface"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"film": FILM, "log_intensity": np.zeros((1, 16, 240)), **change}
    with pytest.raises(ReproError, match=message):
        refine(**arguments)


@pytest.mark.parametrize(
    "wrong", [{"starts": 0}, {"robust_scale": 0.0}, {"stages": ()}, {"damping_factor": 1.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ReproError, match=next(iter(wrong))):
        RefinementSettings(**wrong)
