"""One command maps a user's scan: strains are true, deviations hold, gaps are told."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from repro import cli
from repro.datasets.build import build
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.runs import whole
from repro.runs.choices import Choices
from repro.studies.strain_ae.apply import apply, precise
from repro.studies.strain_ae.fit import Fit
from repro.studies.strain_ae.lattice import sixfold
from repro.studies.strain_ae.simulate import Simulation
from repro.study import Trained, get_study

pytestmark = pytest.mark.slow

N_ROWS, N_COLUMNS = 12, 16
STRAINS = ("strain_xx", "strain_yy", "strain_xy")
SCAN = {
    "n_rows": str(N_ROWS), "n_columns": str(N_COLUMNS), "noise": "0.1", "scans": "['published']",
    "train": "8", "validation": "2", "test": "2",
}  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A scan of the published grains with what is true of it."""
    path = tmp_path_factory.mktemp("known") / "scan.h5"
    spec = get_study("strain_ae").data_spec.resolve("smoke", None, SCAN)
    return Dataset.open(build(spec, path))


@pytest.fixture(scope="module")
def vacuum():
    """Which positions of the scan have no crystal, bool: four are empty, a third is vacuum."""
    where = np.zeros((N_ROWS, N_COLUMNS), bool)
    where[:2, :2] = where[-4:] = True
    return where


@pytest.fixture(scope="module")
def spoiled(known, vacuum, tmp_path_factory):
    """The scan as a detector gives it: off centre, bad pixels, a part without crystal."""
    patterns = np.asarray(known.array("patterns")).astype(np.uint16)
    simulation = Simulation(**known.spec.parameters)
    beam = simulation.expected(np.full((1, 1, 2, 2), 1e6) * np.eye(2), np.ones((1, 1)))
    patterns[vacuum] = np.random.default_rng(0).poisson(beam, (vacuum.sum(), *beam.shape[1:]))
    moved = np.pad(patterns, [(0, 0), (0, 0), (0, 10), (6, 4)])[..., 10:, :]
    moved[..., 30, 40], moved[..., 70, 20] = 60000, 0
    moved[:2, :2] = 0
    path = tmp_path_factory.mktemp("spoiled") / "scan.npy"
    np.save(path, moved)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the variant improved, as small as can be."""
    folder = tmp_path_factory.mktemp("improved") / "run"
    small = {"n_rows": "6", "n_columns": "6", "train": "6", "validation": "6", "test": "18"}
    choices = Choices(study="strain_ae", variant="improved", settings=small)
    whole.prepare_and_train(choices, [0], folder)
    return folder


@pytest.fixture(scope="module")
def maps(run, spoiled, known):
    """What the command writes of the spoiled scan, by name, and what it says."""
    grain = np.asarray(known.array("grain"))
    rows, columns = np.nonzero((grain == 9) & (np.asarray(known.array("share")) == 1))
    chosen = rows == np.median(rows).astype(int)
    row, left, right = rows[chosen][0], columns[chosen].min(), columns[chosen].max() + 1
    out = spoiled.with_name("maps.h5")
    reference = f"reference={row}:{row + 1},{left}:{right}"
    command = ["apply", str(run), "--data", str(spoiled), "--out", str(out), "--set", reference]
    ran = CliRunner().invoke(cli.app, command)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.split() == [str(out), str(out.with_name("maps_maps.svg"))]
    with h5py.File(out) as file:
        return {n: d[()] for n, d in file.items() if isinstance(d, h5py.Dataset)}, ran.stderr, out


def errors_of(maps, known, kind=""):
    """Return errors and deviations within grains, ``(n, 4)``: strain, and rotation [degrees]."""
    names = [f"{name}{kind}" for name in (*STRAINS, "rotation")]
    found, deviations = (
        np.stack([maps[f"{name}{end}"] for name in names], axis=-1) for end in ("", "_deviation")
    )
    strain, rotation = (np.asarray(known.array(name)) for name in ("strain", "rotation"))
    errors = found - np.concatenate([strain, rotation[..., None]], axis=-1)
    errors[..., 3] = np.rad2deg(sixfold(np.deg2rad(errors[..., 3])))
    counted = (np.asarray(known.array("share")) == 1) & np.isfinite(found[..., 0])
    return errors[counted], deviations[counted]


def test_strain_and_rotation_are_found_within_what_is_stated(maps, known):
    errors, deviations = errors_of(maps[0], known)
    assert len(errors) > 40
    assert (np.median(np.abs(errors), axis=0) < [2e-3, 2e-3, 2e-3, 0.1]).all()
    within = (np.abs(errors) < 1.645 * deviations).mean()
    assert 0.8 < within < 0.97


def test_neighbours_make_strain_more_precise(maps, known):
    alone, together = (
        np.sqrt(np.mean(errors_of(maps[0], known, kind)[0] ** 2, axis=0))
        for kind in ("", "_neighbours")
    )
    assert (together < 0.9 * alone).all()


def test_positions_without_a_crystal_are_left_empty_and_told(maps, known, vacuum):
    found, said, _ = maps
    alone = np.asarray(known.array("share")) == 1
    np.testing.assert_array_equal(np.isnan(found["strain_xx"]), vacuum)
    assert found["crystal"][vacuum].max() < 0.1
    assert found["crystal"][alone & ~vacuum].min() > 0.7
    assert np.isfinite(found["misfit"]).all()
    assert "68 of 192 positions show no crystal" in said


def test_it_says_how_the_file_was_read_and_what_was_mended(maps):
    said = maps[1]
    assert f"{N_ROWS} rows and {N_COLUMNS} columns" in said
    assert "2 dead or hot pixels" in said


def test_maps_state_units_and_are_found_by_other_programs(maps):
    emdfile = pytest.importorskip("emdfile", reason="emdfile, the readers' side, is not installed")
    found, _, out = maps
    with h5py.File(out) as file:
        assert file["strain_xx"].attrs["unit"] == "1"
        assert file["rotation_deviation"].attrs["unit"] == "degrees"
    array = emdfile.read(out, emdpath="0_emd/strain_xx")
    np.testing.assert_array_equal(array.data, found["strain_xx"])


# ---- what cannot be mapped


@pytest.fixture(scope="module")
def improved(known):
    return Trained("improved", known, {}, {}, {}, 0)


def mapped(trained, path, patterns, **settings):
    np.save(path, patterns)
    return apply(trained, path, lambda done, total: None, **settings)


def test_patterns_without_discs_are_refused(improved, tmp_path):
    place = np.arange(64) - 32
    beam = 500 * np.exp(-np.hypot(place[:, None], place) / 3) + 2
    noise = np.random.default_rng(0).poisson(np.broadcast_to(beam, (8, 8, 64, 64)))
    with pytest.raises(ReproError, match="no ring of discs"):
        mapped(improved, tmp_path / "a.npy", noise.astype(np.uint16))


def test_a_scan_that_is_nearly_empty_is_refused(improved, known, tmp_path):
    patterns = np.asarray(known.array("patterns"))[:4, :6]
    with pytest.raises(ReproError, match=r"a\.npy has 24 patterns with counts"):
        mapped(improved, tmp_path / "a.npy", patterns)


def test_discs_too_weak_to_tell_a_strain_are_refused():
    weak = Fit(np.zeros((9, 4)), np.full((9, 4), 0.03), np.ones(9))
    with pytest.raises(ReproError, match=r"a\.npy.*0\.03"):
        precise(weak, "a.npy")
    strong = Fit(np.zeros((9, 4)), np.full((9, 4), 0.001), np.ones(9))
    assert precise(strong, "a.npy") is strong


@pytest.mark.parametrize(
    ("reference", "reason"),
    [("10:20", "10:20,0:8"), ("3:3,0:4", "no part of a scan of 12 rows"), ("0:2,9:99", "9:99")],
)
def test_a_reference_that_is_none_is_refused(improved, spoiled, reference, reason):
    with pytest.raises(ReproError, match=reason):
        apply(improved, spoiled, lambda done, total: None, reference=reference)


def test_a_published_network_maps_no_other_scan(known, spoiled):
    with pytest.raises(ReproError, match="improved"):
        apply(Trained("faithful", known, {}, {}, {}, 0), spoiled, lambda done, total: None)


def test_an_unknown_setting_is_refused_before_the_run_is_opened(run, spoiled, tmp_path):
    command = ["apply", str(run), "--data", str(spoiled), "--out", str(tmp_path / "a.h5")]
    refused = CliRunner().invoke(cli.app, [*command, "--set", "refrence=0:1,0:1"])
    assert refused.exit_code == 2
    assert "takes reference, order" in refused.stderr
    command[-1] = str(tmp_path / "a.csv")
    assert "ends in .h5" in CliRunner().invoke(cli.app, command).stderr
