"""A user's series of bright-field frames: a folder of images named by their temperature."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from repro.errors import ReproError

SUFFIXES = (".png", ".tif", ".tiff")
BRANCHES = {"ramp_up": "heating", "ramp_down": "cooling"}  # folders, as published
HEATING, COOLING, UNKNOWN = "heating", "cooling", ""
TEMPERATURE = re.compile(r"-?\d+(?:\.\d+)?")
GREY = np.array([0.2125, 0.7154, 0.0721])  # of red, green and blue, as the authors take them
SATURATED = 0.01  # share of the pixels at the largest value that are told of


@dataclass(frozen=True)
class FrameFile:
    """One image.

    Parameters
    ----------
    path : Path
        The file.
    branch : str
        ``"heating"``, ``"cooling"``, or empty where the folder does not tell.
    temperature : float
        From the file's name [°C].
    """

    path: Path
    branch: str
    temperature: float

    @property
    def name(self) -> str:
        """What the frame is called, such as ``heating_100``."""
        return "_".join(part for part in (self.branch, f"{self.temperature:g}") if part)

    def pixels(self, content: BinaryIO | None = None) -> np.ndarray:
        """Return the image, ``(height, width)`` float32; colours become grey.

        Parameters
        ----------
        content : file, optional
            What is in the file, where it lies in an archive.

        Raises
        ------
        ReproError
            If it cannot be read, or holds what is no intensity.
        """
        values, _ = _image(self.path, content)
        return values


@dataclass(frozen=True)
class FrameSeries:
    """The frames of a folder, heating before cooling, each branch in the order it went.

    Parameters
    ----------
    files : tuple of FrameFile
        The frames.
    shape : tuple of int
        Height and width of each [pixels].
    notices : tuple of str
        What the user should know of them.
    """

    files: tuple[FrameFile, ...]
    shape: tuple[int, int]
    notices: tuple[str, ...] = field(default=())

    def read(self, number: int) -> np.ndarray:
        """Return a frame, ``(height, width)`` float32."""
        return self.files[number].pixels()


def open_series(folder: Path, environment: str | None = None) -> FrameSeries:
    """Find the frames of a folder and check each, one at a time.

    Parameters
    ----------
    folder : Path
        Holds images, or ``Ramp_Up`` and ``Ramp_Down`` with images, or folders of environments with
        these.
    environment : str, optional
        Which of these folders.

    Raises
    ------
    ReproError
        If there are no frames, their sizes differ, a name has no temperature, or an image is not as
        it should be: says which, and why.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ReproError(f"{folder} is no folder: give the folder of the frames.")
    files = _files(_of_environment(folder, environment))
    if not files:
        raise ReproError(
            f"{folder} has no frames: images called by their temperature, such as 100.png, are "
            "looked for in it and in its folders Ramp_Up and Ramp_Down."
        )
    shape, notices = None, []
    for file in files:
        values, about = _image(file.path)
        shape = values.shape if shape is None else shape
        if values.shape != shape:
            raise ReproError(
                f"{file.path.name} has {_size(values.shape)} pixels, {files[0].path.name} "
                f"{_size(shape)}: frames of a series must be of one size."
            )
        notices += [f"{file.path.name}: {notice}" for notice in about]
    return FrameSeries(files, shape, tuple(notices))


def _of_environment(folder: Path, environment: str | None) -> Path:
    """Return the folder of one environment."""
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and _branches(p))
    if environment is not None:
        chosen = [p for p in inner if p.name.lower() == environment.lower()]
        if not chosen:
            known = ", ".join(p.name for p in inner) or "none"
            raise ReproError(f"{folder} has no environment {environment}: there is {known}.")
        return chosen[0]
    if _branches(folder) or len(inner) == 0 or _images(folder):
        return folder
    if len(inner) > 1:
        known = ", ".join(p.name for p in inner)
        raise ReproError(
            f"{folder} has several environments, {known}: choose one with --set environment=NAME."
        )
    return inner[0]


def _branches(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name.lower() in BRANCHES)


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def _files(folder: Path) -> tuple[FrameFile, ...]:
    """Return the frames of a folder in their order."""
    branches = _branches(folder)
    if not branches:
        return in_order((path, UNKNOWN) for path in _images(folder))
    return in_order((p, BRANCHES[b.name.lower()]) for b in branches for p in _images(b))


def in_order(images: Iterable[tuple[Path, str]]) -> tuple[FrameFile, ...]:
    """Return frames in the order they were taken, of images and their branches."""
    found = [FrameFile(path, branch, _temperature(path)) for path, branch in images]

    def order(file: FrameFile) -> tuple[bool, float]:
        is_cooling = file.branch == COOLING
        return is_cooling, -file.temperature if is_cooling else file.temperature

    return tuple(sorted(found, key=order))


def _temperature(path: Path) -> float:
    """Return the temperature that a file is called by [°C]."""
    found = TEMPERATURE.search(path.stem)
    if found is None:
        raise ReproError(f"{path.name} has no temperature in its name: call it such as 100.png.")
    return float(found.group())


def _image(path: Path, content: BinaryIO | None = None) -> tuple[np.ndarray, list[str]]:
    """Return an image in grey, and what is to be told of it."""
    from PIL import Image

    try:
        with Image.open(content or path) as image:
            is_indexed = image.mode in ("P", "1")
            values = np.asarray(image.convert("RGB") if is_indexed else image)
    except (OSError, ValueError, SyntaxError):
        raise ReproError(f"{path.name} is damaged or no image.") from None
    notices, largest = [], np.iinfo(values.dtype).max if values.dtype.kind in "iu" else None
    if values.ndim == 3:
        colours = values[..., :3].astype(np.float32)
        if values.shape[2] < 3:  # grey, with transparency
            colours = np.repeat(colours[..., :1], 3, axis=2)
        if np.any(colours != colours[..., :1]):
            notices.append("the image is coloured; its brightness is taken")
        values = colours @ GREY
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ReproError(f"{path.name} has pixels that are not finite: mend them first.")
    if values.min() < 0:
        values = values - values.min()
    if np.ptp(values) == 0:
        raise ReproError(f"{path.name} is constant: it shows nothing.")
    if largest is not None and np.mean(values >= largest) > SATURATED:
        notices.append(f"{np.mean(values >= largest):.0%} of the pixels are saturated")
    return values, notices


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} × {shape[1]}"
