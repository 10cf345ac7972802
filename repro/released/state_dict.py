"""The tensors of a file that ``torch.save(model.state_dict(), FILE)`` wrote."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from repro.datasets.npz import UNREADABLE, refuse_too_large
from repro.errors import ReproError
from repro.released.pickled import NotOnlyTensors, Storage, StoredTensor, stored_tensors

PROGRAM = "data.pkl"
LONGEST_PROGRAM = 2**24  # [bytes]; that of a state dict takes some two hundred a tensor
START_OF_OLD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # of files before PyTorch 1.6
TAR_AT, TAR = 257, b"ustar"  # of the first files of PyTorch
HOW = "give what torch.save(model.state_dict(), FILE) wrote"


def read_state_dict(path: Path, source: str = "") -> dict[str, np.ndarray]:
    """Return the tensors of a state dict by name, in the file's order.

    Nothing that the file holds is run. Tensors are read-only, and share the numbers that they share
    in the file.

    Parameters
    ----------
    path : pathlib.Path
        A zip file, as PyTorch has written it since version 1.6.
    source : str, optional
        What to call it in messages; by default by its path.

    Raises
    ------
    ReproError
        If there is no such file, it is of another kind, damaged, or asks for anything but tensors.
    NotPossibleHere
        If its numbers do not fit into the memory.
    """
    source = source or str(path)
    try:
        with path.open("rb") as file:
            start = file.read(TAR_AT + len(TAR))
    except OSError as error:
        raise ReproError(f"{source} cannot be read ({error.strerror}): {HOW}.") from None
    if start.startswith(START_OF_OLD) or start[TAR_AT:] == TAR:
        raise ReproError(
            f"{source} has the form that PyTorch wrote before version 1.6: load and save it there "
            "once more."
        )
    if not start.startswith(b"PK"):
        raise ReproError(f"{source} is no file of PyTorch: {HOW}.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _tensors(archive)
    except NotOnlyTensors as problem:
        raise ReproError(f"{source} {problem}: nothing of it is run; {HOW}.") from None
    except UNREADABLE:
        raise ReproError(f"{source} is damaged or cut off: copy or download it again.") from None


def _tensors(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    programs = [n for n in archive.namelist() if n.partition("/")[2] == PROGRAM]
    if len(programs) != 1:
        raise NotOnlyTensors(f"has no {PROGRAM}, or several")
    folder = programs[0].removesuffix(PROGRAM)
    if archive.getinfo(programs[0]).file_size > LONGEST_PROGRAM:
        raise NotOnlyTensors(f"has a {PROGRAM} too long for a state dict")
    tensors = stored_tensors(archive.read(programs[0]))
    storages = {tensor.storage: f"{folder}data/{tensor.storage.key}" for tensor in tensors.values()}
    for storage, member in storages.items():
        _check_size(archive, storage, member)
    refuse_too_large(sum(archive.getinfo(member).file_size for member in storages.values()))
    order = _order_of_bytes(archive, f"{folder}byteorder")
    numbers = {
        storage: np.frombuffer(archive.read(member), np.dtype(f"{order}{storage.dtype}"))
        for storage, member in storages.items()
    }
    return {name: _placed(name, of, numbers[of.storage]) for name, of in tensors.items()}


def _check_size(archive: zipfile.ZipFile, storage: Storage, member: str) -> None:
    """Refuse numbers that are packed, or not as many as stated: before any are read."""
    info = archive.getinfo(member)
    stated = storage.count * np.dtype(storage.dtype).itemsize
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != stated:
        raise NotOnlyTensors(f"states {stated} bytes for {member!r}, which has {info.file_size}")


def _order_of_bytes(archive: zipfile.ZipFile, member: str) -> str:
    is_big = member in archive.namelist() and archive.read(member).strip() == b"big"
    return ">" if is_big else "<"


def _placed(name: str, of: StoredTensor, numbers: np.ndarray) -> np.ndarray:
    """Return a tensor of its numbers, none of which lies outside them."""
    last = of.offset + sum((n - 1) * step for n, step in zip(of.shape, of.strides, strict=True))
    if not 0 < math.prod(of.shape) <= len(numbers) or last >= len(numbers):
        raise NotOnlyTensors(f"has {name!r} of the shape {of.shape} in {len(numbers)} numbers")
    strides = [step * numbers.itemsize for step in of.strides]
    return np.lib.stride_tricks.as_strided(numbers[of.offset :], of.shape, strides, writeable=False)
