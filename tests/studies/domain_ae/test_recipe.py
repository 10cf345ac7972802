"""How the networks are trained, and on what."""

import keras
import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.domain_ae.recipe import ABLATIONS, SCALES, Windows, design_of
from repro.studies.domain_ae.simulate import Series
from repro.studies.domain_ae.windows import over_noise, ranged
from repro.study import get_study

STUDY = get_study("domain_ae")


def made(experiment, preset="smoke"):
    return Series(**STUDY.data_spec.resolve(preset, experiment).parameters)


def test_windows_are_cut_from_prepared_frames(untrained):
    for variant, prepare in (("faithful", ranged), ("corrected", over_noise)):
        trained = untrained(variant)
        windows = trained.tasks["autoencoder"].context
        frame = prepare(trained.dataset.array("counts")[2], 64)
        side = len(windows.places)
        found, _ = windows.load(np.array([2 * side**2 + side + 2, 0]))
        top, left = windows.places[1], windows.places[2]
        np.testing.assert_array_equal(found[0], frame[top : top + 64, left : left + 64])


def test_no_more_frames_are_kept_than_a_training_needs(untrained, monkeypatch):
    monkeypatch.setattr("repro.studies.domain_ae.recipe.MOST_KEPT", 2)
    windows = Windows(untrained("corrected").dataset, True)
    first = windows.frame(0)
    for number in (0, 1, 2):
        windows.frame(number)
    assert list(windows._prepared) == [1, 2]
    np.testing.assert_array_equal(windows.frame(0), first)


def test_training_takes_windows_of_every_frame_evenly(untrained):
    trained = untrained("faithful")
    training, _ = trained.tasks["autoencoder"].examples_of(trained.dataset)
    side = len(trained.tasks["autoencoder"].context.places)
    frames = training // side**2
    assert len(training) == len(set(training)) == 192
    np.testing.assert_array_equal(np.bincount(frames), np.full(12, 16))
    assert frames.max() < 12, "specimens of the test split are never trained on"


def test_a_published_epoch_has_the_windows_of_one_series():
    assert SCALES["paper"].windows == 43 * 41**2


def test_a_network_starts_from_that_of_specimens_in_vacuum(series):
    keras.utils.set_random_seed(0)
    dataset = series("transfer")
    before, after = STUDY.list_tasks("faithful", "smoke", dataset)
    side = len(before.context.places)
    assert set(before.examples_of(dataset)[0] // side**2) <= set(range(6))
    assert set(after.examples_of(dataset)[0] // side**2) <= set(range(6, 12))
    trained = before.build_model()
    begun = after.resolved({"vacuum": trained}).build_model()
    for ours, theirs in zip(begun.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("variant", ABLATIONS)
def test_an_ablation_alters_the_design_in_one_place(variant):
    scale = SCALES["desk"]
    plain = design_of(variant, scale, made("gas", "desk"))
    for experiment in STUDY.data_spec.experiments:
        ablation = made(experiment, "desk")
        if ablation.ablation not in ABLATIONS[variant]:
            with pytest.raises(ReproError, match=f"no ablation '{ablation.ablation}'"):
                design_of(variant, scale, ablation)
        elif ablation.ablation != "none":
            assert design_of(variant, scale, ablation) != plain


def test_every_ablation_is_an_experiment_and_of_a_variant():
    offered = {made(name).ablation for name in STUDY.data_spec.experiments}
    assert offered == {name for known in ABLATIONS.values() for name in known}
