"""From the JSON of pytest-benchmark to a small file that can be kept and compared.

``python -m repro.bench.summary RAW.json SMALL.json``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.files import read_json, write_text

# Those of `repro.bench.device.sysinfo`: what else a file says of its machine may name its owner.
MACHINE_FACTS = ("python", "packages", "processor", "cores", "memory_gb", "gpu")
DIGITS = 4
WHERE = ("benchmarks/ratios/*.json", "ratios.json")  # under a folder of results
SPEEDUP = "speedup"  # how the names of figures begin that say which program is faster


def summarise(raw: dict[str, Any]) -> dict[str, Any]:
    """Return what is worth keeping of a run of pytest-benchmark.

    Parameters
    ----------
    raw : dict
        As ``--benchmark-json`` writes it.

    Returns
    -------
    dict
        ``machine`` and ``benchmarks``, by name: median and interquartile range [s], the number of
        rounds and what the benchmark itself says, to four digits.

    Raises
    ------
    ReproError
        If this is no such run.
    """
    try:
        machine = {key: raw["machine_info"][key] for key in MACHINE_FACTS}
        benchmarks = {benchmark["name"]: _measured(benchmark) for benchmark in raw["benchmarks"]}
    except (KeyError, TypeError) as error:
        raise ReproError(
            f"This is no result of the benchmarks here ({error!r}): write it with "
            "pytest benchmarks --benchmark-json=FILE."
        ) from None
    return {"machine": machine, "benchmarks": dict(sorted(benchmarks.items()))}


def write_summary(raw_file: str | Path, out: str | Path) -> None:
    """Write the small file of a run of pytest-benchmark; an older one is replaced when it is whole.

    Parameters
    ----------
    raw_file : pathlib.Path
        What ``--benchmark-json`` wrote.
    out : pathlib.Path
        The small file.

    Raises
    ------
    ReproError
        If the run cannot be read, or is none.
    """
    raw = read_json(Path(raw_file), "write it with pytest benchmarks --benchmark-json=FILE")
    write_text(Path(out), json.dumps(summarise(raw), indent=1, ensure_ascii=False) + "\n")


def find_ratios(folders: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Read the small files in folders of results, by path.

    Raises
    ------
    ReproError
        If one of them is damaged.
    """
    paths = sorted({p for folder in folders for pattern in WHERE for p in folder.glob(pattern)})
    found = {path: read_json(path, "make it anew with `make bench-ratios`") for path in paths}
    for path, content in found.items():
        if not is_summary(content):
            raise ReproError(f"{path} has no ratios: make it anew with `make bench-ratios`.")
    return found


def is_summary(content: Any) -> bool:
    """Whether the content of a file is what `write_summary` writes."""
    return isinstance(content, dict) and content.keys() >= {"machine", "benchmarks"}


def speedups(files: Iterable[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return every speed-up, one a file, by its benchmark and name; None where a file lacks it."""
    of_files = [
        {
            f"{benchmark.removeprefix('test_')}: {name}": value
            for benchmark, figures in content["benchmarks"].items()
            for name, value in figures.items()
            if name.startswith(SPEEDUP)
        }
        for content in files
    ]
    names = sorted({name for figures in of_files for name in figures})
    return {name: [figures.get(name) for figures in of_files] for name in names}


def _measured(benchmark: dict[str, Any]) -> dict[str, Any]:
    statistics = benchmark["stats"]
    return {
        "seconds_median": _rounded(statistics["median"]),
        "seconds_iqr": _rounded(statistics["iqr"]),
        "rounds": statistics["rounds"],
        **{name: _rounded(value) for name, value in benchmark["extra_info"].items()},
    }


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        write_summary(*sys.argv[1:])
    except ReproError as error:
        sys.exit(str(error))
