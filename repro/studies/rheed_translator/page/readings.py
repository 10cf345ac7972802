"""What a translator reads in image files: a row for every image, whether it can be read or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from repro.errors import ReproError
from repro.studies.rheed_translator.page.uploads import Upload
from repro.studies.rheed_translator.predict import Reading, Translator


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


def read_row(translator: Translator, name: str, load: Callable[[], Upload]) -> Row:
    """Read an image; one that cannot be read is named and stops nothing.

    Parameters
    ----------
    translator : Translator
        The translator.
    name : str
        What to call the image.
    load : callable
        Returns the image, or raises `ReproError` where there is none.
    """
    try:
        upload = load()
        return Row(name, translator.read(upload.image), upload.notices)
    except ReproError as error:
        return Row(name, error=str(error))
