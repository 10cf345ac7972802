"""From the JSON of pytest-benchmark to a small file that can be kept and compared.

``python -m repro.bench.summary RAW.json SMALL.json``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.files import read_json, write_text

# Those of `repro.bench.device.sysinfo`: what else a file says of its machine may name its owner.
MACHINE_FACTS = ("python", "packages", "processor", "cores", "memory_gb", "gpu")
DIGITS = 4


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
