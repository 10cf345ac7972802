"""A user's own 4D-STEM scan: its file opened without being read, its axes found, bad pixels mended.

HDF5 of any layout (EMD, py4DSTEM, HyperSpy, the suite's own), MATLAB 7.3, NumPy and raw bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.ndimage import maximum_filter, median_filter

from repro.errors import ReproError

SCAN_FIRST, DETECTOR_FIRST = ORDERS = ("scan_first", "detector_first")
HDF5_SUFFIXES = (".h5", ".hdf5", ".emd", ".hspy", ".mat", ".nxs")
RAW_SUFFIXES = (".raw", ".bin")
MATLAB = b"MATLAB 7.3"  # how such a file begins
CLEAR = 1.5  # how much more the mean changes over the detector than over the scan
N_PROBED = 16  # entries of the first axis that tell which axes are which
FEWEST_PIXELS = 32  # along a side of the detector
DEAD, HOT = 0.2, 4.0  # of what is around a pixel, in the mean pattern [1]
N_NEIGHBOURS = 4  # good pixels that stand in for a bad one
DARK = 0.03  # of the mean: between darker pixels nothing is called dead [1]
HALF_WINDOW = 2  # of the window that is around a pixel [pixels]
MOST_BAD = 0.05  # share of pixels
LEARNED_FROM = 1024  # patterns, at most


@dataclass(frozen=True)
class ScanFile:
    """Patterns in a file, of which only those that are asked for are read.

    Parameters
    ----------
    array : array_like
        Four axes, as the file has them; an h5py data set or a NumPy memory map.
    axes : tuple of int
        Which of them are row and column of the scan, row and column of the detector.
    name : str
        The file's name.
    bad : numpy.ndarray, optional
        ``(m,)`` int, pixels of the square pattern that are mended, as `repro` numbers them.
    """

    array: Any
    axes: tuple[int, int, int, int]
    name: str
    bad: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the scan."""
        return self.array.shape[self.axes[0]], self.array.shape[self.axes[1]]

    @property
    def detector(self) -> tuple[int, int]:
        """Rows and columns of the detector [pixels]."""
        return self.array.shape[self.axes[2]], self.array.shape[self.axes[3]]

    @property
    def side(self) -> int:
        """Side of the square in the detector's middle that is used [pixels]."""
        return min(self.detector)

    def row(self, number: int, every: int = 1) -> np.ndarray:
        """Read a row of the scan, ``(n_columns, side, side)`` [counts].

        As float32, but as they are in the file where no pixel is known to be bad.

        Parameters
        ----------
        number : int
            Which.
        every : int
            Of so many columns one is read, from the first on.

        Raises
        ------
        ReproError
            If the file ends before it.
        """
        where: list[Any] = [slice(None)] * 4
        where[self.axes[0]], where[self.axes[1]] = number, slice(None, None, every)
        try:
            read = np.asarray(self.array[tuple(where)])
        except OSError as error:
            raise ReproError(
                f"{self.name} cannot be read at row {number} of the scan; it may be cut off "
                f"({str(error).splitlines()[0]})."
            ) from None
        left = [axis for axis in range(4) if axis != self.axes[0]]
        patterns = read.transpose([left.index(axis) for axis in self.axes[1:]])
        patterns = self._square(patterns)
        if self.bad is not None and not len(self.bad):
            return patterns
        return self.mended(patterns.astype(np.float32))

    def _square(self, patterns: np.ndarray) -> np.ndarray:
        down, right = ((n - self.side) // 2 for n in self.detector)
        return patterns[:, down : down + self.side, right : right + self.side]

    def some(self, most: int = LEARNED_FROM) -> np.ndarray:
        """Read patterns from all over the scan, ``(n, side, side)``, at most so many."""
        n_rows, n_columns = self.shape
        each = max(1, int(np.ceil(np.sqrt(n_rows * n_columns / most))))
        rows = range(each // 2 if n_rows > each else 0, n_rows, each)
        return np.concatenate([self.row(number, each) for number in rows])

    def mending(self, patterns: np.ndarray) -> ScanFile:
        """Return the scan with dead and hot pixels taken from those around them.

        Parameters
        ----------
        patterns : numpy.ndarray
            ``(n, side, side)``: patterns of it that show which are bad.

        Raises
        ------
        ReproError
            If a large part of the detector is.
        """
        bad = bad_pixels(patterns.mean(axis=0, dtype=np.float64))
        if bad.mean() > MOST_BAD:
            raise ReproError(
                f"{self.name}: {bad.mean():.0%} of the detector's pixels are dead or hot, which is "
                "too much to mend: cut the patterns to the part that works."
            )
        return replace(self, bad=np.flatnonzero(bad))

    def mended(self, patterns: np.ndarray) -> np.ndarray:
        """Take the bad pixels of patterns from those around them, in place; return the patterns."""
        if self.bad is None or not len(self.bad):
            return patterns
        flat = patterns.reshape(len(patterns), -1)
        flat[:, self.bad] = flat[:, self._neighbours].mean(axis=2)
        return patterns

    @cached_property
    def _neighbours(self) -> np.ndarray:
        """The nearest good pixels of every bad one, ``(m, N_NEIGHBOURS)``."""
        good = np.ones(self.side**2, bool)
        good[self.bad] = False
        places = np.stack(np.divmod(np.flatnonzero(good), self.side), axis=1)
        found = []
        for pixel in self.bad:
            away = np.square(places - np.divmod(pixel, self.side)).sum(axis=1)
            nearest = np.argpartition(away, N_NEIGHBOURS)[:N_NEIGHBOURS]
            found.append(places[nearest] @ [self.side, 1])
        return np.array(found)


def bad_pixels(mean: np.ndarray) -> np.ndarray:
    """Tell which pixels are dead or hot, ``(n, n)`` bool, from the mean of many patterns.

    Dead is far darker than the middle of what is around it, hot far brighter than all of it. Where
    much is dark, as between the discs of a scan without background, dead is what lies between
    bright pixels.
    """
    width = 2 * HALF_WINDOW + 1
    around = np.ones((3, 3), bool)
    around[1, 1] = False
    dead = mean < DEAD * median_filter(mean, width, mode="nearest")
    if dead.mean() > MOST_BAD:
        between = _between(mean)
        dead = (mean < DEAD * between) & (between > DARK * mean.mean())
    hot = mean > HOT * np.maximum(maximum_filter(mean, footprint=around, mode="nearest"), 1e-9)
    return dead | (hot & (mean > HOT * np.median(mean)))


def _between(mean: np.ndarray) -> np.ndarray:
    """Return what both of two opposite neighbours reach in three of four directions, ``(n, n)``."""
    n, framed = len(mean), np.pad(mean, HALF_WINDOW, mode="reflect")

    def at(row: int, column: int) -> np.ndarray:
        return framed[HALF_WINDOW + row :, HALF_WINDOW + column :][:n, :n]

    steps = range(1, HALF_WINDOW + 1)
    reached = [
        np.max([np.minimum(at(k * row, k * column), at(-k * row, -k * column)) for k in steps], 0)
        for row, column in ((0, 1), (1, 0), (1, 1), (1, -1))
    ]
    return np.sort(reached, axis=0)[1]


def open_scan(path: Path, settings: dict[str, str]) -> ScanFile:
    """Open a scan.

    Parameters
    ----------
    path : Path
        ``.npy``, HDF5 or MATLAB 7.3; ``.raw`` and ``.bin`` with stated shape and type.
    settings : dict
        What the user says of it: ``order``, one of `ORDERS`; ``dataset``, which of an HDF5 file's;
        ``shape``, such as ``64x64x128x128``, of raw bytes, or of the scan, ``64x64``, if patterns
        follow one another; ``dtype`` of raw bytes.

    Raises
    ------
    ReproError
        If the file cannot be read or holds no such thing; or which axes are which cannot be made
        out.
    """
    array, is_reversed = _opened(path, settings)
    if array.ndim not in (3, 4) or array.dtype.kind not in "uifb" or not array.size:
        raise ReproError(
            f"{path.name} holds an array of shape {array.shape} and type {array.dtype}: a scan is "
            "a four-dimensional array of numbers, or patterns one after the other."
        )
    array = _in_four_axes(array, path.name, settings.get("shape", ""))
    order = settings.get("order") or _order_of(array, path.name)
    if isinstance(array, Rows) and order == DETECTOR_FIRST:
        raise ReproError(f"{path.name} holds patterns one after the other: leave order out.")
    if order not in ORDERS:
        raise ReproError(f"There is no order {order!r} of axes: choose {' or '.join(ORDERS)}.")
    scan, detector = ((0, 1), (2, 3)) if order == SCAN_FIRST else ((2, 3), (0, 1))
    if is_reversed:  # MATLAB's first axis is the last of HDF5
        scan, detector = scan[::-1], detector[::-1]
    found = ScanFile(array, (*scan, *detector), path.name)
    if found.side < FEWEST_PIXELS:
        raise ReproError(
            f"{path.name} has patterns of {found.detector[0]} by {found.detector[1]} pixels, read "
            f"as {order}: at least {FEWEST_PIXELS} each way are needed to see discs. If that is "
            f"the scan, give --set order={_other(order)}."
        )
    return found


def _opened(path: Path, settings: dict[str, str]) -> tuple[Any, bool]:
    """Return the array of a file, and whether its axes stand in MATLAB's order, reversed."""
    readers: dict[str, Callable] = {
        ".npy": _numpy,
        **dict.fromkeys(RAW_SUFFIXES, _raw),
        **dict.fromkeys(HDF5_SUFFIXES, _hdf5),
    }
    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in readers:
        known = ", ".join(readers)
        raise ReproError(
            f"{path.name} is no scan that can be read ({known}): convert it, as the README of "
            "strain_ae says for other formats."
        )
    return readers[suffix](path, settings)


def _numpy(path: Path, _settings: dict[str, str]) -> tuple[Any, bool]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False), False
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ReproError(f"{path.name} is damaged or no array of numbers ({reason}).") from None


def _raw(path: Path, settings: dict[str, str]) -> tuple[Any, bool]:
    if not ("shape" in settings and "dtype" in settings):
        raise ReproError(
            f"{path.name} does not say what it holds: give --set shape=64x64x128x128 --set "
            "dtype=uint16, as it is."
        )
    shape = _sizes(settings["shape"])
    try:
        dtype = np.dtype(settings["dtype"])
    except TypeError:
        raise ReproError(f"There is no type {settings['dtype']!r}: give one as uint16.") from None
    needed, there = int(np.prod(shape)) * dtype.itemsize, path.stat().st_size
    if len(shape) != 4 or needed != there:
        raise ReproError(
            f"{path.name} has {there} bytes, and {settings['shape']} of {dtype} takes {needed}: "
            "state all four sizes as they are."
        )
    return np.memmap(path, dtype, "r", shape=shape), False


def _hdf5(path: Path, settings: dict[str, str]) -> tuple[Any, bool]:
    with path.open("rb") as file:
        is_matlab = file.read(len(MATLAB)) == MATLAB
    try:
        content = h5py.File(path)
    except OSError as error:
        reason = str(error).splitlines()[0]
        hint = " MATLAB must have saved it with -v7.3." if path.suffix.lower() == ".mat" else ""
        raise ReproError(f"{path.name} is cut off or no HDF5 file ({reason}).{hint}") from None
    name = settings.get("dataset")
    if name is not None:
        found = content.get(name)
        if not isinstance(found, h5py.Dataset):
            there = ", ".join(sorted(_datasets(content))) or "none"
            raise ReproError(f"{path.name} has no data set {name}: of arrays it has {there}.")
        return found, is_matlab
    found = _datasets(content)
    if not found:
        raise ReproError(f"{path.name} holds no array of three or four dimensions.")
    largest = max(d.size for d in found.values())
    scans = {n: d for n, d in found.items() if d.size == largest}
    if len(scans) > 1:
        raise ReproError(
            f"{path.name} holds several scans, {', '.join(scans)}: say which with --set "
            "dataset=NAME."
        )
    return next(iter(scans.values())), is_matlab


def _datasets(content: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the arrays of three or four dimensions in a file by path, linked ones once."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (3, 4):
            found[name] = item

    content.visititems(visit)
    return found


def _in_four_axes(array: Any, name: str, shape: str) -> Any:
    """Return an array with four axes; patterns that follow one another are a row, or as stated."""
    if array.ndim == 4:
        return array
    rows, columns = _sizes(shape) if shape else (1, len(array))
    if rows * columns != len(array):
        raise ReproError(
            f"{name} holds {len(array)} patterns, which are not {rows} rows of {columns}: state "
            "the scan's shape as it is."
        )
    return Rows(array, rows, columns)


@dataclass(frozen=True)
class Rows:
    """Patterns that follow one another, as rows of a scan; only what is asked for is read."""

    array: Any
    n_rows: int
    n_columns: int

    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array with four axes."""
        return self.n_rows, self.n_columns, *self.array.shape[1:]

    def __getitem__(self, where: Any) -> np.ndarray:
        """Return a row, of all or some columns."""
        number, columns = where[:2]
        first, after, step = columns.indices(self.n_columns)
        begin = number * self.n_columns
        return self.array[begin + first : begin + after : step]


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        sizes = ()
    if len(sizes) not in (2, 4) or min(sizes) < 1:
        raise ReproError(f"shape={text}: write sizes as 64x64 or 64x64x128x128.")
    return sizes


def _order_of(array: Any, name: str) -> str:
    """Return which axes come first: those over which the mean changes less are the scan's."""
    if isinstance(array, Rows):
        return SCAN_FIRST
    block = _probe(array, name)
    over_last, over_first = (
        _variation(block.mean(axis=axes, dtype=np.float64)) for axes in ((0, 1), (2, 3))
    )
    if max(over_last, over_first) < CLEAR * min(over_last, over_first):
        raise ReproError(
            f"{name}: which axes are the scan's cannot be made out of {block.shape[1:]}: say so "
            f"with --set order={SCAN_FIRST} or {DETECTOR_FIRST}."
        )
    return SCAN_FIRST if over_last > over_first else DETECTOR_FIRST


def _probe(array: Any, name: str) -> np.ndarray:
    every = max(1, array.shape[0] // N_PROBED)
    try:
        return np.asarray(array[::every])
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ReproError(f"{name} cannot be read; it may be cut off ({reason}).") from None


def _variation(mean: np.ndarray) -> float:
    return float(mean.std() / max(abs(mean.mean()), 1e-12))


def _other(order: str) -> str:
    return DETECTOR_FIRST if order == SCAN_FIRST else SCAN_FIRST
