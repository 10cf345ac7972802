"""A grower's own images: any kind of file gives the same numbers, and a bad one stops no other."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from repro.errors import ReproError
from repro.runs.apply import apply as apply_run
from repro.runs.run import Run
from repro.studies.rheed_translator.apply import apply
from repro.studies.rheed_translator.page.trained import translator_of

pytestmark = pytest.mark.slow

SR = "Sr content"


@pytest.fixture(scope="module")
def trained(run):
    return Run.open(run).trained(3)


@pytest.fixture(scope="module")
def films(trained):
    """Three films from 0 to 1, as 8-bit integers, ``(3, height, width)``."""
    images = np.array(trained.dataset.array("images")[:3])
    return np.rint(255 * images / images.max(axis=(1, 2), keepdims=True)).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(trained, films):
    """What the translator reads in these films."""
    translator = translator_of(trained)
    return [translator.read((film / np.float32(255)).astype(np.float32), True) for film in films]


@pytest.fixture
def folder(tmp_path, films):
    """A folder of two films, a file that is none, one that is damaged, and a hidden one."""
    folder = tmp_path / "films"
    folder.mkdir()
    np.save(folder / "b.npy", films[1])
    Image.fromarray(films[0]).save(folder / "a.png")
    (folder / "c.tif").write_bytes(b"II*\x00garbage")
    (folder / "notes.txt").write_text("grown on Monday")
    (folder / ".DS_Store").write_bytes(b"")
    return folder


def ask(trained, source):
    steps = []
    found = apply(trained, source, lambda done, total: steps.append((done, total)))
    return found, steps


def names(found):
    return found.quantities["image"].values.tolist()


def test_a_folder_is_read_in_the_order_of_its_names_and_a_bad_file_stops_none(
    trained, folder, expected
):
    found, steps = ask(trained, folder)
    assert names(found) == ["a.png", "b.npy", "c.tif", "notes.txt"]
    sr = found.quantities[SR]
    wanted = [reading.stoichiometry for reading in expected[:2]]
    np.testing.assert_allclose(sr.values, [*wanted, np.nan, np.nan], rtol=1e-6)
    low, high = sr.interval
    assert (low[:2] < sr.values[:2]).all()
    assert (sr.values[:2] < high[:2]).all()
    assert (sr.unit, sr.level) == ("at.%", 0.9)
    assert found.quantities["in doubt"].values.tolist()[2:] == ["", ""]
    assert steps == [(n, 4) for n in (1, 2, 3, 4)]


def test_the_user_is_told_of_every_file_that_was_not_read_and_of_synthetic_films(trained, folder):
    found, _ = ask(trained, folder)
    simulated, *others = found.notices
    assert "simulated" in simulated, "a demonstration would be taken for a measurement"
    for name in ("c.tif", "notes.txt"):
        assert any(notice.startswith(name) for notice in others), name
    remarks = found.quantities["remark"].values
    assert "divided by 255" in remarks[0]
    assert remarks[2] in others


def test_who_says_that_pictures_are_linear_gets_narrower_intervals(trained, folder):
    curved, known = (
        apply(trained, folder, lambda *_: None, response=response)
        for response in ("unknown", "linear")
    )
    wide, narrow = (np.diff(found.quantities[SR].interval, axis=0)[0] for found in (curved, known))
    assert (wide > narrow)[:2].tolist() == [True, True], "both have 8 bits"
    assert any("response=linear" in notice for notice in curved.notices)
    assert not any("response=linear" in notice for notice in known.notices)
    with pytest.raises(ReproError, match="no response gamma: give unknown or linear"):
        apply(trained, folder, lambda *_: None, response="gamma")


def save_tif(path, films):
    pages = [Image.fromarray(film) for film in films]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def save_archive(path, films, **more):
    np.savez(path, images=films, **more)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("movie.npy", np.save),
        ("movie.tif", save_tif),
        ("films.npz", save_archive),
        ("films.npz", lambda path, films: save_archive(path, films, stoich=[45.0, 50.0, 55.0])),
    ],
)
def test_a_stack_gives_the_numbers_of_its_images(trained, tmp_path, films, expected, name, save):
    save(tmp_path / name, films)
    found, steps = ask(trained, tmp_path / name)
    assert names(found) == [f"{name} image {number}" for number in (1, 2, 3)]
    wanted = [reading.stoichiometry for reading in expected]
    np.testing.assert_allclose(found.quantities[SR].values, wanted, rtol=1e-6)
    unlikeness = [reading.unlikeness for reading in expected]
    np.testing.assert_allclose(found.quantities["unlikeness"].values, unlikeness, rtol=1e-5)
    assert steps[-1] == (3, 3)


def test_an_image_of_a_stack_that_shows_nothing_stops_no_other(trained, tmp_path, films):
    # A movie of a growth begins before the shutter opens.
    np.save(tmp_path / "movie.npy", np.stack([np.zeros_like(films[0]), films[1]]))
    found, _ = ask(trained, tmp_path / "movie.npy")
    assert np.isnan(found.quantities[SR].values).tolist() == [True, False]
    assert any("movie.npy image 1" in notice for notice in found.notices)


@pytest.mark.parametrize("content", [np.zeros((0, 64, 96)), np.zeros(64), np.zeros((2, 3, 64, 96))])
def test_an_array_that_is_no_stack_is_refused_with_its_shape(trained, tmp_path, content):
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(ReproError, match=r"a\.npy holds an array of shape"):
        ask(trained, tmp_path / "a.npy")


def test_what_is_no_diffraction_pattern_is_marked_in_table_and_picture(trained, tmp_path, films):
    stripes = np.tile(np.linspace(0, 255, 8).astype(np.uint8), (48, 8))
    for name, image in (("film.png", films[0]), ("stripes.png", stripes)):
        Image.fromarray(image).save(tmp_path / name)
    found, _ = ask(trained, tmp_path)
    assert found.quantities["in doubt"].values.tolist() == ["no", "yes"]
    assert "unlike the training films" in found.quantities["remark"].values[1]
    assert any("1 of 2 numbers are in doubt" in notice for notice in found.notices)
    (figure, caption) = found.figures["sr_content"]
    axes = figure.axes[0]
    marked = {bars.get_label(): bars.lines[0].get_xdata() for bars in axes.containers}
    assert [list(x) for x in marked.values()] == [[1], [2]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["film.png", "stripes.png"]
    shaded = axes.patches[0].get_bbox()
    translator = translator_of(trained)
    assert (shaded.y0, shaded.y1) == (translator.lowest, translator.highest)
    assert "training films" in caption


@pytest.mark.parametrize("n_files", [0, 1, 3])
def test_a_folder_in_which_nothing_can_be_read_is_one_sentence(trained, tmp_path, n_files):
    for number in range(n_files):
        (tmp_path / f"{number}.png").write_bytes(b"")
    (tmp_path / ".hidden.png").write_bytes(b"")
    with pytest.raises(ReproError, match="0.png is empty" if n_files else "holds no file"):
        ask(trained, tmp_path)


def test_a_variant_that_states_no_interval_is_refused(trained, folder):
    with pytest.raises(ReproError, match="faithful"):
        ask(replace(trained, variant="faithful"), folder)


def test_the_table_has_a_row_for_every_file(run, folder, tmp_path):
    out = tmp_path / "out" / "readings.csv"
    assert apply_run(run, folder, out) == [out, out.with_name("readings_sr_content.svg")]
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == [
        "image",
        "Sr content [at.%]",
        "Sr content low 90% [at.%]",
        "Sr content high 90% [at.%]",
        "unlikeness [1]",
        "in doubt",
        "remark",
    ]
    assert [row["image"] for row in rows] == ["a.png", "b.npy", "c.tif", "notes.txt"]
    assert [row["Sr content [at.%]"] == "" for row in rows] == [False, False, True, True]
