"""A run's folder in parts of a limited size, to be carried away and continued elsewhere.

The parts are one tar archive, cut: ``cat run.tar.* | tar x`` restores it without this package. A
manifest names every file and every part with its checksum. The data set stays behind as a rule,
since it is built anew to the same bytes, and so does the state of trainings that are done. The
writer of the state knows nothing of this: whatever a run's folder holds can be carried.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repro.errors import ReproError
from repro.files import exclusive, new_folder, read_json, sha256, write_text
from repro.runs.folder import DATA_FILE, run_files_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MANIFEST = "manifest.json"
MEGABYTE = 1_000_000
PART_MB = 16.0
LOCK = ".lock"  # of a training
LEFT_BEHIND = ("*.partial", "writing-*", LOCK, f"{DATA_FILE}.parts/*")


class Manifest(BaseModel):
    """What the parts hold.

    Parameters
    ----------
    files : dict
        SHA-256 of every file by its path within the run's folder.
    parts : dict
        SHA-256 of every part by its name, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    files: dict[str, str] = Field(min_length=1)
    parts: dict[str, str] = Field(min_length=1)


def pack(folder: Path, out: Path, part_mb: float = PART_MB, with_data: bool = False) -> list[Path]:
    """Write a run's folder as parts with a manifest; the run itself stays as it is.

    Parameters
    ----------
    folder : Path
        The run's folder.
    out : Path
        The folder to make.
    part_mb : float
        The largest size of a part [MB].
    with_data : bool
        Take the data set along.

    Returns
    -------
    list of Path
        The parts, and the manifest.

    Raises
    ------
    ReproError
        If the folder holds no run or one that is being trained, ``out`` has something in it, or
        it cannot be written.
    """
    run_files_of(folder)
    files = {path.relative_to(folder).as_posix(): path for path in _carried(folder, with_data)}
    with ExitStack() as held, new_folder(out) as partial:
        for lock in folder.rglob(LOCK):
            held.enter_context(exclusive(lock, f"training in {lock.parent}"))
        writer = _Parts(partial, int(part_mb * MEGABYTE))
        with tarfile.open(fileobj=writer, mode="w|") as archive:
            for name, path in files.items():
                archive.add(path, name, filter=_anonymous)
        writer.close()
        manifest = Manifest(
            files={name: sha256(path) for name, path in files.items()},
            parts={path.name: sha256(path) for path in writer.paths},
        )
        write_text(partial / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    return [*(out / path.name for path in writer.paths), out / MANIFEST]


def unpack(folder: Path, out: Path) -> Path:
    """Put a run's folder together again, after a look at every checksum.

    Parameters
    ----------
    folder : Path
        What `pack` wrote.
    out : Path
        The run's folder to make.

    Raises
    ------
    ReproError
        If a part is missing or damaged, ``out`` has something in it, or it cannot be written.
    """
    manifest = _read_manifest(folder)
    for name, checksum in manifest.parts.items():
        _check(folder / name, checksum)
    with new_folder(out) as partial:
        parts = _Joined([folder / name for name in manifest.parts])
        with io.BufferedReader(parts) as joined, tarfile.open(fileobj=joined, mode="r|") as archive:
            archive.extractall(partial, filter="data")
        for name, checksum in manifest.files.items():
            _check(partial / name, checksum)
    return out


def _carried(folder: Path, with_data: bool) -> Iterator[Path]:
    """Yield the files that a run needs to go on."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        is_data = path.name == DATA_FILE and not with_data
        # By their names: to import them from the training would load the network library.
        is_over = path.name == "state.npz" and (path.parent / "done.json").exists()
        if not (is_data or is_over or any(map(path.relative_to(folder).match, LEFT_BEHIND))):
            yield path


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _read_manifest(folder: Path) -> Manifest:
    content = read_json(folder / MANIFEST, "name the folder that `repro pack` wrote")
    try:
        return Manifest.model_validate(content)
    except ValidationError:
        raise ReproError(
            f"{folder / MANIFEST} is damaged or of another version: carry the parts over again."
        ) from None


def _check(path: Path, checksum: str) -> None:
    if not path.is_file():
        raise ReproError(f"{path} is missing: carry it over again.")
    if sha256(path) != checksum:
        raise ReproError(f"{path} is damaged (other checksum): carry it over again.")


class _Parts(io.RawIOBase):
    """Writes what it is given to files of a limited size, one after the other."""

    def __init__(self, folder: Path, size: int):
        self.paths: list[Path] = []
        self._folder, self._size, self._free = folder, size, 0
        self._file: io.BufferedWriter | None = None

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, content: ReadableBuffer) -> int:
        """Write some bytes."""
        left = memoryview(content)
        size = len(left)
        while left:
            file = self._file if self._file is not None and self._free else self._next()
            taken = left[: self._free]
            file.write(taken)
            self._free -= len(taken)
            left = left[len(taken) :]
        return size

    def close(self) -> None:
        """End the last file."""
        if self._file is not None:
            self._file.close()
        super().close()

    def _next(self) -> io.BufferedWriter:
        """Begin another file."""
        if self._file is not None:
            self._file.close()
        self.paths.append(self._folder / f"run.tar.{len(self.paths):03d}")
        self._file, self._free = self.paths[-1].open("wb"), self._size
        return self._file


class _Joined(io.RawIOBase):
    """Reads files one after the other, as if they were one."""

    def __init__(self, paths: list[Path]):
        self._waiting = iter(paths)
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read into a buffer; 0 at the end of the last file."""
        while True:
            count = self._file.readinto(buffer) if self._file else 0
            if count:
                return count
            if self._file:
                self._file.close()
            following = next(self._waiting, None)
            if following is None:
                return 0
            self._file = following.open("rb")

    def close(self) -> None:
        """End the reading."""
        if self._file is not None:
            self._file.close()
        super().close()
