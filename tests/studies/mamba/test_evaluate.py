"""The numbers that claims are judged by are what their names say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from repro.evaluation.resampling import N_RESAMPLES, Resampled, Resampling
from repro.studies.mamba import evaluate
from repro.studies.mamba.baselines import counting_noise
from repro.studies.mamba.evaluate import (
    count_weights,
    decline_to_top,
    largest_error,
    late_improvement,
    mean_over_layers,
    noise_name,
)
from repro.studies.mamba.extract import (
    Structure,
    by_the_rule,
    final_occupancy,
    find_structure,
    r2_by_layer,
)
from repro.studies.mamba.simulate import BRAGG, Film, films


def resampled(value):
    return Resampled(np.full(1 + N_RESAMPLES, value), "film", "test", 9, 9)


SCORES = {
    f"r2/{q}/{i:02d}": resampled(1 - 0.1 * i) for q in ("c", "B", "O1", "O2") for i in (1, 2, 3, 4)
}


def test_means_are_over_layers_and_small_atoms_leave_c_out():
    means = mean_over_layers({**SCORES, "r2/c/01": resampled(0.0)})
    assert means["r2/B"].value == pytest.approx(0.75)
    assert means["r2/c"].value == pytest.approx(0.75 - 0.9 / 4)
    assert means["r2/small_atoms"].value == pytest.approx(0.75)
    assert means["r2/c_less_small_atoms"].value == pytest.approx(-0.9 / 4)


def test_decline_is_bottom_minus_top():
    # The claim is on a decline toward the top: the other sign would confirm the opposite.
    assert decline_to_top(SCORES).value == pytest.approx(0.2)


def test_plateau_of_the_published_curve_is_the_reported_number():
    from repro.studies.mamba.figures import PUBLISHED_LOSS

    metric = late_improvement({"real": {"val_loss": list(PUBLISHED_LOSS)}})["late_improvement/real"]
    assert metric.value == pytest.approx(0.0146, abs=1e-4)


def test_two_epochs_are_no_plateau_and_one_tells_nothing():
    # 0 ± 0 of two epochs would be read as a loss that has levelled off.
    assert late_improvement({"real": {"val_loss": [0.6, 0.4]}})[
        "late_improvement/real"
    ].value == pytest.approx(0.5)
    assert late_improvement({"real": {"val_loss": [0.5]}}) == {}


def bench_of(predicted, n=40):
    """Return films of 12 layers and what a network says of their field."""
    film = Film()
    made = films(0, n, 1, vars(film))
    field = made["field_real"] + 1j * made["field_imag"]
    occupancy = final_occupancy(film, made["occupancy"], made["n_cells"])
    said = predicted(field)
    return SimpleNamespace(
        film=film,
        rows=np.arange(n),
        films=Resampling("film", np.arange(n)),
        field=field,
        predicted=said,
        found=find_structure(film, said),
        structure=Structure(made["z_atoms"], made["p_intermixing"], occupancy),
        dataset=SimpleNamespace(array=lambda name: made[name]),
    )


def test_the_true_field_has_the_true_density_and_its_own_rod_and_no_outliers():
    bench = bench_of(lambda field: field)
    assert evaluate.density_difference(bench)["density_difference"].value == 0
    assert evaluate.own_film(bench)["own_rod_00"].value == 1
    found = evaluate.without_the_rule(bench)
    assert found["outliers/cells"].value == 0
    assert found["outliers/atoms"].value < 0.01
    assert found["without_rule/r2/c"].value > 0.999


def test_the_field_of_another_film_is_unlike_and_not_its_own():
    bench = bench_of(lambda field: np.roll(field, 1, axis=0))
    assert evaluate.density_difference(bench)["density_difference"].value == pytest.approx(1)
    assert evaluate.own_film(bench)["own_rod_00"].value == 0


def test_a_noisy_field_has_outliers_that_cost_more_without_the_rule():
    draws = np.random.default_rng(0)
    noise = draws.normal(size=(2, 40, 16, 240))
    bench = bench_of(lambda field: field + 60 * (noise[0] + 1j * noise[1]))
    found = evaluate.without_the_rule(bench)
    assert found["outliers/atoms"].value > 0.02
    ruled = by_the_rule(bench.film, bench.found)
    with_rule = mean_over_layers(r2_by_layer(bench.film, bench.structure, ruled, bench.films))
    assert found["without_rule/r2/small_atoms"].value < with_rule["r2/small_atoms"].value


def test_weights_are_the_inverse_spread_of_counted_log_intensity():
    clean = films(0, 1, 3, {"n_layers": 12, "n_layers_varied": 0, "rough": False})["log_intensity"]
    many = np.repeat(clean, 400, axis=0)
    spread = counting_noise(many, 1e7, 0).std(axis=0)
    weights = count_weights(clean, 1e7)[0]
    counted = (weights > 30) & ~BRAGG
    np.testing.assert_allclose(spread[counted] * weights[counted], 1, atol=0.25)
    assert np.all(weights[:, BRAGG] == 0)


def test_a_wrong_thickness_is_no_small_error():
    # A film read one cell too thin could have every other atom right.
    film = Film(6, 1)
    z = np.zeros((2, film.n_cells, 5))
    bench = SimpleNamespace(
        film=film,
        rows=np.arange(2),
        structure=SimpleNamespace(z_atoms=z),
        dataset=SimpleNamespace(array=lambda name: np.array([7, 6])),
    )
    found = SimpleNamespace(z_atoms=z + 0.002, n_cells=np.array([6, 6]))
    np.testing.assert_allclose(largest_error(bench, found, slice(0, 2)), [np.inf, 0.002])


def test_sweeps_are_named_by_what_varies():
    assert noise_name(1e3) == "noise_1e3"
    assert sorted(len(rods) for rods in evaluate.ROD_SETS.values()) == [1, 4, 9, 16]
    assert all(len(rods) == n for n, rods in evaluate.ROD_SETS.items())
