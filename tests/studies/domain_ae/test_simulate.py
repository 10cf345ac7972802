"""The frames of the data set: counts, labels, and what they depend on."""

import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.domain_ae.simulate import VACUUM, Series, frames, seconds_per_sample
from repro.studies.domain_ae.specimen import NONE, STRIPED
from repro.study import get_study

SPEC = get_study("domain_ae").data_spec


def parameters(experiment="gas", preset="smoke", **changes):
    return SPEC.resolve(preset, experiment).parameters | changes


def test_a_frame_depends_on_its_number_and_the_seed_alone():
    straight = frames(0, 8, 5, parameters())
    for first, last in ((3, 8), (7, 8)):
        again = frames(first, last, 5, parameters())
        for name, values in straight.items():
            np.testing.assert_array_equal(values[first:last], again[name], err_msg=name)
    other = frames(0, 8, 6, parameters())
    assert np.any(straight["labels"] != other["labels"])


def test_frames_of_a_specimen_are_heated_then_cooled():
    made = frames(0, 12, 0, parameters())
    np.testing.assert_array_equal(made["specimen"], np.repeat([0, 1], 6))
    np.testing.assert_array_equal(made["temperature"][:6], [23, 70, 120, 200, 90, 20])
    np.testing.assert_array_equal(made["is_cooling"][:6], [0, 0, 0, 0, 1, 1])


def test_the_series_is_the_published_one():
    stages = Series(**parameters(preset="paper")).stages
    assert len(stages) == 43
    assert sum(is_cooling for _, is_cooling in stages) == 21


@pytest.mark.parametrize(("experiment", "dose"), [("vacuum", 400), ("gas_hard", 30)])
def test_counts_scatter_as_poisson_numbers_about_the_image(experiment, dose):
    series = Series(**parameters(experiment))
    made = series.frame(0, 0)
    image = series.specimen(0, 0).image(made["labels"], series.contrast)
    expected = dose * ((1 - series.haze) * image + 0.5 * series.haze)
    ratio = (made["counts"] - expected) / np.sqrt(expected)
    assert ratio.mean() == pytest.approx(0, abs=0.03)
    assert ratio.var() == pytest.approx(1, abs=0.03)


def test_experiments_differ_in_noise_and_not_in_domains():
    made = {name: frames(0, 6, 0, parameters(name)) for name in ("vacuum", "mid", "gas")}
    for name in ("mid", "gas"):
        np.testing.assert_array_equal(made[name]["labels"], made["vacuum"]["labels"])
    signal = {
        name: Series(**parameters(name)).contrast * (1 - Series(**parameters(name)).haze)
        * np.sqrt(Series(**parameters(name)).dose / 0.45) / 2
        for name in ("vacuum", "mid", "gas", "gas_hard")
    }  # fmt: skip
    # Fundamental amplitude over the noise of a pixel, as in the fact sheet.
    levels = {"vacuum": 1.2, "mid": 0.49, "gas": 0.20, "gas_hard": 0.10}
    assert signal == pytest.approx(levels, abs=0.02)


def test_ablations_alter_no_frame():
    plain = frames(1, 2, 0, parameters())
    for name in SPEC.experiments:
        if parameters(name)["ablation"] not in ("none", "scratch"):
            again = frames(1, 2, 0, parameters(name))
            np.testing.assert_array_equal(plain["counts"], again["counts"])


def test_first_specimens_are_seen_in_vacuum_where_it_is_learned_from():
    made = frames(0, 12, 0, parameters("transfer"))
    vacuum, gas = frames(0, 6, 0, parameters("vacuum")), frames(6, 12, 0, parameters("gas"))
    np.testing.assert_array_equal(made["counts"][:6], vacuum["counts"])
    np.testing.assert_array_equal(made["counts"][6:], gas["counts"])
    assert {name: parameters("vacuum")[name] for name in VACUUM} == VACUUM


def test_a_gas_that_suppresses_leaves_a_third_of_the_domains():
    labels = frames(0, 1, 0, parameters("suppressed", size=256))["labels"]
    assert 0.15 < np.isin(labels, STRIPED).mean() < 0.35
    assert (labels == NONE).mean() > 0.6


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"window": 400}, "window"),
        ({"size": 400}, "extent"),
        ({"step": 0}, "step"),
        ({"dose": 0.0}, "dose"),
        ({"haze": 1.5}, "haze"),
    ],
)
def test_values_without_sense_are_refused(wrong, told):
    with pytest.raises(ReproError, match=told):
        frames(0, 1, 0, parameters(**wrong))


def test_the_time_a_frame_takes_is_known():
    assert 0 < seconds_per_sample(parameters(), 2) < seconds_per_sample(parameters(), 1) * 5
