"""What a translator reads in image files: a row for every image, whether it can be read or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from repro.errors import ReproError
from repro.studies.rheed_translator.page.predict import Reading, Translator
from repro.studies.rheed_translator.page.uploads import Upload, read_stack


@dataclass(frozen=True)
class Row:
    """One of several images: what was read from it, or why nothing could be.

    Parameters
    ----------
    name : str
        What the image is called.
    reading : Reading, optional
        What the translator read, if it could.
    notices : tuple of str
        What was done to the file's numbers.
    error : str
        Why it was not read.
    """

    name: str
    reading: Reading | None = None
    notices: tuple[str, ...] = ()
    error: str = ""

    @property
    def remark(self) -> str:
        """Why the number is in doubt, and what was done to the file's numbers."""
        doubts = () if self.reading is None else self.reading.doubts
        return " ".join((*doubts, *self.notices))


def read_row(
    translator: Translator, name: str, load: Callable[[], Upload], is_linear: bool = False
) -> Row:
    """Read an image; one that cannot be read is named and stops nothing.

    Parameters
    ----------
    translator : Translator
        The translator.
    name : str
        What to call the image.
    load : callable
        Returns the image, or raises `ReproError` where there is none.
    is_linear : bool
        Whether the image is known to be linear in the intensity, whatever its kind of file says.
    """
    try:
        upload = load()
        reading = translator.read(upload.image, is_linear or upload.is_linear)
        return Row(name, reading, upload.notices)
    except ReproError as error:
        return Row(name, error=str(error))


def read_rows(translator: Translator, name: str, content: bytes, is_linear: bool) -> list[Row]:
    """Read every image of a file: one, or those of a stack, such as a movie of a growth.

    Parameters
    ----------
    translator : Translator
        The translator.
    name, content
        Of the file, as `read_stack` takes them.
    is_linear : bool
        As `read_row` takes it.
    """
    try:
        images = read_stack(name, content)
    except ReproError as error:
        return [Row(name, error=str(error))]
    return [read_row(translator, each, load, is_linear) for each, load in images]
