"""Data sets on disk: one HDF5 file, written whole or not at all, with a checksum per variable.

Variables lie at the file's top level, contiguous, first axis the sample, so that they can be
memory-mapped. `split` tells each sample's split; `normalisation/VARIABLE` holds the mean and the
standard deviation of the training split. The attributes of `parameters` are the parameters of the
data spec, those of `parameters/units` their units. For the tree that other programs read, see
`repro.datasets.emd`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from pydantic import ValidationError

from repro import __version__
from repro.datasets import emd
from repro.datasets.spec import SPLITS, ResolvedSpec
from repro.errors import GateFailed, NotPossibleHere, ReproError
from repro.files import replacing

FORMAT = "repro-dataset"
FORMAT_VERSION = 2  # 2 added parameters, units and axes; files of 1 are read as well
ROOT_ATTRIBUTES = ("spec", "spec_fingerprint", "seed", "code_version", "checksum")
STATISTICS = ("mean", "standard_deviation")
# Sums run over blocks of this many samples whatever the shards: the same bits come out.
BLOCK_SAMPLES = 256
CHECK_APART = (
    "import sys; from pathlib import Path; from repro.datasets.store import check_here; "
    "check_here(Path(sys.argv[1]))"
)
LEAST_CHECK_S, SLOWEST_CHECK = 60.0, 5e6  # time that a check may take [s], and per size [bytes/s]
LOCKING = "best-effort"  # none on a disk that knows no locks
METADATA_BYTES = 2**20  # reserved for headers, attributes and the split

Arrays = dict[str, np.ndarray]
_checked: set[tuple] = set()  # the variables whose bytes this process has looked through
_checking = threading.Lock()


class DamagedDataset(ReproError):
    """A file that was a data set of ours and is not whole any more."""


@dataclass(frozen=True)
class Layout:
    """Where a variable's bytes stand in the file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    checksum: str


@dataclass(frozen=True)
class Dataset:
    """A data set opened for reading; holds no file handle, so it can be sent to a worker.

    Parameters
    ----------
    path : pathlib.Path
        The HDF5 file.
    spec : ResolvedSpec
        What the file holds.
    checksum : str
        SHA-256 over the checksums of all variables.
    layouts : dict
        Where each variable stands.
    moments : dict
        ``(mean, standard_deviation)`` of each normalised variable.
    """

    path: Path
    spec: ResolvedSpec
    checksum: str
    layouts: dict[str, Layout]
    moments: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def open(cls, path: str | Path) -> Dataset:
        """Open a data set and check that it is one and whole.

        The bytes of a variable are held against its checksum when it is first read, see `array`;
        `verify` checks all of them.

        Raises
        ------
        ReproError
            If there is no such file, if it is no data set, is damaged, or of a newer format.
        """
        path = Path(path)
        with _reading(path) as file:
            dataset = _opened(file, path)
            if _root_checksum(file, dataset.spec) != dataset.checksum:
                raise _damaged(path, "its checksum is not that of its variables")
            _check_arrays(file, dataset, _statistics_names(dataset.spec))
        return dataset

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables."""
        return tuple(self.spec.variables)

    def array(self, name: str) -> np.ndarray:
        """Return a variable as a read-only memory map, ``(n_samples, *shape)``.

        Raises
        ------
        ReproError
            If there is no such variable, or its bytes are not those that were written; they are
            looked through once a process.
        """
        if name not in self.spec.variables:
            raise ReproError(
                f"{self.path} has no variable '{name}': it has {', '.join(self.names)}."
            )
        at = self.layouts[name]
        values = np.memmap(self.path, mode="r", dtype=at.dtype, shape=at.shape, offset=at.offset)
        _check_once(self.path, name, at, values)
        return values

    def rows(self, split: str) -> np.ndarray:
        """Return the indices of the samples of a split, ``(n,)`` int64."""
        if split not in SPLITS:
            raise ReproError(f"There is no split '{split}': choose {', '.join(SPLITS)}.")
        counts = [self.spec.counts[name] for name in SPLITS]
        before = sum(counts[: SPLITS.index(split)])
        return np.arange(before, before + self.spec.counts[split], dtype=np.int64)

    def statistics(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of a variable over the training split [its unit].

        The shape of one sample where the spec says ``per_point``, else scalars. A standard
        deviation of 0 is given as 1, so that it can divide.
        """
        if name not in self.moments:
            raise ReproError(
                f"{self.path} has no normalisation of '{name}': it has that of "
                f"{', '.join(self.moments) or 'no variable'}."
            )
        return self.moments[name]


def write_dataset(path: str | Path, spec: ResolvedSpec, chunks: Iterable[Arrays]) -> None:
    """Write a data set, whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The file to make; the folder must exist.
    spec : ResolvedSpec
        What the data set is.
    chunks : iterable of dict
        Consecutive samples: the arrays of all variables, ``(n, *shape)`` each.

    Raises
    ------
    ReproError
        If the file exists, the disk is full, or arrays or axes are not what the spec says.
    """
    path = Path(path)
    if path.exists():
        raise ReproError(f"{path} exists and is never overwritten: move it or choose another name.")
    axes = emd.find_axes(spec)
    with replacing(path) as partial:
        _lay_out(partial, spec, emd.stored_bytes(axes))
        with h5py.File(partial, "r+", locking=LOCKING) as file:
            _fill(file, spec, chunks)
            _write_parameters(file, spec)
            emd.write_tree(file, spec, axes)


def verify(path: str | Path) -> None:
    """Check every byte of a data set against its checksums.

    HDF5 can crash or never end over damaged metadata: another process reads the file.

    Raises
    ------
    GateFailed
        If the file is damaged: names the variable.
    ReproError
        If there is no such file or it is no data set.
    """
    path = Path(path)
    if not path.is_file():
        raise _missing(path)
    command = [sys.executable, "-c", CHECK_APART, os.fspath(path)]
    seconds = LEAST_CHECK_S + path.stat().st_size / SLOWEST_CHECK
    package = Path(__file__).parents[2]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(package), *sys.path])}
    try:
        ran = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"HDF5 does not get through it in {seconds:.0f} s"
        raise GateFailed(str(_damaged(path, reason))) from None
    if ran.returncode < 0:
        raise GateFailed(str(_damaged(path, "HDF5 crashes over it")))
    kinds = {kind.__name__: kind for kind in (GateFailed, NotPossibleHere, ReproError)}
    kind, _, message = ran.stdout.strip().partition(" ")
    if kind in kinds:
        raise kinds[kind](message)
    if ran.returncode:
        last = next(iter(reversed(ran.stderr.splitlines())), "")
        raise GateFailed(str(_damaged(path, f"it cannot be read ({last})")))


def check_here(path: Path) -> None:
    """Check every byte of a data set in this process; say what is wrong, its kind first."""
    try:
        with _reading(path) as file:
            _check_bytes(file, _opened(file, path))
    except DamagedDataset as error:
        sys.stdout.write(f"{GateFailed.__name__} {error}\n")
    except ReproError as error:
        sys.stdout.write(f"{type(error).__name__} {error}\n")


def check_arrays(spec: ResolvedSpec, arrays: Arrays, n: int, source: str) -> None:
    """Check that arrays are ``n`` samples of the spec's variables, all of them finite.

    Parameters
    ----------
    spec : ResolvedSpec
        What is expected.
    arrays : dict
        What came.
    n : int
        Samples expected.
    source : str
        Where they came from, for the message.
    """
    if set(arrays) != set(spec.variables):
        raise ReproError(
            f"{source} gives the variables {', '.join(sorted(arrays))}, but data spec "
            f"'{spec.name}' lists {', '.join(sorted(spec.variables))}."
        )
    for name, variable in spec.variables.items():
        array, expected = np.asarray(arrays[name]), (n, *variable.shape)
        if array.shape != expected or array.dtype.name != variable.dtype:
            raise ReproError(
                f"{source} gives '{name}' as {array.dtype.name} {array.shape}, but data spec "
                f"'{spec.name}' says {variable.dtype} {expected}."
            )
        if not np.isfinite(array).all():
            sample = int(np.argwhere(~np.isfinite(array))[0][0])
            raise ReproError(f"{source} gives a number that is not finite: '{name}', row {sample}.")


def stored_bytes(spec: ResolvedSpec) -> int:
    """Return the size of the data set's arrays [bytes]."""
    sample = sum(
        np.dtype(variable.dtype).itemsize * int(np.prod(variable.shape))
        for variable in spec.variables.values()
    )
    return sample * spec.n_samples


def split_codes(spec: ResolvedSpec) -> np.ndarray:
    """Return the split of each sample, ``(n_samples,)`` uint8: 0 train, 1 validation, 2 test."""
    return np.repeat(np.arange(3, dtype=np.uint8), [spec.counts[split] for split in SPLITS])


def _normalised(spec: ResolvedSpec) -> list[str]:
    return [name for name, variable in spec.variables.items() if variable.normalise]


def _statistics_names(spec: ResolvedSpec) -> list[str]:
    return [f"normalisation/{name}/{s}" for name in _normalised(spec) for s in STATISTICS]


def _expected(spec: ResolvedSpec) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Return dtype and shape of every array whose first axis is the sample."""
    variables = {
        name: (np.dtype(variable.dtype).newbyteorder("<"), (spec.n_samples, *variable.shape))
        for name, variable in spec.variables.items()
    }
    return {**variables, "split": (np.dtype("uint8"), (spec.n_samples,))}


# ---- writing


def _lay_out(partial: Path, spec: ResolvedSpec, more_bytes: int) -> None:
    """Write the file's skeleton and reserve the room for its data and ``more_bytes``.

    HDF5 cannot recover from a disk that fills up while it writes (it crashes on closing), so
    the room is claimed with the system's own call, which only fails.
    """
    n_points = sum(int(np.prod(spec.variables[name].shape)) for name in _normalised(spec))
    reserve = stored_bytes(spec) + 16 * n_points + more_bytes + METADATA_BYTES
    _reserve(partial, reserve)
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    # Aligned data, so that a memory map of any dtype reads at full speed.
    aligned = {"alignment_threshold": 512, "alignment_interval": 64}
    with h5py.File(partial, "w", locking=LOCKING, **aligned) as file:
        for name, (dtype, shape) in _expected(spec).items():
            file.create_dataset(name, shape, dtype, dcpl=early, fill_time="never")
    _reserve(partial, reserve)


def _reserve(path: Path, size: int) -> None:
    path.touch()
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _fill(file: h5py.File, spec: ResolvedSpec, chunks: Iterable[Arrays]) -> None:
    _copy(file, spec, chunks)
    file["split"][...] = split_codes(spec)
    for name, variable in spec.variables.items():
        _describe(file[name], variable.unit, variable.about)
    _describe(file["split"], "", "0 train, 1 validation, 2 test")
    for name in _normalised(spec):
        _write_statistics(file, spec, name)
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["spec"] = spec.model_dump_json()
    file.attrs["spec_fingerprint"] = spec.fingerprint
    file.attrs["seed"] = spec.seed
    file.attrs["code_version"] = __version__
    file.attrs["checksum"] = _root_checksum(file, spec)


def _copy(file: h5py.File, spec: ResolvedSpec, chunks: Iterable[Arrays]) -> None:
    start = 0
    for arrays in chunks:
        stop = start + len(next(iter(arrays.values()), ()))
        if stop > spec.n_samples:
            raise ReproError(f"More samples came than the {spec.n_samples} of the data spec.")
        check_arrays(spec, arrays, stop - start, f"Chunk {start} to {stop}")
        for name in spec.variables:
            file[name][start:stop] = arrays[name]
        start = stop
    if start < spec.n_samples:
        raise ReproError(f"Only {start} samples came of the {spec.n_samples} of the data spec.")


def _write_statistics(file: h5py.File, spec: ResolvedSpec, name: str) -> None:
    variable = spec.variables[name]
    values = _moments(file[name], spec.counts["train"], variable.normalise == "per_point")
    for statistic, value in zip(STATISTICS, values, strict=True):
        dataset = file.create_dataset(f"normalisation/{name}/{statistic}", data=value)
        about = f"{statistic.replace('_', ' ')} of {name} over the training split"
        _describe(dataset, variable.unit, about)


def _write_parameters(file: h5py.File, spec: ResolvedSpec) -> None:
    parameters = file.create_group("parameters")
    parameters.attrs.update(spec.parameters)
    parameters.create_group("units").attrs.update(spec.units)


def _moments(data: h5py.Dataset, n: int, per_point: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the first ``n`` samples, float64."""
    # Sums of distances from a value that occurs: exact for a constant, no cancellation else.
    origin = np.asarray(data[0], dtype=np.float64)
    origin = origin if per_point else origin.flat[0]
    first = second = np.zeros_like(origin)
    for start in range(0, n, BLOCK_SAMPLES):
        distance = data[start : min(start + BLOCK_SAMPLES, n)] - origin
        axis = 0 if per_point else None
        first = first + distance.sum(axis=axis)
        second = second + np.square(distance).sum(axis=axis)
    size = n if per_point else n * int(np.prod(data.shape[1:]))
    deviation = np.sqrt(np.maximum(second / size - np.square(first / size), 0))
    return origin + first / size, np.where(deviation == 0, 1.0, deviation)


def _describe(dataset: h5py.Dataset, unit: str, about: str) -> None:
    dataset.attrs["unit"] = unit
    dataset.attrs["description"] = about
    dataset.attrs["checksum"] = _checksum(dataset)


def _checksum(dataset: h5py.Dataset) -> str:
    """Return the SHA-256 of name, dtype, shape and values in C order, little-endian."""
    return _digest(dataset.name[1:], dataset.dtype.newbyteorder("<"), dataset.shape, dataset)


def _digest(
    name: str, dtype: np.dtype, shape: tuple[int, ...], values: h5py.Dataset | np.ndarray
) -> str:
    digest = hashlib.sha256(f"{name}|{dtype.str}|{shape}|".encode())
    blocks = range(0, shape[0], BLOCK_SAMPLES) if shape else [0]
    for start in blocks:
        block = values[start : start + BLOCK_SAMPLES] if shape else values[()]
        digest.update(np.ascontiguousarray(block, dtype=dtype))
    return digest.hexdigest()


def _root_checksum(file: h5py.File, spec: ResolvedSpec) -> str:
    lines = [f"{name} {file[name].attrs['checksum']}\n" for name in sorted(_expected(spec))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# ---- reading


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; what HDF5 stumbles over in a data set of ours is damage."""
    if not path.is_file():
        raise _missing(path)
    is_ours = False
    try:
        with h5py.File(path, "r", locking=LOCKING) as file:
            is_ours = _is_ours(file)
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise _unreadable(path, error, is_ours) from error


def _is_ours(file: h5py.File) -> bool:
    found = file.attrs.get("format")
    return isinstance(found, str) and found == FORMAT


def _missing(path: Path) -> ReproError:
    return ReproError(f"There is no data set {path}: build it with `repro data build`.")


def _unreadable(path: Path, error: Exception, is_ours: bool) -> ReproError:
    """Return what kept HDF5 from reading a file: most often not its bytes."""
    reason = str(error).strip("'\"").split("(")[-1].rstrip(").")
    number = getattr(error, "errno", None)
    if isinstance(error, PermissionError):
        return ReproError(f"{path} may not be read: ask its owner for the permission.")
    if number in (errno.EAGAIN, errno.EACCES) or "unable to lock" in reason:
        return NotPossibleHere(
            f"{path} is open for writing in another program, or on a disk whose locks fail: close "
            "it there, or set HDF5_USE_FILE_LOCKING=FALSE if nobody writes."
        )
    if number is not None and number != errno.EINVAL:
        return NotPossibleHere(f"{path} cannot be read now ({os.strerror(number)}): try again.")
    if "signature not found" in reason:
        return ReproError(f"{path} is no HDF5 file: give a file of `repro data build`.")
    if "truncated file" in reason:
        return _damaged(path, reason)
    if is_ours:
        return _damaged(path, reason)
    return ReproError(
        f"{path} cannot be read as HDF5 ({reason}): it is damaged, or of another program; give a "
        "file of `repro data build`."
    )


def _damaged(path: Path, reason: str) -> DamagedDataset:
    return DamagedDataset(f"{path} is damaged: {reason}; put back a copy, or build it again.")


def _other_bytes(path: Path, name: str) -> DamagedDataset:
    return DamagedDataset(
        f"{path} is damaged: variable '{name}' does not match its checksum; delete the file and "
        "build it again."
    )


def _opened(file: h5py.File, path: Path) -> Dataset:
    """Return what an open file holds, after a look at all but the bytes of its variables."""
    spec = _read_spec(file, path)
    layouts = {name: _layout(file, name, spec, path) for name in _expected(spec)}
    if not np.array_equal(file["split"][()], split_codes(spec)):
        raise _damaged(path, "its split differs from its spec")
    moments = {name: _read_moments(file, name, spec, path) for name in _normalised(spec)}
    return Dataset(path, spec, str(file.attrs["checksum"]), layouts, moments)


def _check_once(path: Path, name: str, at: Layout, values: np.ndarray) -> None:
    """Hold a variable's bytes against its checksum, unless this process has done that."""
    there = path.stat()
    key = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, name, at.checksum)
    with _checking:
        if key not in _checked:
            if _digest(name, at.dtype, at.shape, values) != at.checksum:
                raise _other_bytes(path, name)
            _checked.add(key)


def _read_spec(file: h5py.File, path: Path) -> ResolvedSpec:
    if not _is_ours(file):
        raise ReproError(
            f"{path} is an HDF5 file but no data set of this suite: give a file of "
            "`repro data build`."
        )
    if int(file.attrs["format_version"]) > FORMAT_VERSION:
        raise ReproError(
            f"{path} has format version {file.attrs['format_version']}, newer than the "
            f"{FORMAT_VERSION} known here: update this package."
        )
    for name in ROOT_ATTRIBUTES:
        if name not in file.attrs:
            raise _damaged(path, f"the attribute '{name}' is missing")
    try:
        spec = ResolvedSpec.model_validate(json.loads(file.attrs["spec"]))
    except ValidationError as error:
        raise _damaged(path, f"its spec is not readable ({error.error_count()} faults)") from None
    if spec.fingerprint != file.attrs["spec_fingerprint"] or spec.seed != file.attrs["seed"]:
        raise _damaged(path, "its spec does not match its fingerprint")
    return spec


def _layout(file: h5py.File, name: str, spec: ResolvedSpec, path: Path) -> Layout:
    dtype, shape = _expected(spec)[name]
    if name not in file:
        raise _damaged(path, f"the variable '{name}' is missing")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or (data.dtype, data.shape) != (dtype, shape):
        raise _damaged(path, f"the variable '{name}' is not {dtype.name} {shape}")
    unit = spec.variables[name].unit if name in spec.variables else ""
    if data.attrs["unit"] != unit or "checksum" not in data.attrs:
        raise _damaged(path, f"the attributes of '{name}' are not those of its spec")
    offset = data.id.get_offset()
    if offset is None:
        raise ReproError(
            f"{path}: the variable '{name}' is not stored in one piece, as other programs repack "
            "it; take the file that was built, or undo that with `h5repack -l CONTI -f NONE`."
        )
    if offset + data.nbytes > path.stat().st_size:
        raise _damaged(path, f"the variable '{name}' is cut off")
    return Layout(dtype, shape, offset, str(data.attrs["checksum"]))


def _read_moments(
    file: h5py.File, name: str, spec: ResolvedSpec, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    mean, deviation = (file[f"normalisation/{name}/{statistic}"][()] for statistic in STATISTICS)
    variable = spec.variables[name]
    shape = variable.shape if variable.normalise == "per_point" else ()
    if mean.shape != shape or deviation.shape != shape:
        raise _damaged(path, f"the normalisation of '{name}' does not have the shape {shape}")
    return mean, deviation


def _check_bytes(file: h5py.File, dataset: Dataset) -> None:
    _check_arrays(file, dataset, [*_expected(dataset.spec), *_statistics_names(dataset.spec)])
    if _root_checksum(file, dataset.spec) != dataset.checksum:
        raise _damaged(dataset.path, "its checksum is not that of its variables")


def _check_arrays(file: h5py.File, dataset: Dataset, names: list[str]) -> None:
    for name in names:
        if _checksum(file[name]) != file[name].attrs["checksum"]:
            raise _other_bytes(dataset.path, name)
