"""Horovod for the TensorFlow that is installed: built once, kept as a wheel, and checked.

``python -m repro.install.horovod_wheel`` is what ``make horovod`` runs. No wheel of Horovod is
published, and its source package needs `PATCHES` to compile against a recent TensorFlow.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from repro.errors import NotPossibleHere, ReproError
from repro.files import cache_folder
from repro.install.horovod_found import (
    Nccl,
    find_nccl,
    require_horovod,
    tensorflow_package,
    which,
)
from repro.install.horovod_patches import LOCAL_VERSION, PATCHES, VERSION

BUILD_VARIABLES = {
    "HOROVOD_WITH_TENSORFLOW": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_WITHOUT_PYTORCH": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITHOUT_NVTX": "1",
    "CXXFLAGS": "-include cstdint",  # Gloo relies on it, and g++ from 13 on does not bring it along
}
TOOLS = ("cmake", "g++", "make")
MAX_JOBS = 8  # a job takes about a gigabyte of memory
LOG_LINES = 20
# As CMake, compilers and pip write it; after one come many lines on who called whom.
ERROR = re.compile(r"CMake Error|: (fatal )?error: |^\s*ERROR: ")
CHECK_LIMIT_S = 300.0
ADD_UP = "from repro.install.horovod_wheel import add_up; add_up()"


@dataclass(frozen=True)
class Build:
    """What a wheel of Horovod is built for and with.

    Parameters
    ----------
    tensorflow : str
        Package and version, such as ``"tensorflow-cpu 2.21.0"``.
    mpi : bool
        With MPI beside Gloo.
    nccl : Nccl or None
        With NCCL, for sums on the GPUs.
    """

    tensorflow: str
    mpi: bool = False
    nccl: Nccl | None = None

    @property
    def parts(self) -> frozenset[str]:
        """What carries the sums, of ``Gloo``, ``MPI`` and ``NCCL``."""
        return _present(Gloo=True, MPI=self.mpi, NCCL=self.nccl is not None)

    @property
    def key(self) -> str:
        """The same text for builds that can stand for each other; fit for a folder's name."""
        made_for = [f"horovod {LOCAL_VERSION}", self.tensorflow, sys.implementation.cache_tag]
        key = "-".join([*made_for, platform.machine(), *sorted(self.parts)])
        return key.lower().replace(" ", "-")


def main() -> None:
    """Install Horovod unless it is there and works, check it, and print what it can do."""
    build = possible_build()
    parts = _working_parts()
    if not build.parts <= parts:
        _install(wheel(build))
        parts = check()
    sys.stdout.write(f"Horovod {VERSION} for {build.tensorflow}, with {_listed(parts)}.\n")


def possible_build(
    path: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> Build:
    """Return the build that makes the most of what this machine has.

    Parameters
    ----------
    path : sequence of str, optional
        Folders to look for packages in; `sys.path` if not given.
    environment : mapping
        The environment variables: ``PATH`` to find ``mpicxx`` and ``nvcc``, ``HOROVOD_CUDA_HOME``
        and ``HOROVOD_NCCL_HOME`` for what is in unusual places.

    Raises
    ------
    NotPossibleHere
        If TensorFlow is missing.
    """
    path = sys.path if path is None else path
    return Build(
        tensorflow=" ".join(tensorflow_package(path)),
        mpi=which("mpicxx", environment) is not None,
        nccl=find_nccl(path, environment),
    )


def wheel(build: Build) -> Path:
    """Return the wheel of a build, from the cache or made now, which takes minutes.

    The cache is the folder ``repro/wheels`` in ``XDG_CACHE_HOME``, or else in ``~/.cache``.

    Raises
    ------
    NotPossibleHere
        If a tool is missing, or the source package cannot be downloaded or does not build.
    ReproError
        If the source package is another one, or the cache cannot be written.
    """
    folder = _cache() / build.key
    kept = next(folder.glob("*.whl"), None)
    return kept or _make_wheel(build, folder)


def check() -> frozenset[str]:
    """Let two processes add up a vector, and return what their Horovod was built with.

    Raises
    ------
    NotPossibleHere
        If they do not come to the sum.
    """
    launcher = [sys.executable, "-m", "horovod.runner.launch", "--gloo", "-np", "2"]
    command = [*launcher, "-H", "localhost:2", sys.executable, "-c", ADD_UP]
    try:
        done = _run(command, stdout=subprocess.PIPE, timeout=CHECK_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise NotPossibleHere(
            f"Two processes did not add up a vector with Horovod within {CHECK_LIMIT_S:g} s: see "
            "whether processes of this machine reach each other at localhost."
        ) from None
    built = re.search(r"built with (.*)", done.stdout)
    if done.returncode or not built:
        raise NotPossibleHere(
            "Two processes cannot add up a vector with Horovod; to build it anew, remove "
            f"{_cache()}. They said:\n{_telling_lines(done.stdout)}"
        )
    return frozenset(built[1].split())


def add_up() -> None:
    """Add up a vector over all processes; the leading one says what Horovod was built with."""
    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    gpus = tf.config.list_physical_devices("GPU")
    # NCCL does not let two processes share a GPU.
    own = gpus[hvd.local_rank()] if hvd.nccl_built() and len(gpus) >= hvd.size() else []
    tf.config.set_visible_devices(own, "GPU")
    vector = tf.range(4.0)
    total = hvd.allreduce(vector * (hvd.rank() + 1.0), op=hvd.Sum)
    tf.debugging.assert_equal(total, vector * sum(range(1, hvd.size() + 1)))
    parts = _present(Gloo=hvd.gloo_built(), MPI=hvd.mpi_built(), NCCL=hvd.nccl_built())
    if hvd.rank() == 0:
        sys.stdout.write(f"built with {' '.join(parts)}\n")


def _present(**parts: bool) -> frozenset[str]:
    return frozenset(name for name, is_there in parts.items() if is_there)


def _listed(parts: frozenset[str]) -> str:
    return " and ".join(sorted(parts))


def _working_parts() -> frozenset[str]:
    """Return what the installed Horovod was built with; nothing if it is missing or broken."""
    try:
        require_horovod()
        return check() if version("horovod") == LOCAL_VERSION else frozenset()
    except NotPossibleHere:
        return frozenset()


def _cache() -> Path:
    return cache_folder().absolute() / "wheels"


def _make_wheel(build: Build, folder: Path) -> Path:
    environment = _build_environment(build, folder)
    _require_tools(environment)
    _make_folder(folder)
    log = folder / "build.log"
    sys.stderr.write(
        f"Building Horovod {VERSION} for {build.tensorflow}, with {_listed(build.parts)}: about "
        f"two minutes on two cores; it writes to {log}\n"
    )
    # The wheel begins beside its place, so that it gets there whole or not at all.
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir=folder) as beside:
        source = _source(Path(work), log)
        _adapt(source)
        if build.nccl:
            _link_library(build.nccl, folder)
        options = ["--no-deps", "--no-build-isolation", "--wheel-dir", beside]
        _pip(["wheel", *options, "."], "does not build", log, cwd=source, env=environment)
        (made,) = Path(beside).glob("*.whl")
        return made.replace(folder / made.name)


def _build_environment(build: Build, folder: Path) -> dict[str, str]:
    # What is set for another build of Horovod must not change this one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HOROVOD_")}
    environment |= BUILD_VARIABLES
    environment["HOROVOD_LOCAL_VERSION"] = LOCAL_VERSION.partition("+")[2]
    environment["HOROVOD_WITH_MPI" if build.mpi else "HOROVOD_WITHOUT_MPI"] = "1"
    environment["MAKEFLAGS"] = f"-j{min(os.cpu_count() or 1, MAX_JOBS)}"
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    environment["PATH"] = os.pathsep.join(programs)
    if build.nccl:
        environment |= _nccl_environment(build.nccl, folder)
    return environment


def _nccl_environment(nccl: Nccl, folder: Path) -> dict[str, str]:
    return {
        "HOROVOD_GPU_OPERATIONS": "NCCL",
        "HOROVOD_CUDA_HOME": str(nccl.cuda),
        "CUDAToolkit_ROOT": str(nccl.cuda),
        "HOROVOD_NCCL_INCLUDE": str(nccl.headers),
        "HOROVOD_NCCL_LIB": str(folder),
        "HOROVOD_NCCL_LINK": "shared",
        # Where the package with NCCL is, seen from Horovod's library in the same environment.
        "LDFLAGS": "-Wl,-rpath,'$ORIGIN/../../nvidia/nccl/lib'",
    }


def _link_library(nccl: Nccl, folder: Path) -> None:
    """Give NCCL's library the name that a linker looks for, which the package lacks."""
    link = folder / "libnccl.so"
    link.unlink(missing_ok=True)
    link.symlink_to(nccl.library)


def _require_tools(environment: Mapping[str, str]) -> None:
    missing = [tool for tool in TOOLS if which(tool, environment) is None]
    if missing:
        raise NotPossibleHere(
            f"Building Horovod needs {' and '.join(missing)}, which this machine lacks: install "
            "it and run make horovod again."
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReproError(
            f"{folder} cannot be made ({error.strerror}): set XDG_CACHE_HOME to a folder that can "
            "be written."
        ) from None


def _source(work: Path, log: Path) -> Path:
    """Download the source package and return the folder it is unpacked in."""
    options = ["--no-deps", "--no-build-isolation", "--no-binary", "horovod", "--dest", str(work)]
    _pip(["download", *options, f"horovod=={VERSION}"], "cannot be downloaded", log)
    shutil.unpack_archive(work / f"horovod-{VERSION}.tar.gz", work)
    return work / f"horovod-{VERSION}"


def _adapt(source: Path) -> None:
    """Change a source tree to what TensorFlow offers."""
    for patch in PATCHES:
        file = source / patch.file
        text = patch.applied(file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")


def _install(file: Path) -> None:
    options = ["--no-deps", "--force-reinstall"]
    _pip(["install", *options, str(file)], "cannot be installed", file.with_name("install.log"))


def _pip(arguments: list[str], failure: str, log: Path, **options: Any) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    with log.open("w", encoding="utf-8") as file:
        done = _run(command, stdout=file, **options)
    if done.returncode:
        raise NotPossibleHere(
            f"Horovod {VERSION} {failure}; {log} tells why:\n"
            f"{_telling_lines(log.read_text(encoding='utf-8', errors='replace'))}"
        )


def _run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    )


def _telling_lines(text: str) -> str:
    """Return some lines of a program's output: from its first error on, or else the last ones."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if ERROR.search(line)), -LOG_LINES)
    return "\n".join(f"    {line}" for line in lines[first:][:LOG_LINES])


if __name__ == "__main__":
    try:
        main()
    except ReproError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_status)
