"""Two files of benchmarks, row by row: which is faster, by how much, and whether that counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from repro.bench.machine import lasting
from repro.bench.rows import BenchmarkFile, Row
from repro.bench.tables import markdown_table, milliseconds
from repro.errors import GateFailed, ReproError
from repro.reporting.formatting import MISSING, count, sentence_list

FACTOR = 1.1
NO_DIFFERENCE = "no difference"


@dataclass(frozen=True)
class Pair:
    """A row of A, and the same of B.

    Parameters
    ----------
    name : str
        Which row.
    speedup : float or None
        How many times faster B is than A [1]; below 1 it is slower. None if not comparable.
    low, high : float or None
        Its interval: what both rows' intervals allow [1].
    result : str
        ``"B faster"``, ``"A faster"``, ``"no difference"``, ``"lost"``, ``"new"`` or
        ``"another network"``.
    fails : bool
        Whether B is slower by more than the factor, or lost.
    seconds : tuple
        Median times of A and of B [s]; None where a file lacks the row.
    marks : tuple of str
        Why one of the two is unreliable.
    """

    name: str
    speedup: float | None
    low: float | None
    high: float | None
    result: str
    fails: bool
    seconds: tuple[float | None, float | None]
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two files of benchmarks.

    Parameters
    ----------
    pairs : tuple of Pair
        The rows of both.
    differing : tuple of str
        Facts of the machine that differ; none if it is the same.
    same_code : bool
        Whether both timed the same code.
    factor : float
        By how much B may be slower [1].
    """

    pairs: tuple[Pair, ...]
    differing: tuple[str, ...]
    same_code: bool
    factor: float

    @property
    def exit_status(self) -> int:
        """1 if a row is slower than the factor allows, or lost."""
        return GateFailed.exit_status if any(pair.fails for pair in self.pairs) else 0

    def changed(self) -> Comparison:
        """Return the rows that became faster, slower or lost."""
        changed = tuple(pair for pair in self.pairs if pair.result != NO_DIFFERENCE)
        return replace(self, pairs=changed)

    def facts(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {**asdict(self), "exit_status": self.exit_status}


def compare(before: BenchmarkFile, after: BenchmarkFile, factor: float = FACTOR) -> Comparison:
    """Compare two files of benchmarks.

    Parameters
    ----------
    before, after : BenchmarkFile
        A and B.
    factor : float
        By how much B may be slower [1].

    Raises
    ------
    ReproError
        If the factor is below 1, or the two have no row in common.
    """
    if not factor >= 1:
        raise ReproError(f"--factor {factor}: give a number of at least 1.")
    a, b = ({row.key: row for row in file.rows} for file in (before, after))
    a, b = _by_common_key(a, b)
    if not a.keys() & b.keys():
        raise ReproError("The two files have no row in common: time the same networks in both.")
    pairs = tuple(_pair(a.get(key), b.get(key), factor) for key in {**a, **b})
    mine, theirs = lasting(before.machine), lasting(after.machine)
    differing = sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n))
    return Comparison(pairs, tuple(differing), before.code == after.code, factor)


def _by_common_key(a: Mapping, b: Mapping) -> tuple[dict, dict]:
    """Leave out of the keys the backend where each file has one, so that these can be compared."""
    backends = [{row.backend for row in rows.values()} for rows in (a, b)]
    if backends[0] == backends[1] or max(map(len, backends)) > 1:
        return dict(a), dict(b)
    strip = {"backend": ""}
    one, other = (
        {row.model_copy(update=strip).key: row for row in rows.values()} for rows in (a, b)
    )
    return one, other


def _pair(a: Row | None, b: Row | None, factor: float) -> Pair:
    row = next(row for row in (a, b) if row is not None)
    workers = f", {row.workers} workers" if row.workers > 1 else ""
    name = f"{row.title}, {row.phase}, {row.precision}, batch {row.batch}{workers}"
    seconds = _median(a), _median(b)
    marks = tuple(sorted({mark for r in (a, b) if r is not None for mark in r.marks}))
    if a is None or b is None:
        result = "lost" if b is None else "new"
        return Pair(name, None, None, None, result, b is None, seconds, marks)
    if a.definition != b.definition:
        return Pair(name, None, None, None, "another network", False, seconds, marks)
    speedup = a.seconds.median / b.seconds.median
    low, high = a.seconds.low / b.seconds.high, a.seconds.high / b.seconds.low
    result = "B faster" if low > 1 else "A faster" if high < 1 else NO_DIFFERENCE
    fails = speedup < 1 / factor and high < 1
    return Pair(name, speedup, low, high, result, fails, seconds, marks)


def _median(row: Row | None) -> float | None:
    return None if row is None else row.seconds.median


def page(comparison: Comparison, names: tuple[str, str]) -> str:
    """Return a comparison in Markdown.

    Parameters
    ----------
    comparison : Comparison
        Of two files.
    names : tuple of str
        What A and B are called.
    """
    machine = (
        f"another machine or other software: {sentence_list(list(comparison.differing))} differ"
        if comparison.differing
        else "the same machine and software"
    )
    code = "the same code" if comparison.same_code else "other code"
    failing = sum(pair.fails for pair in comparison.pairs)
    lines = [[*_line(pair)] for pair in comparison.pairs]
    header = ("row", "A", "B", "speed-up of B over A, interval", "")
    return "\n".join(
        [
            f"A is {names[0]}, B is {names[1]}: {machine}; {code}.",
            "",
            markdown_table(header, lines),
            "",
            f"{count(failing, 'row')} of {len(comparison.pairs)} slower than 1/"
            f"{comparison.factor:g} or lost.",
        ]
    )


def _line(pair: Pair) -> list[str]:
    times = [MISSING if s is None else milliseconds(s) for s in pair.seconds]
    speedup = MISSING
    if pair.speedup is not None:
        speedup = f"{pair.speedup:.2f} × ({pair.low:.2f} to {pair.high:.2f})"
    doubt = f" (unreliable: {sentence_list(list(pair.marks))})" if pair.marks else ""
    return [pair.name, *times, speedup, f"{'FAILS: ' if pair.fails else ''}{pair.result}{doubt}"]
