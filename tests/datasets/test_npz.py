"""Archives of arrays that are damaged, or that were made to do harm."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest

from repro.datasets.npz import UNREADABLE, read_npz
from repro.errors import NotPossibleHere

TRIES = int(os.environ.get("REPRO_TEST_BYTES", "300"))


def header(shape, descr="<f4"):
    file = io.BytesIO()
    content = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, content)
    return file.getvalue()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return path


def test_arrays_come_back(tmp_path):
    a, b = np.arange(6, dtype=">i2").reshape(2, 3), np.array("text")
    np.savez(tmp_path / "a.npz", a=a, b=b)
    found = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["a"], a)
    assert found["b"].item() == "text"
    assert read_npz(tmp_path / "a.npz", ["b"]).keys() == {"b"}


def test_a_small_file_that_states_a_large_array_is_refused_before_it_is_made(tmp_path):
    # 634 bytes stated 36 TiB, and numpy asked for them.
    path = archive(tmp_path / "a.npz", a=header((10**6, 10**7)))
    with pytest.raises(ValueError, match="size that it states"):
        read_npz(path)


def test_a_small_file_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.npz", a=header((2_500_000,)) + bytes(10**7))
    assert path.stat().st_size < 20_000
    free = type("Memory", (), {"available": 10**7})
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(NotPossibleHere, match=r"take 0\.0 GB"):
        read_npz(path)


def test_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="objects"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_byte_is_found_or_harmless(compressed):
    draw, file = np.random.default_rng(compressed), io.BytesIO()
    arrays = {"a": draw.random(100), "b": np.arange(30)}
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    for position in draw.integers(0, file.tell(), TRIES):
        altered = bytearray(file.getvalue())
        altered[position] ^= int(draw.integers(1, 256))
        try:
            found = read_npz(io.BytesIO(altered), ["a", "b"])
        except (*UNREADABLE, NotPossibleHere):
            continue
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
