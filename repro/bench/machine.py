"""What a file of benchmarks says of its machine: beyond a record's facts, what sets its speed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import repro
from repro.bench.device import output_of, package_versions, sysinfo

MORE_PACKAGES = (
    *("jax-cuda12-plugin", "jax-cuda13-plugin", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime"),
    *("nvidia-cudnn-cu13", "nvidia-cublas", "horovod"),
)
GPU_FACTS = {
    "driver": "driver_version",
    "graphics_clock_mhz": "clocks.gr",
    "highest_graphics_clock_mhz": "clocks.max.gr",
    "memory_clock_mhz": "clocks.mem",
    "power_limit_w": "power.limit",
}
# Clocks follow the load, so they are told and not compared.
CHANGING = ("graphics_clock_mhz", "memory_clock_mhz")


def machine_facts(backend: str) -> dict[str, Any]:
    """Return the machine, its software and its settings, all of it read only.

    Parameters
    ----------
    backend : str
        The Keras backend that is timed.

    Returns
    -------
    dict
        Those of `repro.bench.device.sysinfo`, ``backend``, ``threads``; with a GPU ``driver``,
        ``cuda``, its clocks [MHz] and power limit [W] where the driver tells them.
    """
    facts = sysinfo()
    facts["packages"] |= package_versions(MORE_PACKAGES)
    facts |= {"backend": backend, "threads": _threads(facts["cores"])}
    return facts | (gpu_facts() if facts["gpu"] else {})


def lasting(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that two files of one machine have in common."""
    return {name: value for name, value in facts.items() if name not in CHANGING}


def gpu_facts() -> dict[str, Any]:
    """Return what ``nvidia-smi`` says of the first GPU; nothing without it."""
    query = f"--query-gpu={','.join(GPU_FACTS.values())}"
    first = output_of("nvidia-smi", query, "--format=csv,noheader,nounits").partition("\n")[0]
    told = [text.strip() for text in first.split(",")]
    if len(told) != len(GPU_FACTS):
        return {}
    cuda = re.search(r"CUDA Version:\s*([\d.]+)", output_of("nvidia-smi"))
    facts = dict(zip(GPU_FACTS, map(_number, told), strict=True))
    facts["driver"] = told[0]
    return {**facts, "cuda": cuda[1] if cuda else None}


def commit() -> str | None:
    """Return the commit of the code, marked if files have changed since.

    None without git, and where the package was installed into the checkout of something else.
    """
    folder = str(Path(repro.__file__).parent)
    if not output_of("git", "-C", folder, "ls-files", "__init__.py"):
        return None
    found = output_of("git", "-C", folder, "rev-parse", "--short=12", "HEAD")
    changed = output_of("git", "-C", folder, "status", "--porcelain", "--untracked-files=no")
    return f"{found} and changes" if found and changed else found or None


def code_version() -> str:
    """Return the commit of the code, or the version of the package where there is none."""
    return commit() or f"{repro.__name__} {repro.__version__}"


def _number(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return None


def _threads(cores: int) -> int:
    """Return the threads within an operation: as many as cores unless they are limited."""
    return int(os.environ.get("OMP_NUM_THREADS") or cores)
