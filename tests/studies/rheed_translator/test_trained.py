"""A trained run, opened to be asked about images that are new to it."""

from __future__ import annotations

import numpy as np
import pytest

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.runs.folder import DATA_FILE, newest_run
from repro.runs.run import Run
from repro.studies.rheed_translator.trained import of_full_range, translator_of

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
    assert translator.n_films == 9
    assert (translator.lowest, translator.highest) == (contents.min(), contents.max())


def test_a_reading_does_not_depend_on_exposure_or_offset_of_the_camera(translator, image):
    once, again = translator.read(image), translator.read(0.2 + 0.3 * image)
    assert once.low < once.stoichiometry < once.high
    assert again.stoichiometry == pytest.approx(once.stoichiometry, abs=1e-2)
    np.testing.assert_allclose(again.reconstruction, once.reconstruction, atol=1e-3)


def test_an_image_of_another_size_is_read(translator, image):
    larger = np.kron(image, np.ones((3, 3), dtype=np.float32))
    assert np.isfinite(translator.read(larger).stoichiometry)


def test_what_is_no_diffraction_pattern_is_unlike_the_films(translator, image):
    stripes = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (48, 8))
    assert translator.read(stripes).is_unlike
    assert translator.read(stripes).unlikeness > translator.read(image).unlikeness


def test_a_reading_is_a_content_and_lies_in_its_interval(translator, run):
    # Of an image unlike all others the network may say -23 at.%.
    dataset = Dataset.open(run / DATA_FILE)
    for film in dataset.array("images"):
        reading = translator.read(film)
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


def test_full_range_keeps_the_picture():
    image = np.array([[2.0, 4.0], [3.0, 2.0]])
    np.testing.assert_allclose(of_full_range(image), [[0, 1], [0.5, 0]])


def test_another_seed_is_opened_by_its_number_and_an_absent_one_named(run):
    assert translator_of(Run.open(run).trained(4)).n_films == 9
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
