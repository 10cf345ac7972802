"""The machine and the packages that a number was made with; nothing that names their owner."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

# Those whose version can move a number.
PACKAGES = (
    "numpy",
    "scipy",
    "h5py",
    "scikit-learn",
    "scikit-image",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "jaxlib",
    "nvidia-cudnn-cu12",
    "nvidia-cublas-cu12",
)


def sysinfo() -> dict[str, Any]:
    """Return what a record says of the machine and its software.

    Returns
    -------
    dict
        ``python`` version, ``packages`` (versions by name), ``processor`` (model name), ``cores``
        this process may use, ``memory_gb`` [10⁹ bytes], ``gpu`` (model name, or None).
    """
    return {
        "python": platform.python_version(),
        "packages": package_versions(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpu_name(),
    }


def package_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the version of each of some packages that is installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def processor_name() -> str:
    """Return the processor's model name, or its architecture where the system tells no more."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_name() -> str | None:
    """Return the GPU that networks run on, such as ``"2 × NVIDIA H200"``; None without one.

    The Keras backend is asked where it is loaded, since only it knows what it uses; else
    ``nvidia-smi``, so that asking does not load a backend.
    """
    if "keras" in sys.modules:
        names = _backend_gpus(sys.modules["keras"].backend.backend())
    else:
        names = output_of("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    counted = Counter(name.strip() for name in names if name.strip())
    return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in counted.items()) or None


def _backend_gpus(backend: str) -> list[str]:
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        details = map(tf.config.experimental.get_device_details, devices)
        return [detail.get("device_name", "GPU") for detail in details]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return []


def output_of(*command: str) -> str:
    """Return what a command prints, or an empty text if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
