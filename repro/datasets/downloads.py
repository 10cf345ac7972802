"""Downloading what a paper published: whole, once, and checked against the first time."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from repro.errors import NotPossibleHere, ReproError
from repro.files import replacing, sha256

TIMEOUT = 60  # without an answer [s]
PIECE = 2**20  # [bytes]


def fetch(
    path: str | Path, url: str, check: Callable[[Path, str], object], option: str = "--data"
) -> Path:
    """Download a published file, unless it is here already, and check that it is the same.

    The first download leaves the SHA-256 beside the file, in ``NAME.sha256``, which every later
    call checks against.

    Parameters
    ----------
    path : pathlib.Path
        Where the file is kept; never overwritten.
    url : str
        Where it comes from.
    check : callable
        Takes a file and what to call it; raises ReproError if it is not what it should be.
    option : str
        Under which commands take the file, to tell those who must get it elsewhere.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ReproError
        If the file here or there is another than at the first download, it is not what it should
        be, or it cannot be written.
    NotPossibleHere
        If it cannot be downloaded.
    """
    path = Path(path)
    record = path.with_name(path.name + ".sha256")
    if path.exists():
        if not record.exists():  # put there by hand, or another file altogether
            check(path, str(path))
        _check_or_note(sha256(path), record, str(path))
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            _download(url, partial, option)
            check(partial, url)
            _check_or_note(sha256(partial), record, url)
    except OSError as error:
        raise ReproError(
            f"{path} cannot be written ({error.strerror}): choose another folder."
        ) from None
    return path


def _check_or_note(sha256: str, record: Path, source: str) -> None:
    if not record.exists():
        with replacing(record) as partial:
            partial.write_text(f"{sha256}  {record.stem}\n", encoding="ascii")
    elif record.read_text(encoding="utf-8").split()[:1] != [sha256]:
        raise ReproError(
            f"{source} is not the file whose checksum {record} keeps since the first download: "
            f"move {record.stem} away to download it again, {record.name} too to accept another."
        )


def _download(url: str, path: Path, option: str) -> None:
    try:
        answer = urllib.request.urlopen(url, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error, option) from None
    with answer, path.open("wb") as file:
        while piece := _read(answer, url, option):
            file.write(piece)
        length = answer.headers.get("Content-Length")
        if length is not None and file.tell() < int(length):
            raise _unreachable(url, f"it ends after {file.tell()} of {length} bytes", option)


def _read(answer, url: str, option: str) -> bytes:
    try:
        return answer.read(PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error, option) from None


def _unreachable(url: str, error: Exception | str, option: str) -> NotPossibleHere:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
    return NotPossibleHere(
        f"{url} cannot be downloaded ({error}): get it on another machine and give it with "
        f"{option} FILE."
    )
