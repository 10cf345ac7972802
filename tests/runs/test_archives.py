"""Measurements become a data set like any other, and no film is both learnt from and judged by."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from repro.datasets.build import build
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset, verify
from repro.errors import ReproError
from repro.imaging.geometry import resized
from repro.runs import data
from repro.runs.choices import Choices
from repro.runs.data import Given, import_archive
from repro.study import get_study

STUDY = get_study("rheed_translator")
N, SIZE = 9, {"height": "12", "width": "16"}


def films(n=N, seed=0):
    """Return images and Sr contents of films; the first are the same however many there are."""
    draws = [np.random.default_rng([seed, film]) for film in range(n)]
    images = np.stack([draw.random((24, 32)) for draw in draws]).astype(np.float32)
    images[:, 0, 0], images[:, 0, 1] = 0, 1
    return images, np.array([draw.uniform(33, 70) for draw in draws])


def saved(path, images, contents):
    np.savez(path, images=images, stoich=contents)
    return path


def imported(archive, out, preset="smoke", settings=SIZE):
    choices = Choices(study=STUDY.name, preset=preset, settings=settings)
    return import_archive(Given.of(STUDY, archive), out, choices)


def judged_by(trained_on, archive, out):
    return data.judged_by(Given.of(STUDY, archive), trained_on, out)


def content_of(dataset):
    """Return all arrays of a data set."""
    return {name: np.array(dataset.array(name)) for name in dataset.names}


@pytest.fixture
def archive(tmp_path):
    """Nine films."""
    return saved(tmp_path / "grown by somebody.npz", *films())


@pytest.fixture
def others(tmp_path):
    """Four films, no one of them among the nine."""
    return saved(tmp_path / "others.npz", *films(4, seed=1))


@pytest.fixture
def trained_on(archive, tmp_path):
    return imported(archive, tmp_path / "run" / "data.h5")


# ---- an archive becomes a data set


def test_an_archive_becomes_a_data_set_that_verifies_and_holds_every_film_to_learn_from(
    archive, trained_on
):
    verify(trained_on.path)
    images, contents = films()
    assert trained_on.spec.counts == {"train": N, "validation": 0, "test": 0}
    np.testing.assert_array_equal(trained_on.array("images"), resized(images, 12, 16))
    np.testing.assert_array_equal(trained_on.array("stoichiometry"), contents)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert trained_on.spec.parameters["sha256"] == sha256
    assert (trained_on.spec.study, trained_on.spec.preset) == ("rheed_translator", "smoke")
    assert trained_on.spec.card.kind == "measured"


def test_a_data_set_names_no_path(archive, trained_on):
    stored = trained_on.path.read_bytes()
    assert archive.stem.encode() not in stored
    assert str(archive.parent).encode() not in stored


def test_the_preset_says_how_large_images_are_unless_the_user_does(archive, tmp_path):
    as_preset = imported(archive, tmp_path / "smoke.h5", settings={})
    assert as_preset.array("images").shape == (N, 48, 64)
    larger = imported(archive, tmp_path / "desk.h5", "desk", {})
    assert larger.array("images").shape == (N, 105, 140)
    assert larger.spec.preset == "desk"


def test_the_same_archive_gives_the_same_data_set_wherever_it_lies(archive, trained_on, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "renamed.npz"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(archive.read_bytes())
    again = imported(elsewhere, tmp_path / "again.h5")
    assert again.checksum == trained_on.checksum
    assert again.spec.fingerprint == trained_on.spec.fingerprint
    assert again.path.read_bytes() == trained_on.path.read_bytes()


def test_a_data_set_that_is_there_is_not_written_again(archive, trained_on):
    before = trained_on.path.stat().st_mtime_ns, trained_on.path.read_bytes()
    assert imported(archive, trained_on.path).path == trained_on.path
    assert (trained_on.path.stat().st_mtime_ns, trained_on.path.read_bytes()) == before


@pytest.mark.parametrize(("name", "settings"), [("others", SIZE), ("archive", {})])
def test_the_data_set_of_another_archive_or_size_is_refused_and_left_alone(
    request, trained_on, name, settings
):
    before, archive = trained_on.path.read_bytes(), request.getfixturevalue(name)
    with pytest.raises(ReproError, match="made of another archive, or with other parameters"):
        imported(archive, trained_on.path, settings=settings)
    assert trained_on.path.read_bytes() == before


def test_a_file_that_is_no_data_set_is_left_alone(archive, tmp_path):
    notes = tmp_path / "data.h5"
    notes.write_text("mine", encoding="utf-8")
    with pytest.raises(ReproError):
        imported(archive, notes)
    assert notes.read_text(encoding="utf-8") == "mine"


def test_a_synthetic_data_set_is_not_taken_for_that_of_the_archive(archive, synthetic):
    before = synthetic.path.read_bytes()
    with pytest.raises(ReproError, match="choose another folder"):
        imported(archive, synthetic.path)
    assert synthetic.path.read_bytes() == before


def test_a_setting_that_measurements_do_not_have_is_refused(archive, tmp_path):
    with pytest.raises(ReproError, match="'rheed_sto' has no parameter 'scatter'"):
        imported(archive, tmp_path / "data.h5", settings={"scatter": "0.5"})
    assert not (tmp_path / "data.h5").exists()


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-200])


def one_byte_other(path):
    stored = bytearray(path.read_bytes())
    stored[2000] ^= 255
    path.write_bytes(stored)


def no_archive(path):
    path.write_text("images, stoich\n", encoding="utf-8")


def gone(path):
    path.unlink()


def without_contents(path):
    np.savez(path, images=films()[0])


def not_a_number(path):
    images, contents = films()
    contents[3] = np.nan
    saved(path, images, contents)


@pytest.mark.parametrize(
    "damage", [cut_off, one_byte_other, no_archive, gone, without_contents, not_a_number]
)
def test_a_damaged_archive_is_refused_in_a_sentence_and_nothing_is_made(
    archive, others, trained_on, tmp_path, damage
):
    damage(archive)
    with pytest.raises(ReproError) as refusal:
        imported(archive, tmp_path / "new" / "data.h5")
    message = str(refusal.value)
    assert archive.name in message
    assert message.endswith(".")
    assert "\n" not in message
    assert refusal.value.exit_status == 2
    assert not (tmp_path / "new").exists()
    damage(others)
    with pytest.raises(ReproError, match=r"others\.npz"):
        judged_by(trained_on, others, tmp_path / "new" / "a.h5")
    assert not (tmp_path / "new").exists()


def test_archives_are_told_by_their_name_and_only_some_studies_take_any():
    assert Given.of(STUDY, Path("films.npz")).archive is STUDY.provided("archive")
    assert Given.of(STUDY, Path("data.h5")).archive is None
    assert Given.of(STUDY, None) is None
    assert Given.of(get_study("mamba"), Path("films.npz")).archive is None


# ---- judged by another archive


@pytest.fixture
def synthetic(tmp_path):
    counts = {"train": 8, "validation": 2, "test": 2}
    spec = load_spec("rheed_translator").resolve("smoke", None, {**counts, **SIZE})
    return Dataset.open(build(spec, tmp_path / "synthetic.h5"))


def test_the_archive_that_was_learnt_from_adds_no_film(archive, trained_on, tmp_path):
    out = tmp_path / "judged.h5"
    assert judged_by(trained_on, archive, out) is trained_on
    assert not out.exists()


def test_other_films_become_the_test_split_and_those_learnt_from_stay(others, trained_on, tmp_path):
    judged = judged_by(trained_on, others, tmp_path / "judged.h5")
    verify(judged.path)
    assert judged.spec.counts == {"train": N, "validation": 0, "test": 4}
    np.testing.assert_array_equal(judged.rows("train"), trained_on.rows("train"))
    training, test, (images, contents) = judged.rows("train"), judged.rows("test"), films(4, 1)
    for name, known in content_of(trained_on).items():
        np.testing.assert_array_equal(judged.array(name)[training], known)
    np.testing.assert_array_equal(judged.array("images")[test], resized(images, 12, 16))
    np.testing.assert_array_equal(judged.array("stoichiometry")[test], contents)
    assert judged.spec.preset == trained_on.spec.preset


def test_films_that_were_learnt_from_are_not_judged_by(trained_on, tmp_path):
    images, contents = films(N + 3)
    order = np.random.default_rng(0).permutation(N + 3)
    longer = saved(tmp_path / "longer.npz", images[order], contents[order])
    judged = judged_by(trained_on, longer, tmp_path / "judged.h5")
    new = order[order >= N]
    assert judged.spec.counts["test"] == 3
    test = judged.rows("test")
    np.testing.assert_array_equal(judged.array("stoichiometry")[test], contents[new])
    np.testing.assert_array_equal(judged.array("images")[test], resized(images[new], 12, 16))


def test_a_film_of_the_same_sr_content_with_another_image_is_another_film(trained_on, tmp_path):
    images, contents = films()
    images[2, 5, 5] = 1 - images[2, 5, 5]
    other = saved(tmp_path / "other.npz", images, contents)
    judged = judged_by(trained_on, other, tmp_path / "judged.h5")
    np.testing.assert_array_equal(judged.array("stoichiometry")[judged.rows("test")], contents[2:3])


def test_an_archive_of_known_films_alone_is_refused_in_a_sentence(trained_on, tmp_path):
    images, contents = films()
    same = saved(tmp_path / "same.npz", images[:5].astype(np.float64), contents[:5])
    out = tmp_path / "judged.h5"
    with pytest.raises(ReproError) as refusal:
        judged_by(trained_on, same, out)
    assert str(refusal.value) == "same.npz has only samples that the networks were trained on."
    assert not out.exists()


def test_networks_of_synthetic_films_are_not_judged_by_real_ones(synthetic, others, tmp_path):
    out = tmp_path / "judged.h5"
    with pytest.raises(ReproError, match="trained on simulated samples: train them on an archive"):
        judged_by(synthetic, others, out)
    assert not out.exists()


def test_judging_again_writes_nothing_and_by_others_at_the_same_place_neither(
    others, trained_on, tmp_path
):
    out = tmp_path / "judged.h5"
    first = judged_by(trained_on, others, out)
    before = first.path.stat().st_mtime_ns, first.path.read_bytes()
    again = judged_by(trained_on, others, out)
    more = saved(tmp_path / "more.npz", *films(5, seed=2))
    with pytest.raises(ReproError, match="made of another archive"):
        judged_by(trained_on, more, out)
    assert again == first
    assert (first.path.stat().st_mtime_ns, first.path.read_bytes()) == before


def test_the_test_films_of_one_archive_give_way_to_those_of_another(others, trained_on, tmp_path):
    first = judged_by(trained_on, others, tmp_path / "judged.h5")
    more = saved(tmp_path / "more.npz", *films(5, seed=2))
    second = judged_by(first, more, tmp_path / "second.h5")
    expected = judged_by(trained_on, more, tmp_path / "expected.h5")
    assert second.spec.counts == expected.spec.counts
    np.testing.assert_equal(content_of(second), content_of(expected))


def test_a_data_set_at_the_place_of_the_judged_one_is_left_alone(others, trained_on, tmp_path):
    out = tmp_path / "judged.h5"
    judged = judged_by(trained_on, others, out)
    judged.path.write_bytes(trained_on.path.read_bytes())
    with pytest.raises(ReproError, match="made of another archive"):
        judged_by(trained_on, others, out)
    assert judged.path.read_bytes() == trained_on.path.read_bytes()
