"""A trained run, opened to be asked about images that are new to it."""

from __future__ import annotations

import numpy as np
import pytest

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.runs.folder import DATA_FILE, newest_run
from repro.runs.run import Run
from repro.studies.rheed_translator.page.trained import translator_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def translator(run):
    return translator_of(Run.open(run).trained(3))


@pytest.fixture(scope="module")
def image(run):
    dataset = Dataset.open(run / DATA_FILE)
    return np.array(dataset.array("images")[dataset.rows("test")[0]])


def test_it_tells_what_it_learnt_from(translator, run):
    dataset = Dataset.open(run / DATA_FILE)
    contents = dataset.array("stoichiometry")[dataset.rows("train")]
    assert translator.is_synthetic, "a simulated film would be taken for a real one"
    assert "SYNTHETIC" in translator.title
    np.testing.assert_array_equal(translator.contents, contents)
    assert 0 < translator.left_out_error < np.ptp(contents)
    assert (translator.lowest, translator.highest) == (contents.min(), contents.max())


def test_a_reading_does_not_depend_on_exposure_or_offset_of_the_camera(translator, image):
    once, again = translator.read(image, True), translator.read(0.2 + 0.3 * image, True)
    assert once.low < once.stoichiometry < once.high
    assert again.stoichiometry == pytest.approx(once.stoichiometry, abs=1e-2)
    np.testing.assert_allclose(again.reconstruction, once.reconstruction, atol=1e-3)


def test_what_may_have_been_curved_is_said_and_makes_the_interval_wider(translator, image):
    known, curved = translator.read(image, True), translator.read(image, False)
    assert (known.is_linear, curved.is_linear) == (True, False)
    assert known.stoichiometry == curved.stoichiometry
    assert curved.low <= known.low < known.high <= curved.high


def test_an_image_of_another_size_is_read(translator, image):
    larger = np.kron(image, np.ones((3, 3), dtype=np.float32))
    assert np.isfinite(translator.read(larger, True).stoichiometry)


def test_what_is_no_diffraction_pattern_is_unlike_the_films(translator, image):
    stripes = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (48, 8))
    reading = translator.read(stripes, True)
    assert any("unlike the training films" in doubt for doubt in reading.doubts)
    assert reading.unlikeness > translator.read(image, True).unlikeness


def test_an_image_that_is_cut_off_and_a_number_outside_the_films_are_in_doubt(translator, image):
    doubts = translator.read(np.minimum(image, 0.4), True).doubts
    assert any("cut off" in doubt for doubt in doubts)
    side = np.tile(np.exp(-np.square(np.linspace(-4, 4, 64, dtype=np.float32))), (48, 1))
    one_streak = translator.read(side, True)
    assert one_streak.stoichiometry > translator.highest
    assert any("outside the range" in doubt for doubt in one_streak.doubts)


def test_a_reading_is_a_content_and_lies_in_its_interval(translator, run):
    # Of an image unlike all others the line may say -23 at.%.
    dataset = Dataset.open(run / DATA_FILE)
    for film in dataset.array("images"):
        reading = translator.read(film, False)
        assert 0 <= reading.low <= reading.stoichiometry <= reading.high <= 100


def test_patterns_outside_the_films_are_drawn_on_purpose_only(translator):
    inside = translator.draw((translator.lowest + translator.highest) / 2)
    assert inside.ndim == 2
    assert 0 <= inside.min() < inside.max() <= 1
    with pytest.raises(ReproError, match="outside the training films"):
        translator.draw(translator.highest + 1)
    assert translator.draw(translator.highest + 1, beyond=True).shape == inside.shape


def test_the_nearest_film_is_one_of_the_training_films(translator, run):
    dataset = Dataset.open(run / DATA_FILE)
    rows = dataset.rows("train")
    near = translator.nearest(float(dataset.array("stoichiometry")[rows[5]]) + 1e-6)
    assert near.name == "film 6"
    np.testing.assert_array_equal(near.image, dataset.array("images")[rows[5]])


def test_another_seed_is_opened_by_its_number_and_an_absent_one_named(run):
    assert len(translator_of(Run.open(run).trained(4)).contents) == 9
    with pytest.raises(ReproError, match="has no seed 9: it has 3, 4"):
        Run.open(run).trained(9)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ReproError, match="holds no run"):
        Run.open(tmp_path)


def test_the_newest_run_is_found_below_the_working_folder(run, monkeypatch, tmp_path):
    monkeypatch.chdir(run.parents[1])
    assert newest_run("rheed_translator", "improved").resolve() == run
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReproError, match="no run of rheed_translator improved here"):
        newest_run("rheed_translator", "improved")
