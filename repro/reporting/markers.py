"""What is generated within a document that is written by hand, between two markers."""

from __future__ import annotations

from pathlib import Path

from repro.errors import ReproError
from repro.files import write_text


def markers(name: str) -> tuple[str, str]:
    """Return the lines that begin and end what is generated, such as ``claims``."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def put_text(path: Path, updated: str) -> bool:
    """Write a document's text, unless it is there; return whether the file changed."""
    if updated == _read(path):
        return False
    write_text(path, updated)
    return True


def with_between(path: Path, name: str, content: str, what: str) -> str:
    """Return a document's text with generated text between its markers.

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
    text = _read(path)
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ReproError(
            f"{path.name} needs the line {begin} and after it the line {end}, once each, to "
            f"hold {what}."
        )
    before, after = text.split(begin)[0], text.split(end)[1]
    return f"{before}{begin}\n{content}\n{end}{after}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReproError(f"Cannot read {path.name}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ReproError(f"Cannot read {path.name}: it is not in UTF-8.") from None
