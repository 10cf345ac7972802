"""Files and folders as the whole suite writes them: whole or not at all, locked, never mixed up."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.errors import ReproError

MOST_NAMES = 4  # of entries that differ, in a message
LONGEST_VALUE = 40


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what is written there takes its place when whole.

    Raises
    ------
    ReproError
        If the disk is full or the file cannot be written; what stood at ``path`` is still there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ReproError(
                f"The disk is full while writing {path}: make room and run the same command "
                "again; what was finished is kept."
            ) from error
        if error.filename is not None and Path(error.filename) == partial:
            raise _not_writable(path, error) from None
        raise
    finally:
        with contextlib.suppress(NotADirectoryError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8; its folder is made.

    Raises
    ------
    ReproError
        If it cannot be written; what stood there before is untouched.
    """
    make_folder(path.parent)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    ReproError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from None


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside ``folder`` that takes its place when whole, and goes if it fails.

    Raises
    ------
    ReproError
        If something is there already, or it cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ReproError(f"{folder} is there already: choose another folder.")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    try:
        yield partial
        partial.replace(folder)
    except OSError as error:
        raise _not_writable(folder, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_json(path: Path, remedy: str) -> Any:
    """Return the content of a JSON file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    remedy : str
        What to do if it cannot be read, to end the message with.

    Raises
    ------
    ReproError
        If it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReproError(f"{path} cannot be read ({error.strerror}): {remedy}.") from None
    except ValueError:
        raise ReproError(f"{path} is damaged (not JSON): {remedy}.") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def exclusive(lock: Path, work: str) -> Iterator[None]:
    """Keep every other process from the same work as long as this one is at it.

    Parameters
    ----------
    lock : pathlib.Path
        The file to lock; it and its folder are made.
    work : str
        What is done, such as ``"training in runs/a"``.

    Raises
    ------
    ReproError
        If another process holds the lock, or the file cannot be made.
    """
    make_folder(lock.parent)
    try:
        file = lock.open("w")
    except OSError as error:
        raise _not_writable(lock.parent, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReproError(
                f"Another process is {work}: wait for it, or choose another place."
            ) from None
        yield


def check_same(what: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], remedy: str) -> None:
    """Refuse what was made with other settings than those asked for now.

    Parameters
    ----------
    what : str
        What is there, such as ``"runs/a holds a training"``.
    theirs, ours : mapping
        The settings it was made with, and those of now: JSON values, nested as deep as they like.
        An entry that is absent equals null.
    remedy : str
        What to do, to end the message with.

    Raises
    ------
    ReproError
        Naming the entries that differ, the first with both values.
    """
    theirs, ours = _flat(theirs), _flat(ours)
    names = sorted(n for n in theirs.keys() | ours.keys() if theirs.get(n) != ours.get(n))
    if not names:
        return
    first, *others = names
    also = ", ".join(others[:MOST_NAMES])
    if len(others) > MOST_NAMES:
        also += f" and {len(others) - MOST_NAMES} more"
    raise ReproError(
        f"{what} with {first} = {_short(theirs.get(first))}, not {_short(ours.get(first))}"
        f"{f'; {also} differ too' if also else ''}: {remedy}."
    )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: list(value) if isinstance(value, tuple) else value}
    flat = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name}.{key}" if name else str(key))
    return flat


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _not_writable(path: Path, error: OSError) -> ReproError:
    return ReproError(
        f"{path} cannot be written ({error.strerror}): choose a place that you can write to."
    )
