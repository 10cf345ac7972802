"""One command maps a folder of frames; bad input is told by name."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from repro import cli
from repro.errors import ReproError
from repro.studies.domain_ae.frame_files import open_series
from repro.studies.domain_ae.simulate import frames
from repro.studies.domain_ae.specimen import AA, AC
from repro.study import get_study

SIZE = 192
PARAMETERS = get_study("domain_ae").data_spec.resolve("smoke", "vacuum").parameters | {
    "size": SIZE,
    "heating": [23.0, 100.0, 220.0],
    "cooling": [100.0, 20.0],
}


@pytest.fixture(scope="module")
def made():
    return frames(0, 5, 0, PARAMETERS)


@pytest.fixture
def folder(made, tmp_path):
    """The frames as they are published: 8-bit images by environment, branch and temperature."""
    for counts, temperature, is_cooling in zip(
        made["counts"], made["temperature"], made["is_cooling"], strict=True
    ):
        branch = tmp_path / "Vacuum" / ("Ramp_Down" if is_cooling else "Ramp_Up")
        branch.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.minimum(counts * 0.6, 255).astype(np.uint8)).save(
            branch / f"{temperature:g}.png"
        )
    return tmp_path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of our variant."""
    out = tmp_path_factory.mktemp("run") / "improved"
    options = ["--preset", "smoke", "--seeds", "0", "--out", str(out)]
    command = ["run", "domain_ae", "--variant", "improved", *options]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.slow
def test_a_folder_of_frames_is_mapped_by_one_command(run, folder, made, tmp_path):
    out = tmp_path / "maps.h5"
    result = CliRunner().invoke(
        cli.app, ["apply", str(run), "--data", str(folder), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["temperature"], [23, 100, 220, 100, 20])
        assert list(file["branch"].asstr()) == ["heating"] * 3 + ["cooling"] * 2
        true = [[np.isin(m, c).mean() for m in made["labels"]] for c in (AC, AA)]
        np.testing.assert_allclose([file["area_ac"][:], file["area_aa"][:]], true, atol=0.12)
        label, direction = file["label"][:], file["direction"][:]
        assert np.isfinite(direction[np.isin(label, (*AC, *AA))]).all()
        assert np.isnan(direction[~np.isin(label, (*AC, *AA))]).all()
    pictures = {path.name for path in tmp_path.glob("maps_*.svg")}
    assert "maps_areas.svg" in pictures
    assert "maps_heating_100.svg" in pictures
    assert len(pictures) == 6


@pytest.mark.slow
def test_a_run_of_another_variant_is_refused(folder, untrained):
    from repro.studies.domain_ae.apply import apply

    with pytest.raises(ReproError, match="improved"):
        apply(untrained("faithful"), folder, lambda *_: None)


@pytest.mark.slow
@pytest.mark.parametrize("window", ["400", "8", "wide"])
def test_windows_that_do_not_fit_are_refused(run, folder, tmp_path, window):
    out = tmp_path / "maps.h5"
    options = ["--data", str(folder), "--out", str(out), "--set", f"window={window}"]
    result = CliRunner().invoke(cli.app, ["apply", str(run), *options])
    assert result.exit_code == 2
    assert not out.exists()


def test_frames_come_in_the_order_they_were_taken(folder):
    series = open_series(folder)
    assert [file.name for file in series.files] == [
        "heating_23", "heating_100", "heating_220", "cooling_100", "cooling_20",
    ]  # fmt: skip
    assert series.shape == (SIZE, SIZE)


def test_one_of_several_environments_is_chosen(folder):
    (folder / "Oxygen" / "Ramp_Up").mkdir(parents=True)
    save(folder / "Oxygen" / "Ramp_Up" / "50.tif", noise())
    with pytest.raises(ReproError, match="Oxygen, Vacuum"):
        open_series(folder)
    assert len(open_series(folder, "oxygen").files) == 1
    with pytest.raises(ReproError, match="no environment argon"):
        open_series(folder, "argon")


def noise(dtype=np.uint8, largest=200):
    return np.random.default_rng(0).integers(0, largest, (80, 80)).astype(dtype)


def save(path, values):
    Image.fromarray(values).save(path)


def test_images_of_16_bit_colour_and_transparency_become_grey(tmp_path):
    deep = noise(np.uint16, 60000)
    save(tmp_path / "1.png", deep)
    save(tmp_path / "2.png", np.stack([noise()] * 3, axis=2))
    save(tmp_path / "3.png", np.stack([noise(), noise() // 2, noise()], axis=2))
    save(tmp_path / "4.tif", noise().astype(np.float32))
    save(tmp_path / "5.png", np.stack([noise(), np.full((80, 80), 255, np.uint8)], axis=2))
    series = open_series(tmp_path)
    np.testing.assert_array_equal(series.read(0), deep)
    for number in (1, 3, 4):
        np.testing.assert_allclose(series.read(number), noise(), atol=1e-3)
    assert [notice.split(":")[0] for notice in series.notices] == ["3.png"]


def test_saturated_frames_are_told(tmp_path):
    values = noise()
    values[:10] = 255
    save(tmp_path / "20.png", values)
    assert "saturated" in open_series(tmp_path).notices[0]


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("warm.png", noise(), r"warm.png has no temperature"),
        ("30.png", noise()[:60], r"30.png has 60 × 80 pixels, 20.png 80 × 80"),
        ("30.png", np.full((80, 80), 7, np.uint8), r"30.png is constant"),
        ("30.tif", np.full((80, 80), np.nan, np.float32), r"30.tif has pixels that are not finite"),
    ],
)
def test_frames_that_make_no_series_are_refused(tmp_path, name, values, told):
    save(tmp_path / "20.png", noise())
    save(tmp_path / name, values)
    with pytest.raises(ReproError, match=told):
        open_series(tmp_path)


def test_what_is_no_folder_of_images_is_refused(tmp_path):
    with pytest.raises(ReproError, match="no frames"):
        open_series(tmp_path)
    (tmp_path / "20.png").write_bytes(b"no image")
    with pytest.raises(ReproError, match=r"20.png is damaged"):
        open_series(tmp_path)
    with pytest.raises(ReproError, match="no folder"):
        open_series(tmp_path / "20.png")
