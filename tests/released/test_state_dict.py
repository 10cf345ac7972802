"""Tensors come out of a file as PyTorch put them in, and nothing that a file holds is ever run."""

from __future__ import annotations

import contextlib
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from torch_files import CALL_DICT, count, program, state_dict, tensor, text

from repro.errors import NotPossibleHere, ReproError
from repro.released.pickled import NotOnlyTensors, stored_tensors
from repro.released.state_dict import LONGEST_PROGRAM, read_state_dict

TENSORS = {
    "first.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "first.bias": np.array([0.5, -1.5], dtype=np.float32),
    "scale": np.array(3.0, dtype=np.float32),
}
STATED = TENSORS["first.weight"].size, (2, 3, 4), (12, 4, 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def of(written):
    """Return a program that writes down one tensor."""
    return program({"first.weight": written})


def refused(path):
    """Return the one sentence with which a file is refused."""
    with pytest.raises(ReproError) as caught:
        read_state_dict(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tensors_come_back_in_their_order_and_shape(path):
    found = read_state_dict(state_dict(path, TENSORS))
    assert list(found) == list(TENSORS)
    for name, values in TENSORS.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], values)


def test_tensors_may_share_numbers_and_lie_in_any_order_in_them(path):
    turned = tensor("0", 24, (4, 3), (1, 4), offset=12)
    content = program({"all": tensor("0", *STATED), "turned": turned})
    found = read_state_dict(state_dict(path, TENSORS, program=content))
    np.testing.assert_array_equal(found["turned"], TENSORS["first.weight"][1].T)


def test_other_types_and_orders_of_bytes_are_read_as_they_were_written(path):
    content = of(tensor("0", 3, (3,), (1,), kind="torch\nDoubleStorage"))
    numbers = np.array([1.0, -2.5, 1e300])
    for order, byteorder in (("<", b"little"), (">", b"big"), ("<", None)):
        written = numbers.astype(f"{order}f8").tobytes()
        state_dict(path, TENSORS, program=content, data_0=written, byteorder=byteorder)
        np.testing.assert_array_equal(read_state_dict(path)["first.weight"], numbers)


# ---- files made to do harm


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_program_that_would_run_something_is_refused_by_name_and_not_run(path, tmp_path):
    target = tmp_path / "harmed"
    harm = pickle.dumps(Harm(target), protocol=2)
    pickle.loads(harm)
    target.rmdir()  # it does work
    assert "posix.mkdir" in refused(state_dict(path, TENSORS, program=harm))
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x80\x02cposix\nsystem\n" + text("true") + b"\x85R.", "posix.system"),
        (b"\x80\x02cbuiltins\neval\n" + text("1") + b"\x85R.", "builtins.eval"),
        (of(tensor("0", *STATED, kind="os\nsystem")), "os.system"),
        (of(b"ctorch._utils\n_rebuild_parameter\n"), "_rebuild_parameter"),
        (b"(" + text("true") + b"iposix\nsystem\n.", "INST"),
        (b"(S'true'\nios\nsystem\n.", "STRING"),
        (pickle.dumps({}, protocol=4), "MEMOIZE"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls what it should not"),
        (of(b"ccollections\nOrderedDict\n" + count(1) + b"\x85R"), "calls what it should not"),
        (of(tensor("0", *STATED) + b"}b"), "calls what it should not"),
        (of(text("a number") + b"Q"), "damaged"),
        (of(count(3)), "'first.weight', which is no tensor"),
        (program({}), "no dict of tensors"),
        (b"\x80\x02" + CALL_DICT + count(1) + count(2) + b"s.", "name that is no text"),
        (b".", "damaged"),
        (b"", "damaged"),
    ],
)
def test_whatever_no_state_dict_needs_is_refused_by_name(path, content, named):
    assert named in refused(state_dict(path, TENSORS, program=content))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (tensor("0", 10**12, (10**6, 10**6), (10**6, 1)), "states 4000000000000 bytes"),
        (tensor("0", 24, (10**6, 10**6), (0, 0)), "in 24 numbers"),
        (tensor("0", 24, (2**40, 2**40), (2**40, 1)), "in 24 numbers"),
        (tensor("0", 24, (5, 5), (5, 1)), "in 24 numbers"),
        (tensor("0", 24, (2, 3, 4), (12, 4, 2)), "in 24 numbers"),
        (tensor("0", *STATED, offset=1), "in 24 numbers"),
        (tensor("0", 24, (0, 3), (3, 1)), "in 24 numbers"),
        (tensor("0", *STATED, offset=-1), "whose shape is none"),
        (tensor("0", 24, (24,), (-1,), offset=23), "whose shape is none"),
        (tensor("0", 24, (24,), (1, 1)), "shape or strides"),
        (tensor("0", -24, (24,), (1,)), "unknown way"),
        (tensor("7", *STATED), "damaged"),
        (tensor("0/../../1", *STATED), "damaged"),
    ],
)
def test_sizes_that_the_file_does_not_have_are_refused(path, written, told):
    assert told in refused(state_dict(path, TENSORS, program=of(written)))


def test_numbers_that_are_packed_are_refused_before_they_unfold(path):
    size = 2**24
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", of(tensor("0", size, (size,), (1,))))
        archive.writestr("a/data/0", bytes(4 * size))
    assert path.stat().st_size < 2**17
    assert "states 67108864 bytes" in refused(path)


def test_more_than_the_memory_holds_is_not_possible_here(path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(NotPossibleHere, match="memory are free"):
        read_state_dict(state_dict(path, TENSORS))


def test_a_program_as_long_as_no_state_dict_is_refused(path):
    state_dict(path, TENSORS, program=bytes(LONGEST_PROGRAM + 1))
    assert "too long" in refused(path)


# ---- files that are damaged, or of another kind


def test_a_file_that_is_cut_off_is_refused_wherever(path):
    whole = state_dict(path, TENSORS).read_bytes()
    for length in range(2, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "damaged or cut off" in refused(path)


def test_a_flipped_bit_is_found_or_harmless(path):
    whole = state_dict(path, TENSORS).read_bytes()
    for place in range(2, len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 0x15
        path.write_bytes(altered)
        try:
            found = read_state_dict(path)
        except ReproError:
            continue
        for name, values in found.items():
            np.testing.assert_array_equal(values, TENSORS[name])


def test_a_program_with_flipped_bits_says_what_it_is_or_that_it_is_none():
    whole = program({"a": tensor("0", *STATED), "b": tensor("1", 2, (2,), (1,))})
    for place in range(len(whole)):
        for bit in range(8):
            altered = bytearray(whole)
            altered[place] ^= 1 << bit
            with contextlib.suppress(NotOnlyTensors):
                stored_tensors(bytes(altered))


def test_files_before_pytorch_1_6_are_refused_with_what_to_do(path):
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"more")
    assert "before version 1.6" in refused(path)
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "storages")
    assert "before version 1.6" in refused(path)


def test_what_is_no_file_of_pytorch_is_told_apart(path, tmp_path):
    assert "cannot be read (No such file" in refused(path)
    assert "cannot be read (Is a directory" in refused(tmp_path)
    path.write_text("<html>please log in</html>")
    assert "no file of PyTorch" in refused(path)
    np.savez(path.with_suffix(".npz"), a=1)
    assert "has no data.pkl" in refused(path.with_suffix(".npz"))
    path.write_bytes(b"")
    assert "no file of PyTorch" in refused(path)
