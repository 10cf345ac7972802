"""Archives of arrays, ``.npz``, that may be damaged or made to do harm."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np
import psutil

from repro.errors import NotPossibleHere

# What numpy and zipfile raise over a damaged file; RuntimeError is for one with a password.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, ValueError, TypeError),
    *(SyntaxError, RuntimeError, NotImplementedError, OverflowError, struct.error, MemoryError),
    TokenError,  # of a header
)
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
MOST_OF_MEMORY = 0.9  # of what is free


def read_npz(file: Path | BinaryIO, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an archive; what it says of their sizes is checked before any is made.

    Parameters
    ----------
    file : pathlib.Path or binary file
        The archive.
    names : collection of str, optional
        The arrays that are wanted; by default all.

    Raises
    ------
    NotPossibleHere
        If the arrays do not fit into the memory.
    UNREADABLE
        If it is no whole archive of arrays of numbers or texts, or lacks one that is wanted.
    """
    with zipfile.ZipFile(file) as archive:
        wanted = [f"{name}.npy" for name in names] if names is not None else archive.namelist()
        refuse_too_large(sum(_stated_bytes(archive, name) for name in wanted))
        return {name.removesuffix(".npy"): _array(archive, name) for name in wanted}


def refuse_too_large(size: int) -> None:
    """Refuse arrays that do not fit into the memory.

    Parameters
    ----------
    size : int
        All of them together [bytes].

    Raises
    ------
    NotPossibleHere
        If they are larger than what is free.
    """
    free = psutil.virtual_memory().available
    if size > MOST_OF_MEMORY * free:
        raise NotPossibleHere(
            f"The arrays take {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free: "
            "take fewer or smaller ones."
        )


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _stated_bytes(archive: zipfile.ZipFile, name: str) -> int:
    """Return the size of an array, if its header and the archive agree about it [bytes]."""
    with archive.open(name) as member:
        read_header = HEADERS.get(np.lib.format.read_magic(member))
        if read_header is None:
            raise ValueError(f"{name} is of an unknown version")
        shape, _, dtype = read_header(member)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError(f"{name} holds objects, which allow_pickle=False keeps out")
        if member.tell() + size != archive.getinfo(name).file_size:
            raise ValueError(f"{name} does not have the size that it states")
    return size
