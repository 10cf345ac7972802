"""The published frames of one environment, from the archive that holds them as images."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from repro.datasets import downloads
from repro.errors import ReproError
from repro.files import sha256
from repro.studies.domain_ae.frame_files import BRANCHES, COOLING, SUFFIXES, FrameFile, in_order
from repro.study import Archive

URL = "https://zenodo.org/record/10092383/files"
ENVIRONMENTS = ("Annealed", "Nitrogen", "Oxygen", "Vacuum")


@dataclass(frozen=True)
class PublishedFrames:
    """The frames of an environment, read when they are asked for.

    Parameters
    ----------
    path : pathlib.Path
        The archive.
    files : tuple of FrameFile
        Where in it they are, heating before cooling.
    """

    path: Path
    files: tuple[FrameFile, ...]

    @cached_property
    def sha256(self) -> str:
        """Of the archive, in hexadecimal digits."""
        return sha256(self.path)


def read_archive(path: str | Path) -> PublishedFrames:
    """Find the frames of an archive.

    Parameters
    ----------
    path : pathlib.Path
        A zip file with ``Ramp_Up`` and ``Ramp_Down``, perhaps within a folder; names of images are
        temperatures.

    Raises
    ------
    ReproError
        If it is damaged, or has no frames or those of several environments.
    """
    path = Path(path)
    return PublishedFrames(path, _files(path, path.name))


def _files(path: Path, source: str) -> tuple[FrameFile, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [PurePosixPath(name) for name in archive.namelist()]
    except OSError as error:
        raise ReproError(f"Cannot read {source}: {error.strerror}.") from None
    except zipfile.BadZipFile:
        raise ReproError(
            f"{source} is cut off or no zip file: copy or download it again."
        ) from None
    images = [
        name
        for name in inside
        if name.suffix.lower() in SUFFIXES and name.parent.name.lower() in BRANCHES
    ]
    images = [name for name in images if not name.name.startswith(".")]
    if not images:
        raise ReproError(f"{source} has no images in folders Ramp_Up and Ramp_Down.")
    environments = sorted({str(name.parent.parent) for name in images})
    if len(environments) > 1:
        known = ", ".join(environments)
        raise ReproError(f"{source} has frames of {known}: give an archive of one environment.")
    return in_order((Path(name), BRANCHES[name.parent.name.lower()]) for name in images)


def arrays(frames: PublishedFrames, parameters: dict) -> dict[str, np.ndarray]:
    """Return the frames as the variables of the data spec, cropped as published.

    Parameters
    ----------
    frames : PublishedFrames
        The frames.
    parameters : dict
        Those of the data spec ``bto_environmental``.

    Raises
    ------
    ReproError
        If a frame is damaged, or too small for the crop.
    """
    with zipfile.ZipFile(frames.path) as archive:
        counts = [_cropped(archive, file, parameters) for file in frames.files]
    return {
        "counts": np.stack(counts),
        "temperature": np.array([file.temperature for file in frames.files]),
        "is_cooling": np.array([file.branch == COOLING for file in frames.files], np.uint8),
        "specimen": np.zeros(len(frames.files), np.int64),
    }


def _cropped(archive: zipfile.ZipFile, file: FrameFile, parameters: dict) -> np.ndarray:
    """Return the crop of a frame, some pixels binned to one, ``(size, size)`` uint16."""
    try:
        content = io.BytesIO(archive.read(file.path.as_posix()))
    except (zipfile.BadZipFile, OSError):
        raise ReproError(f"{file.path.name} is damaged: download the archive again.") from None
    values = file.pixels(content)
    size, binned = parameters["size"], parameters["pixel_size"]
    top, left, side = parameters["first_row"], parameters["first_column"], size * binned
    cropped = values[top : top + side, left : left + side]
    if cropped.shape != (side, side):
        raise ReproError(
            f"{file.path.name} has {values.shape[0]} × {values.shape[1]} pixels: a crop of {side} "
            f"from row {top} and column {left} on lies outside; set size, first_row and "
            "first_column to less."
        )
    means = cropped.reshape(size, binned, size, binned).mean(axis=(1, 3))
    levels = np.rint(means * parameters["levels"])
    if levels.max() > np.iinfo(np.uint16).max:
        raise ReproError(f"{file.path.name} has grey levels of {means.max():g}: set levels to 1.")
    return levels.astype(np.uint16)


def frames(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Refuse to make frames: they are read from their archive."""
    raise ReproError(
        "The published frames are not made but read: give their archive with --data FILE, after "
        "repro data fetch domain_ae --out Annealed.zip where there is a network."
    )


def fetch(path: str | Path, url: str = URL) -> Path:
    """Download the frames of the environment that a file is called by, such as ``Annealed.zip``.

    See `repro.datasets.downloads.fetch`.

    Raises
    ------
    ReproError
        If the file is called by none.
    """
    path = Path(path)
    named = {name.lower(): name for name in ENVIRONMENTS}
    if path.suffix != ARCHIVE.suffix or path.stem.lower() not in named:
        known = ", ".join(f"{name}.zip" for name in ENVIRONMENTS)
        raise ReproError(f"{path.name} is no published archive: call it one of {known}.")
    return downloads.fetch(path, f"{url}/{named[path.stem.lower()]}.zip", check=_files)


ARCHIVE = Archive(
    data_spec="bto_environmental", suffix=".zip", read=read_archive, arrays=arrays, fetch=fetch
)
