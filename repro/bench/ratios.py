"""Two files of ratios, one program beside another: which speed-up shrank, and whether that counts.

Both programs of a ratio were timed in turns in one run, so that it says little of how busy the
machine was; files of one kind of machine can be held against each other whatever their software.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from repro.bench.compare import NO_DIFFERENCE
from repro.bench.summary import SPEEDUP, is_summary
from repro.bench.tables import markdown_table
from repro.errors import GateFailed, ReproError
from repro.files import read_json
from repro.reporting.formatting import MISSING, count, number, sentence_list

SMALLER = 1.1  # times that a speed-up may shrink
HARDWARE = ("processor", "cores", "gpu")
HEADER = ("benchmark", "A", "B", "B over A", "allowed", "")


@dataclass(frozen=True)
class Ratio:
    """A speed-up in both files.

    Parameters
    ----------
    name : str
        The benchmark and its figure.
    before, after : float or None
        How many times faster [1]; None where a file lacks it.
    allowed : float
        The least that B may be of A [1]: less where rounds of the benchmark scattered.
    result : str
        ``"smaller"``, ``"larger"``, ``"no difference"``, ``"lost"`` or ``"new"``.
    fails : bool
        Whether it shrank by more, or is lost.
    """

    name: str
    before: float | None
    after: float | None
    allowed: float
    result: str
    fails: bool

    @property
    def change(self) -> float | None:
        """B over A [1]; None where one is missing."""
        if self.before is None or self.after is None:
            return None
        return self.after / self.before


@dataclass(frozen=True)
class RatioComparison:
    """Two files of ratios.

    Parameters
    ----------
    ratios : tuple of Ratio
        Those of both.
    differing : tuple of str
        Facts of the hardware that differ: the files are not comparable then.
    """

    ratios: tuple[Ratio, ...]
    differing: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        """0 passed, 1 a speed-up shrank or is lost, 2 of another machine."""
        if self.differing:
            return ReproError.exit_status
        return GateFailed.exit_status if any(ratio.fails for ratio in self.ratios) else 0

    def changed(self) -> RatioComparison:
        """Return the speed-ups that grew, shrank or are lost."""
        changed = tuple(ratio for ratio in self.ratios if ratio.result != NO_DIFFERENCE)
        return replace(self, ratios=changed)

    def facts(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {**asdict(self), "exit_status": self.exit_status}


def read_ratios(path: Path) -> dict[str, Any]:
    """Read a file that `repro.bench.summary` wrote.

    Raises
    ------
    ReproError
        If it is none.
    """
    content = read_json(path, "make it anew with `make bench-ratios`")
    if not is_summary(content):
        raise ReproError(f"{path} has no ratios: make it anew with `make bench-ratios`.")
    return content


def compare_ratios(before: Mapping[str, Any], after: Mapping[str, Any]) -> RatioComparison:
    """Compare the speed-ups of two files, as `read_ratios` returns them.

    Raises
    ------
    ReproError
        If they have none in common.
    """
    old, new = _speedups(before), _speedups(after)
    if not old.keys() & new.keys():
        raise ReproError("The two files have no speed-up in common: run the same benchmarks.")
    ratios = tuple(_ratio(name, old.get(name), new.get(name)) for name in {**old, **new})
    machines = before["machine"], after["machine"]
    differing = [name for name in HARDWARE if len({one.get(name) for one in machines}) > 1]
    return RatioComparison(ratios, tuple(differing))


def _speedups(content: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return each speed-up with the scatter of its benchmark's rounds, in parts of their median."""
    return {
        f"{benchmark.removeprefix('test_')}: {name}": (
            float(value),
            figures["seconds_iqr"] / figures["seconds_median"],
        )
        for benchmark, figures in content["benchmarks"].items()
        for name, value in figures.items()
        if name.startswith(SPEEDUP)
    }


def _ratio(name: str, old: tuple[float, float] | None, new: tuple[float, float] | None) -> Ratio:
    before, after = (None if found is None else found[0] for found in (old, new))
    scatter = max(found[1] for found in (old, new) if found is not None)
    allowed = 1 / max(SMALLER, 1 + scatter)
    if before is None or after is None:
        return Ratio(
            name, before, after, allowed, "lost" if after is None else "new", after is None
        )
    change = after / before
    result = "smaller" if change < allowed else "larger" if change > 1 / allowed else NO_DIFFERENCE
    return Ratio(name, before, after, allowed, result, result == "smaller")


def ratio_page(comparison: RatioComparison, names: tuple[str, str]) -> str:
    """Return a comparison in Markdown; A and B are called by their names."""
    rows = [
        [
            ratio.name,
            *(MISSING if x is None else number(x, 3) for x in (ratio.before, ratio.after)),
            MISSING if ratio.change is None else f"{ratio.change:.2f}",
            f"{ratio.allowed:.2f}",
            f"FAILS: {ratio.result}" if ratio.fails else ratio.result,
        ]
        for ratio in comparison.ratios
    ]
    failing = sum(ratio.fails for ratio in comparison.ratios)
    verdict = f"{count(failing, 'speed-up')} of {len(comparison.ratios)} smaller or lost."
    if comparison.differing:
        what = sentence_list(list(comparison.differing))
        verdict = f"Not comparable: {what} of the machines differ, which ratios depend on."
    return "\n".join(
        [f"A is {names[0]}, B is {names[1]}.", "", markdown_table(HEADER, rows), "", verdict]
    )
