"""Files and folders as the whole suite writes them: whole or not at all, locked, never mixed up."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from repro.errors import NotPossibleHere, Refused, ReproError

MOST_NAMES = 4  # of entries that differ, in a message
LONGEST_VALUE = 40
LONGEST_NAME = 200  # of a file, as far as a temporary name repeats it
MOST_NODES = 100_000  # of a YAML file, with all it refers to in full
PARTIAL = ".partial"  # the end of temporary names
LEFTOVER = r"[0-9a-f]{8}\.partial"
HERE, EXCHANGE = -100, 2  # Linux: relative to the working folder; two names take each other's place


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what is written there takes its place when whole.

    The name is this writer's own: of several writers at once the last wins, and nobody ever reads
    a mixture. What writers left that were killed goes.

    Raises
    ------
    ReproError
        If the disk is full or the file cannot be written; what stood at ``path`` is still there.
    """
    if path.is_dir():
        raise _not_writable(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    _remove_leftovers(path)
    partial = _beside(path)
    try:
        with _held(partial, os.O_CREAT | os.O_RDWR):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        _sync_folder(path.parent)
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
        with contextlib.suppress(OSError):
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
    _remove_leftovers(folder)
    partial = _beside(folder)
    make_folder(partial)
    try:
        with _held(partial, os.O_RDONLY):
            yield partial
            sync(partial)
            partial.replace(folder)
    except OSError as error:
        raise _not_writable(folder, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def changing_folder(folder: Path) -> Iterator[Path]:
    """Give a copy of a folder to change, which takes its place at once, or goes if that fails.

    Who looks at the folder, also after a kill, sees what it held before or what it holds
    afterwards. The files of the copy are those of the folder: replace them, never write into them.

    Raises
    ------
    ReproError
        If the folder cannot be written.
    """
    make_folder(folder)
    _remove_leftovers(folder)
    partial = _beside(folder)
    make_folder(partial)
    try:
        with _held(partial, os.O_RDONLY):
            shutil.copytree(folder, partial, copy_function=_linked, dirs_exist_ok=True)
            yield partial
            sync(partial)
            _exchange(partial, folder)
    except shutil.Error as error:
        raise ReproError(f"{folder} cannot be copied: {error.args[0][0][2]}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync(folder: Path) -> None:
    """Have the system write a folder and all in it to the disk."""
    for path in (folder, *folder.rglob("*")):
        _sync_folder(path)


def is_leftover(path: Path, within: Path) -> bool:
    """Tell whether a path is part of what someone is still writing, or was killed at.

    Parameters
    ----------
    path, within : pathlib.Path
        The path, and a folder above it that was searched.
    """
    return any(part.startswith(".") for part in path.relative_to(within).parts)


def read_json(path: Path, remedy: str, needed: Collection[str] = ()) -> Any:
    """Return the content of a JSON file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    remedy : str
        What to do if it cannot be read, to end the message with.
    needed : collection of str, optional
        The entries that it must have.

    Raises
    ------
    ReproError
        If it is missing or damaged, says a thing twice, or lacks an entry.
    """
    try:
        content = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_each_once,
            parse_constant=_refuse_constant,
        )
    except OSError as error:
        raise ReproError(f"{path} cannot be read ({error.strerror}): {remedy}.") from None
    except _NotStrict as error:
        raise ReproError(f"{path} is damaged ({error}): {remedy}.") from None
    except (ValueError, RecursionError):
        raise ReproError(f"{path} is damaged (not JSON): {remedy}.") from None
    if needed and not (isinstance(content, dict) and content.keys() >= set(needed)):
        lacks = sorted(set(needed) - set(content)) if isinstance(content, dict) else needed
        raise ReproError(f"{path} is damaged (no {next(iter(lacks))}): {remedy}.")
    return content


def parse_yaml(text: str) -> Any:
    """Return the content of a text in YAML that says everything once.

    Raises
    ------
    ValueError
        If it is no YAML, repeats a key or unfolds to any size: says so in a line.
    """
    try:
        return yaml.load(text, Loader=_StrictYaml)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def cache_folder() -> Path:
    """Return the user's folder for what can be had again: ``$XDG_CACHE_HOME/repro``.

    By default it is ``~/.cache/repro``.

    Raises
    ------
    NotPossibleHere
        If the user has no home, as in some containers.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "repro"
    except RuntimeError:
        raise NotPossibleHere(
            "This user has no home folder: set XDG_CACHE_HOME to a folder that can be written."
        ) from None


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
    Refused
        If another process holds the lock.
    ReproError
        If the file cannot be made.
    NotPossibleHere
        If the disk knows no locks.
    """
    make_folder(lock.parent)
    try:
        file = lock.open("a")
    except OSError as error:
        raise _not_writable(lock.parent, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"Another process is {work}: wait for it, or choose another place."
            ) from None
        except OSError as error:
            raise NotPossibleHere(
                f"{lock.parent} is on a disk without locks ({error.strerror}), so nothing keeps "
                "two processes apart: choose another disk."
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
    Refused
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
    raise Refused(
        f"{what} with {first} = {_short(theirs.get(first))}, not {_short(ours.get(first))}"
        f"{f'; {also} differ too' if also else ''}: {remedy}."
    )


def _beside(path: Path) -> Path:
    """Return a name beside a path that nobody else takes and no search finds."""
    return path.with_name(f".{path.name[:LONGEST_NAME]}.{secrets.token_hex(4)}{PARTIAL}")


@contextlib.contextmanager
def _held(partial: Path, flags: int) -> Iterator[None]:
    """Open what is being written for as long as that takes, locked, so that nobody removes it."""
    descriptor = os.open(partial, flags, 0o666)
    try:
        _lock(descriptor, partial)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, partial: Path) -> bool:
    """Lock what is being written; False if somebody else holds it.

    HDF5 locks its files by ``flock`` and would meet our own lock, so that files are locked by
    their open description; where the system knows no such locks, nothing is.
    """
    with contextlib.suppress(OSError):
        if partial.is_dir():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif hasattr(fcntl, "F_OFD_SETLK"):
            whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
        else:
            return False
        return True
    return False


def _remove_leftovers(path: Path) -> None:
    """Remove what killed writers of a path left: nobody holds it any more."""
    start = f".{path.name[:LONGEST_NAME]}."
    with contextlib.suppress(OSError):
        for beside in path.parent.iterdir():
            ending = beside.name.removeprefix(start)
            if ending != beside.name and re.fullmatch(LEFTOVER, ending):
                _remove_unheld(beside)


def _remove_unheld(leftover: Path) -> None:
    with contextlib.suppress(OSError):
        is_folder = leftover.is_dir()
        descriptor = os.open(leftover, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            if not _lock(descriptor, leftover):
                return
            if is_folder:
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink()
        finally:
            os.close(descriptor)


def _linked(source: str, target: str) -> None:
    """Let a file have a second name; copy it where the disk knows none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders take each other's place, at once where the system can."""
    with contextlib.suppress(AttributeError, OSError):
        swap = ctypes.CDLL(None, use_errno=True).renameat2
        if swap(HERE, os.fsencode(new), HERE, os.fsencode(old), EXCHANGE) == 0:
            _sync_folder(old.parent)
            return
    aside = _beside(old)
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system knows that of folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _NotStrict(ValueError):
    """JSON that Python would read, one way or another."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NotStrict(f"it says {twice!r} twice")
    return content


def _refuse_constant(name: str) -> None:
    raise _NotStrict(f"{name} is no number")


class _StrictYaml(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, and that does not unfold to any size."""

    def get_single_node(self) -> Any:
        """Refuse what refers to itself, or to other places so often that it fills the memory."""
        node = super().get_single_node()
        if node is not None and _unfolded(node, {}) > MOST_NODES:
            raise yaml.composer.ComposerError(None, None, "it unfolds too far", node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a key that stands twice."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = key.tag, str(key.value)
            if name in seen:
                problem = f"the key '{key.value}' stands twice"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            seen.add(name)
        return node


def _unfolded(node: Any, known: dict[int, float]) -> float:
    """Return of how many nodes a tree consists if all that is referred to stands there in full."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = math.inf  # of a node within itself
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        known[id(node)] = 1 + sum(_unfolded(child, known) for child in children)
    return known[id(node)]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
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
