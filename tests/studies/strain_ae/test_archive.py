"""The published scan: its noise and its labels as published, and files that are not of its form."""

from __future__ import annotations

import http.server
import json
import threading
from functools import partial

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from repro import cli
from repro.datasets.spec import load_spec
from repro.errors import ReproError
from repro.studies.strain_ae import archive
from repro.studies.strain_ae.lattice import deformation
from repro.studies.strain_ae.scans import FIELD, REFERENCE_ROTATION, beam_at
from repro.studies.strain_ae.simulate import Detector

SIDE, N_PIXELS = 8, 208  # positions and pixels along a side of the file; 200 are used
DETECTOR = Detector(
    N_PIXELS, pixel_size=1.0, beam_offset=0.2, disc_radius=3.72, disc_edge=0.15, first_ring=37.9
)


def parameters(experiment="noise_25", preset="smoke", **changes):
    return {**load_spec("ws2_published").resolve(preset, experiment).parameters, **changes}


def write_scan(path, shares):
    """Write patterns as MATLAB keeps them, both axes of the scan and of the detector swapped."""
    with h5py.File(path, "w") as file:
        file["output4D"] = shares.transpose(1, 0, 3, 2)


@pytest.fixture(scope="module")
def truth():
    """Patterns of the published grains at 8 by 8 positions, and their labels."""
    places = (np.arange(SIDE) + 0.5) * FIELD / SIDE - 0.5
    positions = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    _, strain, rotation = beam_at("published", positions, 0.0, 0, 0).largest
    shares = DETECTOR.patterns(deformation(strain, rotation)).astype(np.float32)
    labels = np.concatenate([strain, rotation[:, None]], axis=1).reshape(SIDE, SIDE, 4)
    labels[3, 5, 0] += 0.0031  # near a boundary, where they depart
    return shares.reshape(SIDE, SIDE, N_PIXELS, N_PIXELS), labels


def write_all(folder, truth):
    shares, labels = truth
    write_scan(folder / "scan.mat", shares)
    for place, name in enumerate(archive.LABELS):
        np.save(folder / name, labels[..., place])
    return folder / "scan.mat"


@pytest.fixture(scope="module")
def path(truth, tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("published"), truth)


@pytest.fixture
def own(truth, tmp_path):
    """Files that a test may spoil."""
    return write_all(tmp_path, truth)


# ---- patterns and labels


def test_without_noise_patterns_are_the_middle_of_the_published_ones(path, truth):
    given = parameters("noise_00", n_pixels=200, pixel_size=1.0)
    found = archive.arrays(archive.read_archive(path), given)["patterns"]
    expected = 1e5 * truth[0][:, :, 4:204, 4:204].astype(float)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_counts_are_those_of_the_published_code(path, truth):
    # Its noise is drawn pattern by pattern, rows first, from one generator with the seed 42.
    given = parameters(n_pixels=200, pixel_size=1.0)
    found = archive.arrays(archive.read_archive(path), given)["patterns"]
    frequency = np.fft.fftshift(np.fft.fftfreq(200))
    background = 1 / (1 + (frequency[:, None] ** 2 + frequency**2) / 0.01**2)
    background /= background.sum()
    draws = np.random.RandomState(42)
    for row, column in ((0, 0), (0, 1), (0, 2)):
        share = truth[0][row, column, 4:204, 4:204].astype(float)
        expected = draws.poisson(1e5 * (0.75 * share + 0.25 * background))
        assert (found[row, column] == expected).mean() > 0.9999


def test_larger_pixels_hold_the_sum_of_the_smaller_ones(path):
    scan = archive.read_archive(path)
    fine = archive.arrays(scan, parameters(n_pixels=200, pixel_size=1.0))["patterns"]
    coarse = archive.arrays(scan, parameters())["patterns"]
    assert coarse.shape == (SIDE, SIDE, 100, 100)
    sums = fine.reshape(SIDE, SIDE, 100, 2, 100, 2).sum(axis=(3, 5))
    np.testing.assert_array_equal(coarse, sums)


def test_every_second_row_and_column_is_taken_where_half_is_asked_for(path, truth):
    given = parameters("noise_00", n_rows=4, n_columns=4)
    found = archive.arrays(archive.read_archive(path), given)
    np.testing.assert_array_equal(found["strain"], truth[1][::2, ::2, :3])
    whole = archive.arrays(archive.read_archive(path), parameters("noise_00"))
    np.testing.assert_array_equal(found["patterns"], whole["patterns"][::2, ::2])


def test_labels_are_kept_as_published_and_tell_grains_from_boundaries(path, truth):
    found = archive.arrays(archive.read_archive(path), parameters())
    strain, rotation = truth[1][..., :3], truth[1][..., 3]
    np.testing.assert_array_equal(found["strain"], strain)
    np.testing.assert_allclose(found["rotation"], np.rad2deg(rotation - REFERENCE_ROTATION))
    within = found["share"] == 1
    assert not within[3, 5]
    assert within.sum() == SIDE**2 - 1
    of_rotation = {
        g: set(rotation[within & (found["grain"] == g)]) for g in np.unique(found["grain"])
    }
    assert all(len(rotations) == 1 for rotations in of_rotation.values())
    assert len(of_rotation) == len(np.unique(rotation))


# ---- files that are not of its form


def spoiled_label(name, change):
    def spoil(path):
        np.save(path.with_name(name), change(np.load(path.with_name(name))))

    return spoil


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def other_name(path):
    with h5py.File(path, "w") as file:
        file["scan"] = np.zeros((2, 2, 2, 2))


def below_zero(path):
    with h5py.File(path, "a") as file:
        file["output4D"][0, 0, 0, 0] = -1


@pytest.mark.parametrize(
    ("spoil", "changes", "fact"),
    [
        (lambda path: path.unlink(), {}, "no file"),
        (cut, {}, "cut off"),
        (other_name, {}, "no output4D"),
        (lambda path: path.with_name("Label_rotation.npy").unlink(), {}, "Label_rotation.npy"),
        (spoiled_label("Label_shear_xy.npy", lambda a: a[:4]), {}, "Label_shear_xy.npy"),
        (spoiled_label("Label_strain_yy.npy", lambda a: 100 * a), {}, "Label_strain_yy.npy"),
        (spoiled_label("Label_strain_xx.npy", lambda a: a * np.nan), {}, "finite"),
        (below_zero, {}, "below 0"),
        (lambda path: None, {"n_pixels": 400}, "208"),
        (lambda path: None, {"n_rows": 3}, "8 × 8"),
    ],
    ids=[
        *("missing", "cut off", "another name", "no label", "a label too small", "per cents"),
        *("not finite", "negative", "too few pixels", "another size"),
    ],
)
def test_a_file_that_is_not_the_published_scan_is_refused_by_what_is_wrong(
    own, spoil, changes, fact
):
    spoil(own)
    with pytest.raises(ReproError, match=fact):
        archive.arrays(archive.read_archive(own), parameters(**changes))


def test_the_data_set_is_not_built_without_the_file():
    with pytest.raises(ReproError, match="--data FILE"):
        archive.rows(0, 1, 0, parameters())


def test_scan_and_labels_are_fetched_side_by_side(path, tmp_path):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=path.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    fetched = archive.fetch(tmp_path / "new" / "scan.mat", f"{address}/scan.mat", address)
    server.shutdown()
    server.server_close()
    assert fetched.read_bytes() == path.read_bytes()
    np.testing.assert_array_equal(
        archive.read_archive(fetched).labels, archive.read_archive(path).labels
    )


# ---- a run


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["faithful", "improved"])
def test_a_run_on_the_published_scan_is_judged_by_what_it_was_trained_on(path, tmp_path, variant):
    command = ["run", "strain_ae", "--variant", variant, "--preset", "smoke", "--data", str(path)]
    ran = CliRunner().invoke(
        cli.app, [*command, "--out", str(tmp_path / "run"), "--json", "--quiet"]
    )
    assert ran.exit_code == 0, ran.stderr or ran.exception
    record = json.loads(ran.stdout)
    assert record["data"]["name"] == "ws2_published"
    metrics = {name.split("/")[0] for name in record["metrics"]}
    assert "trained" in metrics
    assert not metrics & {"limit", "new_noise", "unseen", "smooth", "base"}
    assert "centre_of_mass/trained/displacement" in record["metrics"]
