"""A user's scan gives the same patterns from any kind of file, and a bad file one sentence."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.studies.strain_ae.scan_files import bad_pixels, open_scan

N_ROWS, N_COLUMNS, SIDE = 5, 6, 40


@pytest.fixture(scope="module")
def patterns():
    """A scan of counts: a bright beam that falls off, a little more of it from row to row."""
    place = np.arange(SIDE) - SIDE / 2
    fall = 200 * np.exp(-np.hypot(place[:, None], place - 1) / 4) + 1
    brightness = 1 + 0.02 * np.arange(N_ROWS * N_COLUMNS).reshape(N_ROWS, N_COLUMNS, 1, 1)
    return np.random.default_rng(0).poisson(fall * brightness).astype(np.uint16)


def rows(scan):
    return np.stack([scan.row(number) for number in range(scan.shape[0])])


def as_matlab(path, array):
    """Write an array as MATLAB 7.3 does: behind a header, its axes in reverse."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["datacube"] = array.transpose(3, 2, 1, 0)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


def as_emd(path, array):
    """Write an array as py4DSTEM does, with a picture and a calibration beside it."""
    with h5py.File(path, "w") as file:
        cube = file.create_group("datacube_root/datacube")
        cube.attrs["emd_group_type"] = "array"
        cube["data"] = array
        cube["dim0"] = np.arange(array.shape[0])
        file["datacube_root/virtual_image"] = array.sum(axis=(2, 3))


def as_hyperspy(path, array):
    with h5py.File(path, "w") as file:
        data = file.create_group("Experiments/scan").create_dataset("data", data=array, chunks=True)
        data.attrs["title"] = "scan"


def as_numpy(path, array):
    np.save(path, array)


KINDS = {"a.emd": as_emd, "a.hspy": as_hyperspy, "a.mat": as_matlab, "a.npy": as_numpy}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_the_same_patterns(name, patterns, tmp_path):
    KINDS[name](tmp_path / name, patterns)
    scan = open_scan(tmp_path / name, {})
    assert (scan.shape, scan.detector) == ((N_ROWS, N_COLUMNS), (SIDE, SIDE))
    np.testing.assert_array_equal(rows(scan), patterns)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_with_the_detector_first_is_recognised(name, patterns, tmp_path):
    KINDS[name](tmp_path / name, patterns.transpose(2, 3, 0, 1))
    scan = open_scan(tmp_path / name, {})
    np.testing.assert_array_equal(rows(scan), patterns)


def test_a_data_set_of_the_suite_is_a_scan(scans):
    scan = open_scan(scans.path, {})
    stored = np.asarray(Dataset.open(scans.path).array("patterns"))
    np.testing.assert_array_equal(rows(scan), stored)


def test_raw_bytes_are_read_as_stated_and_refused_as_anything_else(patterns, tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(patterns.tobytes())
    said = {"shape": f"{N_ROWS}x{N_COLUMNS}x{SIDE}x{SIDE}", "dtype": "uint16"}
    np.testing.assert_array_equal(rows(open_scan(path, said)), patterns)
    with pytest.raises(ReproError, match=r"shape=.*dtype="):
        open_scan(path, {})
    with pytest.raises(ReproError, match="96000 bytes"):
        open_scan(path, said | {"dtype": "float32"})
    with pytest.raises(ReproError, match="no type 'counts'"):
        open_scan(path, said | {"dtype": "counts"})


def test_a_stack_is_a_row_or_the_scan_that_is_stated(patterns, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, patterns.reshape(-1, SIDE, SIDE))
    assert open_scan(path, {}).shape == (1, N_ROWS * N_COLUMNS)
    scan = open_scan(path, {"shape": f"{N_ROWS}x{N_COLUMNS}"})
    np.testing.assert_array_equal(rows(scan), patterns)
    with pytest.raises(ReproError, match="30 patterns"):
        open_scan(path, {"shape": "4x7"})


def test_axes_that_look_alike_have_to_be_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).random((40, 40, 40, 40), dtype=np.float32))
    with pytest.raises(ReproError, match="order=scan_first"):
        open_scan(path, {})
    assert open_scan(path, {"order": "detector_first"}).axes == (2, 3, 0, 1)
    with pytest.raises(ReproError, match="'sideways'"):
        open_scan(path, {"order": "sideways"})


def test_of_several_scans_one_has_to_be_named(patterns, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["first"], file["second"] = patterns, patterns[::-1]
        file["again"] = file["first"]
    with pytest.raises(ReproError, match=r"several scans.*dataset="):
        open_scan(path, {})
    np.testing.assert_array_equal(rows(open_scan(path, {"dataset": "second"})), patterns[::-1])
    with pytest.raises(ReproError, match=r"no data set third.*second"):
        open_scan(path, {"dataset": "third"})


def test_of_a_detector_that_is_no_square_the_middle_is_used(patterns, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, patterns[..., 2:-2])
    scan = open_scan(path, {})
    np.testing.assert_array_equal(rows(scan), patterns[:, :, 2:-2, 2:-2])


def test_small_floats_and_negative_counts_are_read(patterns, tmp_path):
    np.save(tmp_path / "a.npy", patterns.astype(np.float16) - 3)
    read = rows(open_scan(tmp_path / "a.npy", {}))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, patterns.astype(np.float32) - 3)


# ---- pixels that do not count


def test_dead_and_hot_pixels_are_found_and_nothing_else(patterns):
    mean = patterns.mean(axis=(0, 1))
    assert not bad_pixels(mean).any()
    broken = mean.copy()
    broken[5, 7] = broken[20:22] = broken[0] = 0
    broken[30, 30] = 5000
    expected = np.zeros_like(mean, bool)
    expected[5, 7] = expected[20:22] = expected[0] = expected[30, 30] = True
    np.testing.assert_array_equal(bad_pixels(broken), expected)


def test_dark_space_between_discs_is_not_dead(scans_of):
    mean = np.asarray(scans_of("noise_00").array("patterns")[:6], float).mean(axis=(0, 1))
    assert (mean < 1e-3 * mean.mean()).mean() > 0.05
    assert bad_pixels(mean).sum() < 3


def test_bad_pixels_are_taken_from_those_around_them(patterns, tmp_path):
    broken = patterns.copy()
    broken[..., 10, 12], broken[..., 33, 5] = 0, 60000
    np.save(tmp_path / "a.npy", broken)
    scan = open_scan(tmp_path / "a.npy", {})
    read = rows(scan.mending(scan.some()))
    around = patterns[..., [9, 10, 10, 11], [12, 11, 13, 12]].mean(axis=-1)
    np.testing.assert_allclose(read[..., 10, 12], around)
    good = np.ones((SIDE, SIDE), bool)
    good[10, 12] = good[33, 5] = False
    np.testing.assert_array_equal(read[..., good], patterns[..., good])


def test_a_detector_that_is_broken_all_over_is_refused(patterns, tmp_path):
    broken = patterns.copy()
    broken[..., ::7, :] = 0
    np.save(tmp_path / "a.npy", broken)
    scan = open_scan(tmp_path / "a.npy", {})
    with pytest.raises(ReproError, match=r"1\d% of the detector"):
        scan.mending(scan.some())


def test_patterns_to_learn_from_come_from_all_over_the_scan(patterns, tmp_path):
    np.save(tmp_path / "a.npy", patterns)
    scan = open_scan(tmp_path / "a.npy", {})
    assert len(scan.some()) == N_ROWS * N_COLUMNS
    some = scan.some(most=10)
    assert 4 <= len(some) <= 10
    assert some.mean() == pytest.approx(patterns.mean(), rel=0.1)


# ---- files that cannot be read


def test_a_file_that_is_cut_off_is_refused(patterns, tmp_path):
    for name in ("a.npy", "a.emd", "a.mat"):
        path = tmp_path / name
        KINDS[name](path, patterns)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ReproError, match=name):
            rows(open_scan(path, {}))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.dm4", b"", "convert it"),
        ("a.mat", b"MATLAB 5.0 MAT-file", "-v7.3"),
        ("a.npy", b"nonsense", "damaged"),
    ],
)
def test_a_file_of_another_kind_says_what_to_do(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReproError, match=reason):
        open_scan(tmp_path / name, {})


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4)), np.zeros((2, 2, 40, 40), complex), np.zeros((2, 0, 40, 40))],
    ids=["one picture", "complex", "empty"],
)
def test_an_array_that_is_no_scan_says_what_it_is(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ReproError, match=str(array.dtype)):
        open_scan(tmp_path / "a.npy", {})


def test_patterns_too_small_to_show_discs_are_refused(patterns, tmp_path):
    np.save(tmp_path / "a.npy", patterns[..., 10:30, 10:30])
    with pytest.raises(ReproError, match="20 by 20 pixels"):
        open_scan(tmp_path / "a.npy", {})
