"""Error reduction obeys its theorem, noise its statistics, and the mean is the mean."""

import numpy as np
import pytest

from repro.errors import ReproError
from repro.evaluation.resampling import Resampling
from repro.studies.mamba import baselines, extract, simulate

FOUR = simulate.Film(n_layers=4)


@pytest.fixture(scope="module")
def films():
    return simulate.films(0, 40, 0, {"n_layers": 4})


def field_of(films):
    return films["field_real"] + 1j * films["field_imag"].astype(np.complex128)


def misfit(field, films):
    """Distance between the estimated and the measured modulus, off the Bragg points."""
    modulus = np.abs(simulate.bulk_field() + field)
    measured = np.exp(0.5 * films["log_intensity"].astype(np.float64))
    return np.linalg.norm((modulus - measured)[..., ~simulate.BRAGG], axis=(1, 2))


@pytest.mark.parametrize(
    "film",
    [FOUR, simulate.Film(), simulate.Film(n_layers=13, n_layers_varied=2, rough=True)],
    ids=["4", "12", "11 to 13"],
)
def test_every_film_lies_within_the_support(film):
    field = field_of(simulate.films(0, 10, 0, vars(film)))
    basis = baselines.support_basis(film)
    assert basis.shape[1] < 480 / 2  # the support would be no constraint otherwise
    error = np.linalg.norm(baselines.project(field, basis) - field)
    assert error < 1e-4 * np.linalg.norm(field)


def test_projection_is_orthogonal():
    basis = baselines.support_basis(FOUR)
    random = np.random.default_rng(0)
    field = random.normal(size=(2, 16, 240)) + 1j * random.normal(size=(2, 16, 240))
    once = baselines.project(field, basis)
    np.testing.assert_allclose(baselines.project(once, basis), once, atol=1e-10)
    assert abs(np.vdot(once, field - once).real) < 1e-8


def test_no_iteration_gives_the_nominal_field(films):
    field = baselines.error_reduction(FOUR, films["log_intensity"], 0)
    np.testing.assert_array_equal(field[7], baselines.nominal_field(FOUR))


def test_the_nominal_film_is_a_fixed_point():
    nominal = baselines.nominal_field(FOUR)
    log_intensity = simulate.log_intensity(nominal[None])
    field = baselines.error_reduction(FOUR, log_intensity, 5)
    np.testing.assert_allclose(field[0], nominal, atol=1e-3 * np.abs(nominal).max())


def test_error_never_rises(films):
    errors = [
        misfit(baselines.error_reduction(FOUR, films["log_intensity"], n), films)
        for n in (1, 2, 5, 15)
    ]
    assert (np.diff(errors, axis=0) <= 1e-9).all()


def test_error_reduction_finds_more_than_the_nominal_film_and_less_than_all(films):
    true = extract.Structure(films["z_atoms"], films["p_intermixing"], films["occupancy"])
    field = baselines.error_reduction(FOUR, films["log_intensity"], 20)
    drawn = Resampling("film", np.arange(len(field)))
    scores = extract.r2_by_layer(FOUR, true, extract.extract(FOUR, field), drawn)
    assert 0.4 < np.mean([score.value for score in scores.values()]) < 0.98


def test_error_reduction_starts_where_it_is_told_to(films):
    true = films["field_real"] + 1j * films["field_imag"]
    field = baselines.error_reduction(FOUR, films["log_intensity"], 3, start=true)
    assert np.abs(field - true).max() < 1e-3 * np.abs(true).max()


def test_films_do_not_touch_one_another(films, monkeypatch):
    together = baselines.error_reduction(FOUR, films["log_intensity"][:5], 3)
    monkeypatch.setattr(baselines, "FILMS_AT_ONCE", 2)
    calls = []
    apart = baselines.error_reduction(
        FOUR, films["log_intensity"][:5], 3, lambda *done: calls.append(done)
    )
    np.testing.assert_allclose(apart, together, rtol=1e-9, atol=1e-9)
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_nominal_rough_film_has_the_middle_thickness():
    film = simulate.Film(n_layers=13, n_layers_varied=2, rough=True)
    np.testing.assert_allclose(
        baselines.nominal_field(film), baselines.nominal_field(simulate.Film()), atol=1e-9
    )


def test_wrong_input_is_refused(films):
    with pytest.raises(ReproError, match="takes"):
        baselines.error_reduction(FOUR, films["log_intensity"].reshape(40, -1))
    with pytest.raises(ReproError, match="n_iterations is -1"):
        baselines.error_reduction(FOUR, films["log_intensity"], -1)
    for counts in (0, -1, np.nan, np.inf):
        with pytest.raises(ReproError, match="counts_at_strongest"):
            baselines.counting_noise(films["log_intensity"], counts, 0)


def test_noise_has_poisson_statistics(films):
    same = np.repeat(films["log_intensity"][:1], 400, axis=0)
    noisy = baselines.counting_noise(same, 1e5, 0)
    expected = 1e5 * np.exp(same[0] - same[0][..., ~simulate.BRAGG].max())
    strong = (expected > 1000) & ~simulate.BRAGG
    relative = np.exp(noisy - same)[:, strong]
    np.testing.assert_allclose(relative.mean(axis=0), 1, atol=0.01)
    np.testing.assert_allclose(relative.std(axis=0) * np.sqrt(expected[strong]), 1, atol=0.2)


def test_more_counts_less_noise(films):
    deviation = [
        np.abs(baselines.counting_noise(films["log_intensity"], counts, 0)
               - films["log_intensity"]).mean()
        for counts in (1e3, 1e5, 1e7)
    ]  # fmt: skip
    assert deviation[0] > 5 * deviation[1] > 25 * deviation[2] > 0


def test_points_without_counts_stay_finite_and_bragg_points_masked(films):
    noisy = baselines.counting_noise(films["log_intensity"], 10, 0)
    assert np.isfinite(noisy).all()
    assert (noisy[..., simulate.BRAGG] == 0).all()
    strongest = films["log_intensity"][..., ~simulate.BRAGG].max(axis=(1, 2))
    floor = strongest - np.log(10) + np.log(0.5)
    np.testing.assert_allclose(noisy[..., ~simulate.BRAGG].min(axis=(1, 2)), floor, rtol=1e-6)


def test_noise_depends_on_the_seed_and_the_film_index_only(films):
    log_intensity = films["log_intensity"]
    noisy = baselines.counting_noise(log_intensity, 1e4, 0)
    np.testing.assert_array_equal(noisy[:3], baselines.counting_noise(log_intensity[:3], 1e4, 0))
    assert not np.array_equal(noisy, baselines.counting_noise(log_intensity, 1e4, 1))
    twins = baselines.counting_noise(np.repeat(log_intensity[:1], 2, axis=0), 1e4, 0)
    assert not np.array_equal(twins[0], twins[1])
