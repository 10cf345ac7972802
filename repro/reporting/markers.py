"""What is generated within a document that is written by hand, between two markers."""

from __future__ import annotations

from pathlib import Path

from repro.errors import ReproError
from repro.files import write_text


def markers(name: str) -> tuple[str, str]:
    """Return the lines that begin and end what is generated, such as ``claims``."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def put_between(path: Path, name: str, content: str, what: str) -> bool:
    """Put generated text between the markers of a document; return whether the file changed.

    Parameters
    ----------
    path : Path
        The document.
    name : str
        The name in its markers.
    content : str
        The text.
    what : str
        What the text is, for messages.

    Raises
    ------
    ReproError
        If the file cannot be read, or the two markers are not there once each, in order.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReproError(f"Cannot read {path.name}: {error.strerror}.") from None
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ReproError(
            f"{path.name} needs the line {begin} and after it the line {end}, once each, to "
            f"hold {what}."
        )
    before, after = text.split(begin)[0], text.split(end)[1]
    updated = f"{before}{begin}\n{content}\n{end}{after}"
    if updated != text:
        write_text(path, updated)
    return updated != text
