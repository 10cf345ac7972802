"""Building a data set from its generator: in shards, by local workers or a cluster, resumable."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from repro.code_hash import hash_sources
from repro.datasets import cluster
from repro.datasets.emd import find_axes
from repro.datasets.npz import UNREADABLE, read_npz
from repro.datasets.spec import ResolvedSpec, load_function
from repro.datasets.store import (
    METADATA_BYTES,
    Arrays,
    Dataset,
    check_arrays,
    stored_bytes,
    write_dataset,
)
from repro.errors import NotPossibleHere, ReproError
from repro.files import check_same, exclusive, read_json, replacing, write_text

Generator = Callable[[int, int, int, dict], Arrays]


def build(
    spec: ResolvedSpec,
    out: str | Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    scheduler: str | None = None,
) -> Path:
    """Build a data set; the same bytes whoever works on it and after any interruption.

    Finished shards stand in ``OUT.parts`` until the data set is whole, so that the same call
    goes on where a killed one stopped.

    Parameters
    ----------
    spec : ResolvedSpec
        Which data set.
    out : pathlib.Path
        The HDF5 file to make; returned untouched if it already is this data set.
    workers : int
        Processes that run the generator.
    progress : callable, optional
        Called with the samples done and the samples in all, first with those found done.
    scheduler : str, optional
        Address of a dask scheduler whose workers run the generator instead of local processes.

    Raises
    ------
    ReproError
        If `out` or its parts are of another data set, the generator does not give what the spec
        says, the disk is full, another process builds the same file, or a worker of the cluster
        runs other code.
    NotPossibleHere
        If the cluster cannot be reached or has no workers.
    """
    out = Path(out)
    _check_workers(workers, scheduler)
    parts = Parts(out.with_name(out.name + ".parts"), spec)
    if out.exists():
        _require_same(spec, out)
        parts.remove_leftovers()
        return out
    check_size(spec, out)
    generator = load_function(spec.generator)
    find_axes(spec)  # a missing one is told before the work, not after it
    with parts.claimed(hash_sources(generator.__module__)):
        missing = parts.missing()
        _require_room(parts, len(missing))
        report = _reporter(parts, missing, progress)
        if scheduler and missing:
            _make_shards_on_cluster(parts, missing, scheduler, report)
        else:
            _make_shards(parts, missing, workers, report)
        write_dataset(out, spec, (parts.read(start) for start in parts.starts))
        parts.remove()
    return out


def check_size(spec: ResolvedSpec, out: Path) -> None:
    """Refuse a data set that neither disk nor memory of this machine can hold.

    Raises
    ------
    ReproError
        Saying how large it is, and how much there is room for.
    """
    size, n = stored_bytes(spec), spec.n_samples
    above = next(folder for folder in out.absolute().parents if folder.is_dir())
    disk = shutil.disk_usage(above).total
    if size > disk:
        raise ReproError(
            f"The data set of {n} samples takes {_gigabytes(size)}, and the disk of {above} holds "
            f"{_gigabytes(disk)} in all: ask for fewer or smaller samples."
        )
    shard = size * min(spec.shard_size, n) // n
    memory = psutil.virtual_memory().available
    if shard > memory:
        raise ReproError(
            f"{min(spec.shard_size, n)} samples, made at once, take {_gigabytes(shard)}, and "
            f"{_gigabytes(memory)} of memory are free: ask for smaller ones."
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.4g} GB"


def estimate_seconds(spec: ResolvedSpec, out: str | Path, workers: int = 1) -> float | None:
    """Return how long `build` will take on this machine, by a short trial [s].

    None where the data spec has no function ``seconds_per_sample``.

    Parameters
    ----------
    spec, out, workers
        As `build` takes them; shards that are done are left out.
    """
    if spec.seconds_per_sample is None or Path(out).exists():
        return None
    check_size(spec, Path(out))
    trial = load_function(spec.seconds_per_sample)
    parts = Parts(Path(out).with_name(Path(out).name + ".parts"), spec)
    n_missing = sum(parts.count(start) for start in parts.missing())
    with threadpool_limits(1):
        return trial(dict(spec.parameters), min(workers, max(n_missing, 1))) * n_missing


def generate(name: str, start: int, stop: int, seed: int, parameters: dict) -> Arrays:
    """Run the generator called ``module:function`` for samples ``start`` to ``stop``."""
    generator = load_function(name)
    # Many workers share the cores, and sums must not depend on how many threads add them.
    with threadpool_limits(1), memory_limited():
        try:
            return generator(start, stop, seed, parameters)
        except MemoryError as error:
            raise NotPossibleHere(
                f"The memory of this machine is too small for samples {start} to {stop} "
                f"({error}): ask for smaller ones, or for fewer workers."
            ) from None


@contextlib.contextmanager
def memory_limited() -> Iterator[None]:
    """Let what asks for more memory than is free be told so, before the system kills at random.

    Only where the system counts what a process may write to, and no GPU maps its memory beside it.
    """
    status = Path("/proc/self/status")
    if not status.exists() or Path("/dev/nvidia0").exists():
        yield
        return
    taken = int(re.search(r"VmData:\s+(\d+) kB", status.read_text())[1]) * 1024
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = taken + psutil.virtual_memory().available
    least = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(least), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@dataclass(frozen=True)
class Parts:
    """The folder of a data set's finished shards.

    Parameters
    ----------
    folder : pathlib.Path
        ``OUT.parts``.
    spec : ResolvedSpec
        The data set they belong to.
    """

    folder: Path
    spec: ResolvedSpec

    @property
    def starts(self) -> range:
        """First sample of every shard."""
        return range(0, self.spec.n_samples, self.spec.shard_size)

    @property
    def manifest(self) -> Path:
        """The file that says whose shards these are."""
        return self.folder / "manifest.json"

    def count(self, start: int) -> int:
        """Return the number of samples of a shard."""
        return min(self.spec.shard_size, self.spec.n_samples - start)

    def shard(self, start: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"shard-{start:09d}.npz"

    @contextlib.contextmanager
    def claimed(self, sources: str) -> Iterator[None]:
        """Hold the folder for this process alone, for this data set and a generator's sources."""
        with exclusive(self.folder / "lock", f"building {self.folder.stem}"):
            try:
                self._claim(sources)
                yield
            finally:
                if not any(self.folder.glob("shard-*")):
                    self.remove()  # a refused build leaves nothing

    def _claim(self, sources: str) -> None:
        ours = {
            "fingerprint": self.spec.fingerprint,
            "shard_size": self.spec.shard_size,
            "generator_source": sources,
        }
        if not any(self.folder.glob("shard-*")):
            write_text(self.manifest, json.dumps(ours, indent=1))
        check_same(
            f"{self.folder} holds parts of another data set",
            self._read_manifest(),
            ours,
            "finish that one, or delete the folder",
        )

    def _read_manifest(self) -> dict:
        with contextlib.suppress(ReproError):
            found = read_json(self.manifest, "delete the folder")
            return found if isinstance(found, dict) else {}
        return {}

    def missing(self) -> list[int]:
        """Return the first samples of the shards still to make; a damaged shard is one of them."""
        return [start for start in self.starts if not _is_whole(self.shard(start))]

    def arguments(self, start: int) -> tuple[str, int, int, int, dict]:
        """Return what `generate` needs for a shard, plain values that can go to any machine."""
        stop = start + self.count(start)
        return self.spec.generator, start, stop, self.spec.seed, dict(self.spec.parameters)

    def make(self, start: int) -> int:
        """Run the generator for one shard, check and keep it; return the number of samples."""
        return self.keep(start, generate(*self.arguments(start)))

    def keep(self, start: int, arrays: Arrays) -> int:
        """Check what the generator gave for one shard and keep it; return the number of samples."""
        n = self.count(start)
        source = f"Generator {self.spec.generator}, samples {start} to {start + n},"
        check_arrays(self.spec, arrays, n, source)
        with replacing(self.shard(start)) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
        return n

    def read(self, start: int) -> Arrays:
        """Return the arrays of a finished shard."""
        try:
            return read_npz(self.shard(start))
        except UNREADABLE:
            raise ReproError(
                f"{self.shard(start)} is damaged: delete it and run the same command again."
            ) from None

    def remove(self) -> None:
        """Delete the shards, and the folder if nothing else lies in it."""
        for pattern in ("shard-*", "manifest.json*", ".*.partial", "lock"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def remove_leftovers(self) -> None:
        """Delete what a build left that was killed when its data set was already whole."""
        if self._read_manifest().get("fingerprint") == self.spec.fingerprint:
            self.remove()


def _check_workers(workers: int, scheduler: str | None) -> None:
    if workers < 1:
        raise ReproError(f"A data set is built by at least one worker, not {workers}.")
    if scheduler is not None:
        cluster.check_address(scheduler)
        if workers > 1:
            raise ReproError(
                "A cluster builds with the workers it has: leave out either --workers or "
                "--scheduler."
            )


def _make_shards_on_cluster(
    parts: Parts, missing: list[int], scheduler: str, report: Callable[[int], None]
) -> None:
    calls = {start: parts.arguments(start) for start in missing}
    module, _, _ = parts.spec.generator.partition(":")
    with cluster.connected(scheduler) as client:
        for start, arrays in cluster.results(client, generate, calls, module):
            report(parts.keep(start, arrays))


def _make_shards(
    parts: Parts, missing: list[int], workers: int, report: Callable[[int], None]
) -> None:
    if workers == 1 or len(missing) <= 1:
        for start in missing:
            report(parts.make(start))
        return
    processes, others = min(workers, len(missing)), set(active_children())
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_follow_parent)
    try:
        for shard in as_completed([pool.submit(parts.make, start) for start in missing]):
            report(shard.result())
    except KeyboardInterrupt:
        # At once, whatever else is pressed: a shard is written whole or not at all.
        with _deaf_to_interrupts():
            for worker in set(active_children()) - others:
                worker.kill()
            pool.shutdown(cancel_futures=True)
        raise
    except BrokenProcessPool:
        raise ReproError(
            "A worker was killed, perhaps for want of memory: run the same command again with "
            "fewer workers; what was finished is kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait, where it would leave workers that nobody ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _reporter(
    parts: Parts, missing: list[int], progress: Callable[[int, int], None] | None
) -> Callable[[int], None]:
    """Return a function that adds samples to those done, and tell of those found done."""
    total = parts.spec.n_samples
    done = total - sum(parts.count(start) for start in missing)

    def report(n: int) -> None:
        nonlocal done
        done += n
        if progress:
            progress(done, total)

    report(0)
    return report


def _follow_parent() -> None:
    """Make a worker end with its parent, leave Ctrl-C to it, and share a GPU with others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # JAX would else give most of a GPU's memory to the first worker that computes on it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

    def end_with_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _require_same(spec: ResolvedSpec, out: Path) -> None:
    if Dataset.open(out).spec.fingerprint != spec.fingerprint:
        raise ReproError(
            f"{out} holds another data set and is never overwritten: move it or choose another "
            "name."
        )


def _require_room(parts: Parts, n_missing: int) -> None:
    """Refuse at once what cannot fit: the missing shards, and then the whole beside them."""
    size = stored_bytes(parts.spec)
    needed = size + size * n_missing // len(parts.starts) + METADATA_BYTES
    free = shutil.disk_usage(parts.folder).free
    if free < needed:
        raise ReproError(
            f"The disk of {parts.folder} has {free / 1e9:.2f} GB free, but the build needs "
            f"{needed / 1e9:.2f} GB, half of it for a while only: make room or choose another disk."
        )


def _is_whole(shard: Path) -> bool:
    try:
        with zipfile.ZipFile(shard) as archive:
            return archive.testzip() is None
    except UNREADABLE:
        return False
