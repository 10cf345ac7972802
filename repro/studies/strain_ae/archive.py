"""The published scan: its patterns with the published noise, its labels, and where they come from.

The patterns are in a MATLAB file; the labels, four arrays of NumPy, lie beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import h5py
import numpy as np
from scipy.ndimage import distance_transform_edt

from repro.datasets import downloads
from repro.errors import ReproError
from repro.files import sha256
from repro.studies.strain_ae.scan_files import ScanFile
from repro.studies.strain_ae.scans import REFERENCE_ROTATION
from repro.studies.strain_ae.simulate import NOISE_FREE, counts_as, lorentzian
from repro.study import Archive

RECORDS = "https://zenodo.org/record"
URL = f"{RECORDS}/10836435/files/polycrystal_output4D.mat"
LABELS_URL = f"{RECORDS}/10934269/files"
SCAN = "output4D"
AXES = (1, 0, 3, 2)  # row and column of the scan, row and column of the detector
LABELS = (
    "Label_strain_xx.npy",
    "Label_strain_yy.npy",
    "Label_shear_xy.npy",
    "Label_rotation.npy",
)
EXACT = 1e-6  # strains so near to a whole per cent lie within a grain
MOST_STRAIN = 0.5  # beyond, labels are no strains
MOST_ELECTRONS = 1.1  # of a pattern, whose shares should add up to 1


@dataclass(frozen=True)
class PublishedScan:
    """The scan, of which patterns are read when they are asked for.

    Parameters
    ----------
    path : pathlib.Path
        The MATLAB file.
    patterns : ScanFile
        Shares of the electrons in each pixel.
    labels : numpy.ndarray
        ``(n_rows, n_columns, 4)``: ε_xx, ε_yy, ε_xy [1] and rotation [rad].
    """

    path: Path
    patterns: ScanFile
    labels: np.ndarray

    @cached_property
    def sha256(self) -> str:
        """Of the MATLAB file, in hexadecimal digits."""
        return sha256(self.path)


def read_archive(path: str | Path) -> PublishedScan:
    """Open the published scan and read its labels.

    Parameters
    ----------
    path : pathlib.Path
        The MATLAB file; the four files of `LABELS` lie beside it.

    Raises
    ------
    ReproError
        If a file is missing, damaged, or not of the published form: says which.
    """
    path = Path(path)
    patterns = _patterns(path, path.name)
    labels = [_label(path.with_name(name), name) for name in LABELS]
    for name, values in zip(LABELS, labels, strict=True):
        if values.shape != patterns.shape:
            raise ReproError(
                f"{path.name} has {_size(patterns.shape)} positions, {name} {_size(values.shape)}: "
                "put the labels of this scan beside it."
            )
    return PublishedScan(path, patterns, np.stack(labels, axis=-1))


def arrays(scan: PublishedScan, parameters: dict) -> dict[str, np.ndarray]:
    """Return the scan as the variables of the data spec, with the published noise.

    Counts are drawn as in the published code: position after position from NumPy's older
    generator, so that at preset paper they are the published ones.

    Parameters
    ----------
    scan : PublishedScan
        The scan.
    parameters : dict
        Those of the data spec ``ws2_published``.

    Raises
    ------
    ReproError
        If the scan is too small for what is asked, or its patterns are no shares of electrons.
    """
    shape = (parameters["n_rows"], parameters["n_columns"])
    there = scan.patterns.shape
    steps = [_step(have, wanted, scan) for have, wanted in zip(there, shape, strict=True)]
    rows, columns = (np.arange(n) * step for n, step in zip(shape, steps, strict=True))
    labels = scan.labels[rows][:, columns]
    grain, within = grains(labels)
    return {
        "patterns": noisy_patterns(scan, rows, columns, parameters),
        "strain": labels[..., :3],
        "rotation": np.rad2deg(labels[..., 3] - REFERENCE_ROTATION),
        "share": within.astype(float),
        "grain": grain.astype(np.int16),
        "scan": np.zeros(len(labels), np.int16),
    }


def noisy_patterns(
    scan: PublishedScan, rows: np.ndarray, columns: np.ndarray, parameters: dict
) -> np.ndarray:
    """Return counts at some rows and columns, ``(n_rows, n_columns, n_pixels, n_pixels)``."""
    n_pixels, pixel_size = parameters["n_pixels"], round(parameters["pixel_size"])
    n_fine, noise, dose = n_pixels * pixel_size, parameters["noise"], parameters["dose"]
    background = lorentzian(np.arange(n_fine) - n_fine // 2)
    draws = np.random.RandomState(parameters["counts_seed"])
    kind = parameters["count_type"]
    patterns = np.empty((len(rows), len(columns), n_pixels, n_pixels), kind)
    for place, row in enumerate(rows):
        shares = _cropped(scan, int(row), n_fine)[columns].astype(float)
        counts = dose * ((1 - noise) * shares + noise * background)
        if noise != NOISE_FREE:
            counts = draws.poisson(counts)
        split = (len(columns), n_pixels, pixel_size, n_pixels, pixel_size)
        patterns[place] = counts_as(counts.reshape(split).sum(axis=(2, 4)), kind)
    return patterns


def grains(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the grain that each position is in or next to, and which are within.

    Within a grain strains are whole per cents; near its boundaries published labels depart.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(n_rows, n_columns, 4)``, as `PublishedScan` has them.

    Returns
    -------
    grain : numpy.ndarray
        ``(n_rows, n_columns)`` int.
    within : numpy.ndarray
        ``(n_rows, n_columns)`` bool.
    """
    percent = 100 * labels[..., :3]
    within = (np.abs(percent - percent.round()) < 100 * EXACT).all(axis=-1)
    if not within.any():
        return np.zeros(within.shape, int), within
    alike = np.concatenate([percent.round(), labels[..., 3:].round(3)], axis=-1)[within]
    numbers = np.zeros(within.shape, int)
    numbers[within] = np.unique(alike, axis=0, return_inverse=True)[1].ravel()
    nearest = distance_transform_edt(~within, return_distances=False, return_indices=True)
    return numbers[tuple(nearest)], within


def rows(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Refuse to make rows: the scan is read from its file, and its counts are drawn in order."""
    raise ReproError(
        "The published scan is not made but read: give its file with --data FILE, after "
        "repro data fetch strain_ae --out FILE where there is a network."
    )


def fetch(path: str | Path, url: str = URL, labels_url: str = LABELS_URL) -> Path:
    """Download the published scan, 17 GB, and its labels beside it.

    See `repro.datasets.downloads.fetch`.
    """
    path = Path(path)
    for name in LABELS:
        check = partial(_check_label, name)
        downloads.fetch(path.with_name(name), f"{labels_url}/{name}", check)
    return downloads.fetch(path, url, check=_patterns)


# ---- what the files must be


def _patterns(path: Path, source: str) -> ScanFile:
    if not path.is_file():
        raise ReproError(f"There is no file {path}: give the published scan, a .mat.")
    try:
        found = h5py.File(path).get(SCAN)
    except OSError:
        raise ReproError(
            f"{source} is cut off or no MATLAB file of version 7.3: copy or download it again."
        ) from None
    if not isinstance(found, h5py.Dataset) or found.ndim != 4 or found.dtype.kind not in "fiu":
        raise ReproError(f"{source} has no {SCAN} of four axes: give the published scan.")
    return ScanFile(found, AXES, source)


def _label(path: Path, name: str) -> np.ndarray:
    if not path.is_file():
        raise ReproError(
            f"{name} is not beside the scan: put {', '.join(LABELS)} into {path.parent}."
        )
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise ReproError(f"{name} is damaged or no .npy of numbers.") from None
    if values.ndim != 2 or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise ReproError(f"{name} holds no map of finite numbers.")
    largest = np.abs(values).max()
    if name != LABELS[-1] and largest > MOST_STRAIN:
        raise ReproError(f"{name} has a strain of {largest:g}: give 0.01 for one per cent.")
    return values.astype(float)


def _check_label(name: str, path: Path, source: str) -> None:
    _label(path, name)


def _cropped(scan: PublishedScan, row: int, size: int) -> np.ndarray:
    """Return the middle of the patterns of a row, ``(n_columns, size, size)``, checked."""
    patterns = scan.patterns.row(row)
    side = patterns.shape[-1]
    if side < size:
        raise ReproError(
            f"{scan.path.name} has patterns of {side} pixels a side, of which {size} are asked "
            "for: set n_pixels to less."
        )
    low = (side - size) // 2
    electrons = patterns.sum(axis=(1, 2))
    if not np.isfinite(electrons).all() or patterns.min() < 0 or electrons.max() > MOST_ELECTRONS:
        raise ReproError(
            f"{scan.path.name} has patterns in row {row} that are no shares of the electrons: they "
            "must not be below 0, and add up to 1 at most."
        )
    return patterns[:, low : low + size, low : low + size]


def _step(have: int, wanted: int, scan: PublishedScan) -> int:
    if have % wanted:
        raise ReproError(
            f"{scan.path.name} has {_size(scan.patterns.shape)} positions, of which every so many "
            f"cannot make {wanted} a side: set n_rows and n_columns to parts of them."
        )
    return have // wanted


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} × {shape[1]}"


ARCHIVE = Archive(
    data_spec="ws2_published", suffix=".mat", read=read_archive, arrays=arrays, fetch=fetch
)
