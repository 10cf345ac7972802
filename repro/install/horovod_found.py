"""What is installed of Horovod and of what it builds on, found without importing any of it."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import Distribution
from pathlib import Path

from repro.errors import NotPossibleHere

TENSORFLOWS = ("tensorflow", "tensorflow-cpu")


@dataclass(frozen=True)
class Nccl:
    """Where on this machine the parts are that sums on GPUs need.

    Parameters
    ----------
    cuda : pathlib.Path
        The CUDA toolkit, with ``bin/nvcc``.
    headers : pathlib.Path
        The folder of ``nccl.h``.
    library : pathlib.Path
        The file ``libnccl.so``, whatever number follows.
    """

    cuda: Path
    headers: Path
    library: Path


def require_horovod(path: Sequence[str] | None = None) -> None:
    """Refuse to go on without a Horovod for the TensorFlow that is installed; import neither.

    Parameters
    ----------
    path : sequence of str, optional
        Folders to look for packages in; `sys.path` if not given.

    Raises
    ------
    NotPossibleHere
        If Horovod is missing, or was built without TensorFlow or for another version of it.
    """
    path = sys.path if path is None else path
    horovod = _folder("horovod", path)
    if horovod is None:
        raise NotPossibleHere("Horovod is not installed: run make horovod.")
    theirs = _tensorflow_of(horovod)
    if theirs is None:
        raise NotPossibleHere("Horovod was built without TensorFlow: run make horovod.")
    ours = tensorflow_package(path)[1]
    if _numbers(theirs) != _numbers(ours):
        raise NotPossibleHere(
            f"Horovod was built for TensorFlow {theirs}, but {ours} is installed: run make horovod."
        )


def _folder(name: str, path: Sequence[str]) -> Path | None:
    found = PathFinder.find_spec(name, path)
    return Path(found.origin).parent if found and found.origin else None


def tensorflow_package(path: Sequence[str]) -> tuple[str, str]:
    """Return name and version of the package that TensorFlow comes from.

    Raises
    ------
    NotPossibleHere
        If there is none in the folders of the path.
    """
    for name in TENSORFLOWS:
        for found in Distribution.discover(name=name, path=list(path)):
            return name, found.version
    raise NotPossibleHere("TensorFlow is not installed: run make setup.")


def _tensorflow_of(horovod: Path) -> str | None:
    """Return the version of TensorFlow that the Horovod in a folder was built for, if any."""
    try:
        return json.loads((horovod / "metadata.json").read_text(encoding="utf-8")).get("tensorflow")
    except (OSError, ValueError):
        return None


def _numbers(release: str) -> list[str]:
    return re.findall(r"\d+", release)[:3]


def find_nccl(path: Sequence[str], environment: Mapping[str, str]) -> Nccl | None:
    """Return what sums on GPUs need, unless some of it is missing or TensorFlow knows no GPUs."""
    cuda = _find_cuda(_cuda_release_of_tensorflow(path), environment)
    if cuda is None:
        return None
    # The package that TensorFlow itself loads comes before others: a process holds one NCCL.
    packages = [Path(folder) / "nvidia/nccl" for folder in path]
    for home in [*_homes(environment, "HOROVOD_NCCL_HOME"), *packages, cuda, Path("/usr")]:
        libraries = [*home.glob("lib*/libnccl.so*"), *home.glob("lib/*/libnccl.so*")]
        if libraries and (home / "include/nccl.h").is_file():
            return Nccl(cuda, home / "include", min(libraries))
    return None


def _find_cuda(release: str | None, environment: Mapping[str, str]) -> Path | None:
    """Return the CUDA toolkit of a release, such as ``"12"``."""
    homes = _homes(environment, "HOROVOD_CUDA_HOME", "CUDA_HOME")
    if compiler := which("nvcc", environment):
        homes.append(Path(compiler).resolve().parents[1])
    homes.append(Path("/usr/local/cuda"))
    # Kernels and the runtime that TensorFlow loads for them must be of one release.
    return next((home for home in homes if release and _cuda_release(home) == release), None)


def _cuda_release(home: Path) -> str | None:
    header = home / "include/cuda_runtime_api.h"
    if not (header.is_file() and (home / "bin/nvcc").is_file()):
        return None
    text = header.read_text(encoding="utf-8", errors="replace")
    version = re.search(r"#define\s+CUDART_VERSION\s+(\d+)\d{3}\b", text)
    return version[1] if version else None


def _cuda_release_of_tensorflow(path: Sequence[str]) -> str | None:
    tensorflow = _folder("tensorflow", path)
    facts = tensorflow and tensorflow / "python/platform/build_info.py"
    if not (facts and facts.is_file()):
        return None
    version = runpy.run_path(str(facts))["build_info"].get("cuda_version", "")
    return version.partition(".")[0] or None


def _homes(environment: Mapping[str, str], *names: str) -> list[Path]:
    return [Path(environment[name]).absolute() for name in names if environment.get(name)]


def which(tool: str, environment: Mapping[str, str]) -> str | None:
    """Return where a program is, by the ``PATH`` among the environment variables."""
    return shutil.which(tool, path=environment.get("PATH", os.defpath))
