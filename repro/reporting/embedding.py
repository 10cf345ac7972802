"""Figures embedded in the page: checked, sized, and described if they are missing."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from repro.reporting import formatting as write

if TYPE_CHECKING:
    from repro.evaluation.records import FigureEntry

PLAIN = " !$()*+,/:;=?@[]^{}|~"  # what a data URI may hold as it is
MIME_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
WIDE = 1.9  # figures wider than this for their height get the whole width
NUMBER, GAP = rb"[-+\d.e]+", rb"[\s,]+"
VIEW_BOX = re.compile(
    rb'<svg[^>]*\sviewBox="\s*' + NUMBER + GAP + NUMBER + GAP + rb"([\d.]+)" + GAP + rb"([\d.]+)"
)


@dataclass(frozen=True)
class FigureView:
    """A figure as the page shows it: an embedded image, its file, or why there is neither."""

    name: str
    caption: str
    command: str
    alt: str
    uri: str | None = None
    width: int = 0
    height: int = 0
    problem: str = ""
    file: str = ""

    @property
    def wide(self) -> bool:
        """Whether the figure takes the whole width of the page."""
        return self.width > WIDE * self.height > 0


def figure_view(name: str, entry: FigureEntry, folder: Path, embedded: bool = True) -> FigureView:
    """Embed a figure or name its file, or say why it cannot be shown.

    Parameters
    ----------
    name : str
        The figure's name.
    entry : FigureEntry
        What the record says of it.
    folder : Path
        The record's folder.
    embedded : bool
        Whether the page is to hold the image.
    """
    alt = f"{write.readable(name)}: {entry.caption}"
    missing = FigureView(write.readable(name), entry.caption, entry.command, alt)
    path = folder / entry.file
    problem = ""
    if Path(entry.file).is_absolute() or ".." in Path(entry.file).parts:
        problem = f"The record names {Path(entry.file).name} outside its own folder."
    elif path.suffix not in MIME_TYPES:
        problem = f"{entry.file} is neither SVG nor PNG."
    elif not path.is_file():
        problem = f"The record names {entry.file}, but there is no such file beside it."
    else:
        content = path.read_bytes()
        size = image_size(content, path.suffix)
        if size and not embedded:
            return replace(missing, file=entry.file)
        if size:
            uri, (width, height) = data_uri(content, path.suffix), size
            return replace(missing, uri=uri, width=width, height=height, file=entry.file)
        problem = f"{entry.file} is damaged or not the image its name says."
    return replace(missing, problem=problem)


def data_uri(content: bytes, suffix: str) -> str:
    """Return an image as a URI. As an image, an SVG can neither run scripts nor load anything.

    An SVG is text and stays so, with the characters escaped that mean something in a URI or in an
    attribute: a quarter shorter than in base64.
    """
    if suffix == ".svg":
        return f"data:{MIME_TYPES[suffix]},{quote(content, safe=PLAIN)}"
    return f"data:{MIME_TYPES[suffix]};base64,{base64.b64encode(content).decode()}"


def image_size(content: bytes, suffix: str) -> tuple[int, int] | None:
    """Return width and height [pixel] of a whole SVG or PNG file, or none if it is not one."""
    if suffix == ".png":
        return png_size(content)
    box = VIEW_BOX.search(content)
    if not box or not content.rstrip().endswith(b"</svg>"):
        return None
    return round(float(box[1]) * 4 / 3), round(float(box[2]) * 4 / 3)  # points to pixels


def png_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height [pixel] of a PNG whose every chunk is whole, or none."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    place, kind = 8, b""
    while place + 12 <= len(content) and kind != b"IEND":
        (length,) = struct.unpack_from(">I", content, place)
        kind = content[place + 4 : place + 8]
        checked = content[place + 4 : place + 8 + length]
        if content[place + 8 + length : place + 12 + length] != struct.pack(
            ">I", zlib.crc32(checked)
        ):
            return None
        place += 12 + length
    return struct.unpack_from(">II", content, 16) if kind == b"IEND" else None
