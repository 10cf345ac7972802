"""The published frames: an archive of their form is read, trained on and judged without labels."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from repro import cli
from repro.datasets.spec import load_spec
from repro.errors import ReproError
from repro.studies.domain_ae.archive import arrays, fetch, read_archive
from repro.studies.domain_ae.simulate import frames
from repro.study import get_study

SIZE, FIRST_ROW, FIRST_COLUMN = 160, 4, 6
CROP = {"first_row": FIRST_ROW, "first_column": FIRST_COLUMN, "pixel_size": 1, "size": SIZE}


@pytest.fixture(scope="module")
def made():
    """Frames of a specimen in vacuum, as they are simulated."""
    parameters = get_study("domain_ae").data_spec.resolve("smoke", "vacuum").parameters
    return frames(0, 6, 0, parameters)


def write(path, made, folder="Annealed/"):
    with zipfile.ZipFile(path, "w") as archive:
        for counts, temperature, is_cooling in zip(
            made["counts"], made["temperature"], made["is_cooling"], strict=True
        ):
            image = np.pad(counts * 0.5, ((FIRST_ROW, 2), (FIRST_COLUMN, 3))).clip(0, 255)
            content = io.BytesIO()
            Image.fromarray(image.astype(np.uint8)).save(content, "png")
            branch = "Ramp_Down" if is_cooling else "Ramp_Up"
            archive.writestr(f"{folder}{branch}/{temperature:g}.png", content.getvalue())
        archive.writestr("__MACOSX/Ramp_Up/._23.png", b"")
    return path


@pytest.fixture
def path(made, tmp_path):
    return write(tmp_path / "Annealed.zip", made)


def parameters(**changes):
    return load_spec("bto_environmental").resolve("smoke").parameters | CROP | changes


@pytest.mark.parametrize("folder", ["Annealed/", ""])
def test_frames_are_cropped_and_in_order(made, tmp_path, folder):
    found = arrays(read_archive(write(tmp_path / "a.zip", made, folder)), parameters())
    np.testing.assert_array_equal(found["temperature"], made["temperature"])
    np.testing.assert_array_equal(found["is_cooling"], made["is_cooling"])
    levels = np.minimum(made["counts"] * 0.5, 255).astype(np.uint8)
    np.testing.assert_array_equal(found["counts"], 100 * levels.astype(np.uint16))


def test_larger_pixels_are_means(path):
    fine = arrays(read_archive(path), parameters())["counts"]
    coarse = arrays(read_archive(path), parameters(size=80, pixel_size=2))["counts"]
    np.testing.assert_array_equal(coarse, fine.reshape(-1, 80, 2, 80, 2).mean(axis=(2, 4)))


def test_what_is_no_archive_of_frames_is_refused(path, made, tmp_path):
    with pytest.raises(ReproError, match="lies outside"):
        arrays(read_archive(path), parameters(size=400))
    with pytest.raises(ReproError, match="set levels to 1"):
        arrays(read_archive(path), parameters(levels=1000))
    (tmp_path / "no.zip").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReproError, match="cut off"):
        read_archive(tmp_path / "no.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(ReproError, match="no images"):
        read_archive(tmp_path / "empty.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("Vacuum/Ramp_Up/23.png", b"")
    with pytest.raises(ReproError, match="Annealed, Vacuum"):
        read_archive(path)
    with pytest.raises(ReproError, match=r"call it one of Annealed.zip"):
        fetch(tmp_path / "Argon.zip")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["faithful", "improved"])
def test_published_frames_are_trained_on_and_judged_without_labels(path, tmp_path, variant):
    out = tmp_path / "run"
    settings = [f"--set={name}={value}" for name, value in CROP.items()]
    options = ["--preset", "smoke", "--experiment", "annealed", "--seeds", "0", *settings]
    command = ["run", "domain_ae", "--variant", variant, *options]
    result = CliRunner().invoke(cli.app, [*command, "--data", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    record = json.loads((out / "record.json").read_text())
    assert record["data"]["name"] == "bto_environmental"
    metrics = set(record["metrics"])
    assert not {name for name in metrics if "ari" in name or "error" in name}
    needed = {
        "faithful": {"loss/training", "reconstruction/gain"},
        "improved": {"area/crossing/heating", "area/late", "area/domains", "stripes/signal"},
    }
    assert needed[variant] <= metrics
