"""What is measured of strain and rotation."""

import re

import bench
import numpy as np
import pytest

from repro.evaluation.resampling import Resampling
from repro.studies.strain_ae.evaluate import LOST, bias_and_spread, errors_of, grown, slope
from repro.studies.strain_ae.figures import CAPTIONS, figures
from repro.studies.strain_ae.lattice import COMPONENTS
from repro.studies.strain_ae.scoring import ScanErrors
from repro.studies.strain_ae.strain import Found

RNG = np.random.default_rng(0)
UNIT = np.repeat([0, 1, 2, 3], 10)
TRUE = np.concatenate([RNG.uniform(-0.02, 0.02, (40, 3)), RNG.uniform(-30, 30, (40, 1))], axis=1)


def scan(errors, within=None):
    """Return a scan that is read with errors ``(n, 4)`` [1, degrees]."""
    found = TRUE + errors
    return ScanErrors(
        "unseen",
        10,
        TRUE,
        Found(found[:, :3], np.deg2rad(found[:, 3])),
        UNIT,
        np.ones(40, bool) if within is None else within,
        "test",
    )


def measured(errors, within=None):
    return bench.values(errors_of(scan(np.broadcast_to(errors, (40, 4)), within)))


def test_nothing_is_wrong_with_the_truth():
    assert max(measured([0, 0, 0, 0]).values()) < 1e-12


def test_a_turn_by_sixty_degrees_is_no_error():
    assert measured([0, 0, 0, 60.0])["unseen/mae/rotation"] < 1e-9


def test_what_finds_nothing_is_not_robust():
    drawn = Resampling("grain", UNIT)
    small, large = (drawn.mean(np.full(40, LOST * shift)) for shift in (0.2, 20.0))
    doubled = drawn.mean(np.full(40, LOST * 0.4))
    np.testing.assert_allclose(grown(small, doubled).values, 2)
    np.testing.assert_allclose(grown(large, large).values, 20)


def test_each_component_has_its_own_error():
    found = measured([0.001, -0.002, 0.003, 0.4])
    for component, error in zip(COMPONENTS, (0.001, 0.002, 0.003, 0.4), strict=True):
        assert found[f"unseen/mae/{component}"] == pytest.approx(error)
        assert found[f"unseen/bias/{component}"] == pytest.approx(error)
        assert found[f"unseen/spread/{component}"] == pytest.approx(0, abs=1e-12)


def test_a_boundary_counts_in_the_published_measure_alone():
    within = np.arange(40) > 0
    errors = np.where(within[:, None], 0, 0.02 * np.ones(4))
    found = measured(errors, within)
    assert found["unseen/mae/xx"] == pytest.approx(0.02 / 40)
    assert found["unseen/rms/xx"] == pytest.approx(0, abs=1e-12)


def test_errors_shift_the_discs_of_the_second_ring():
    turned = np.deg2rad(0.5)
    assert measured([0, 0, 0, 0.5])["unseen/displacement"] == pytest.approx(65.6 * turned)
    wider = measured([0.01, 0.01, 0, 0])["unseen/displacement"]
    assert wider == pytest.approx(65.6 * 0.01)


def test_bias_is_what_is_common_to_a_grain():
    errors = np.array([1.0, -1.0, 1.0, -1.0]).repeat(10) + np.tile([0.3, -0.3], 20)
    assert bias_and_spread(errors, UNIT) == pytest.approx((1, 0.3))


def test_recalled_strain_has_a_slope_below_one():
    true = TRUE[:, 0]
    drawn = Resampling("grain", UNIT)
    assert slope(drawn, true, 0.5 * true + 3).value == pytest.approx(0.5)
    assert np.isnan(slope(drawn, np.ones(40), true).value)


OF_TWO_PHASES = {"classes/balanced_accuracy"}
OF_ABLATIONS = {
    *("one_loss/new_noise/displacement", "plain/new_noise/displacement"),
    *("code/grain_information", "plain/code/grain_information"),
}


def better(name):
    if {"limit", "slope", "coverage", "grain_information"} & {*name.split("/")}:
        return "neither"
    return "higher" if name.startswith(("base/", "classes/")) else "lower"


@pytest.mark.parametrize("variant", ["faithful", "corrected", "improved"])
def test_every_variant_is_measured_and_drawn(untrained, variant):
    found = bench.evaluated("strain_ae", untrained(variant))
    if variant == "faithful":  # the claims are about it
        bench.check_metrics("strain_ae", found, better, OF_TWO_PHASES | OF_ABLATIONS)
    assert found.metrics["unseen/slope/xx"].resampled.split == "test"
    assert found.metrics["trained/mae/xx"].resampled.split == "train"
    drawn = figures({0: found.arrays})
    has_no_base = variant == "improved"
    of_several = {"across_noise"}
    assert drawn.keys() == CAPTIONS.keys() - of_several - ({"base"} if has_no_base else set())
    for figure in drawn.values():
        figure.draw_without_rendering()  # which lays it out
        bench.check_inside(figure)


def test_ablations_measure_one_loss_and_a_plain_autoencoder_beside_the_network(untrained, scans_of):
    trained = untrained("faithful", scans_of("ablations"))
    networks = ["rotation", "strain", "one_loss_rotation", "one_loss_strain", "plain"]
    assert [*trained.tasks] == networks
    found = bench.evaluated("strain_ae", trained)
    bench.check_metrics("strain_ae", found, of_ablation, OF_TWO_PHASES)
    names = {"new_noise/displacement", "unseen/slope/xx"}
    assert names | {f"{p}/{n}" for n in names for p in ("one_loss", "plain")} <= {*found.metrics}


def of_ablation(name):
    return better(re.sub("^(one_loss|plain)/", "", name))


def test_two_bases_are_held_against_crystal_and_hole(untrained, scans_of):
    trained = untrained("faithful", scans_of("two_phases"))
    metrics = bench.evaluated("strain_ae", trained).metrics
    assert {*metrics} == OF_TWO_PHASES
    assert metrics["classes/balanced_accuracy"].better == "higher"
    # Nothing is learned: the two bases tell nothing of crystals, and half is right by chance.
    assert metrics["classes/balanced_accuracy"].value == pytest.approx(0.5, abs=0.3)


def test_our_fit_reads_unseen_strain_before_anything_is_learned(untrained):
    found = bench.values(bench.evaluated("strain_ae", untrained("improved")).metrics)
    assert found["unseen/displacement"] < 1
    assert found["unseen/displacement"] < 2 * found["correlation/unseen/displacement"]
