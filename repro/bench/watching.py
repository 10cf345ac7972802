"""What else happened while something was timed: load, memory, energy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from repro.bench.device import gpu_name

NO_NVML = "Energy was not measured: nvidia-ml-py is missing (pip install nvidia-ml-py)."
NO_ENERGY = "Energy was not measured: this GPU's driver does not tell it."
NO_GPU = "Energy was not measured: no GPU is used."
UNKNOWN = 2**63  # a GPU says when its memory is full
RESET_PEAK = "5"  # for /proc/self/clear_refs: forget the most memory so far


@dataclass
class Watched:
    """What was seen.

    Attributes
    ----------
    busy_elsewhere : float
        Cores that other processes kept busy [1].
    peak_bytes : int or None
        Most memory of the GPU, else of this process [byte]; None where it cannot be told.
    joules : float or None
        Energy that the GPUs took [J]; None where it cannot be told.
    """

    busy_elsewhere: float = 0.0
    peak_bytes: int | None = None
    joules: float | None = None


@contextmanager
def watching(n_devices: int = 1) -> Iterator[Watched]:
    """Watch the machine while something is timed; what was seen is there at the end.

    Parameters
    ----------
    n_devices : int
        GPUs that the work uses [1].
    """
    seen, energy = Watched(), _joules(n_devices)
    peak_before = _reset_peak()
    start, busy = time.perf_counter(), _busy_seconds()
    try:
        yield seen
    finally:
        seconds = time.perf_counter() - start
        seen.busy_elsewhere = max(0.0, (_busy_seconds() - busy) / seconds)
        seen.peak_bytes = _peak(peak_before)
        taken = _joules(n_devices)
        if energy is not None and taken is not None:
            seen.joules = taken - energy


def why_no_energy() -> str | None:
    """Return why energy cannot be told; None where it can."""
    if gpu_name() is None:
        return NO_GPU
    if _nvml() is None:
        return NO_NVML
    return NO_ENERGY if _joules(1) is None else None


# ---- load


def _busy_seconds() -> float:
    """Return the time that other processes have spent on the cores that this one may use [s]."""
    cores = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        usable = os.sched_getaffinity(0)
        cores = [times for place, times in enumerate(cores) if place in usable]
    own = psutil.Process().cpu_times()
    busy = sum(core.user + core.system + getattr(core, "steal", 0.0) for core in cores)
    return busy + sum(getattr(core, "nice", 0.0) for core in cores) - own.user - own.system


# ---- memory


def _reset_peak() -> int:
    """Forget the most memory so far where that is possible; else return it [byte]."""
    if gpu_name() is None:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text(RESET_PEAK)
            return 0
        return _process_peak() or 0
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")
        return 0
    return _gpu_peak() or 0


def _peak(before: int) -> int | None:
    """Return the most memory since then; None if it was more before, and so is not known."""
    peak = _process_peak() if gpu_name() is None else _gpu_peak()
    return peak if peak is not None and peak > before else None


def _process_peak() -> int | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _gpu_peak() -> int | None:
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    import jax

    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def available_bytes() -> int:
    """Return the memory that a larger batch may take [byte]."""
    import keras

    if gpu_name() is None:
        return psutil.virtual_memory().available + psutil.Process().memory_info().rss
    if keras.config.backend() == "jax":
        import jax

        stats = jax.local_devices()[0].memory_stats() or {}
        return stats.get("bytes_limit", UNKNOWN)
    return UNKNOWN


# ---- energy


def _nvml() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _joules(n_devices: int) -> float | None:
    """Return the energy that the GPUs have taken so far [J], or None."""
    nvml = None if gpu_name() is None else _nvml()
    if nvml is None:
        return None
    try:
        devices = [nvml.nvmlDeviceGetHandleByIndex(place) for place in _used(n_devices)]
        return sum(map(nvml.nvmlDeviceGetTotalEnergyConsumption, devices)) / 1000
    except nvml.NVMLError:
        return None


def _used(n_devices: int) -> list[int]:
    """Return the numbers of the GPUs in use, as the driver counts them."""
    visible = [text.strip() for text in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    numbers: list[Any] = [int(text) for text in visible if text.isdecimal()]
    return (numbers or list(range(n_devices)))[:n_devices]
