"""Records, runs, folders of records and files of benchmarks side by side, as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from repro.bench.compare import Comparison as BenchmarkComparison
from repro.bench.compare import compare as compare_benchmarks
from repro.bench.compare import page as benchmark_page
from repro.bench.ratios import RatioComparison, compare_ratios, ratio_page, read_ratios
from repro.bench.rows import FORMAT, read_benchmarks
from repro.bench.summary import is_summary
from repro.bench.tables import markdown_table
from repro.errors import ReproError
from repro.evaluation.records import Record, read_record
from repro.evaluation.regression import EXIT_STATUS, Comparison, Row, compare, primary_metrics
from repro.files import read_json
from repro.reporting.formatting import count, number
from repro.study import get_study, studies

RECORD_FILE = "record.json"
BENCHMARKS, RATIOS = "benchmarks", "ratios"  # what a file may hold beside a record
# A step must not be a tenth slower unseen: half of that, where the intervals are apart.
SLOWER_STEP = 1.05
HEADER = ("metric", "A", "B", "allowed", "what became of it", "why")


class Compared(Protocol):
    """What two paths give when they are compared."""

    @property
    def exit_status(self) -> int:
        """0 passed, 1 failed, 2 not comparable."""

    def facts(self, only_changed: bool = False) -> dict[str, Any]:
        """Return it as JSON values."""

    def page(self, only_changed: bool = False) -> str:
        """Return it in Markdown."""


@dataclass(frozen=True)
class ComparedRecords:
    """Records, each with its baseline.

    Parameters
    ----------
    pairs : dict
        Comparisons by what the records are called.
    lost, new : tuple of str
        Records that B lacks, which fails, and those that A lacks.
    """

    pairs: dict[str, Comparison]
    lost: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """The worst: ``"failed"``, ``"not comparable"`` or ``"passed"``."""
        found = {pair.status for pair in self.pairs.values()} | ({"failed"} if self.lost else set())
        return next(word for word in ("failed", "not comparable", "passed") if word in found)

    @property
    def exit_status(self) -> int:
        """0 passed, 1 failed, 2 not comparable."""
        return EXIT_STATUS[self.status]

    def facts(self, only_changed: bool = False) -> dict[str, Any]:
        """Return one comparison as it is, several by name."""
        pairs = {name: _facts(pair, only_changed) for name, pair in self.pairs.items()}
        if len(pairs) == 1 and not (self.lost or self.new):
            return next(iter(pairs.values()))
        facts = {"status": self.status, "exit_status": self.exit_status}
        return facts | {"lost": self.lost, "new": self.new, "records": pairs}

    def page(self, only_changed: bool = False) -> str:
        """Return tables, one a record, and what came of it all."""
        parts = [
            "\n".join([f"## {name}", "", *_lines(pair, only_changed)])
            for name, pair in self.pairs.items()
        ]
        parts += [f"**{name}: B has no such record.**" for name in self.lost]
        parts += [f"{name}: only B has it." for name in self.new]
        compared = count(len(self.pairs), "record")
        return "\n\n".join([*parts, f"**{self.status}** ({compared} compared)"])


@dataclass(frozen=True)
class ComparedTimes:
    """Two files of benchmarks, or of ratios.

    Parameters
    ----------
    comparison : repro.bench.compare.Comparison or RatioComparison
        Of their rows.
    write : callable
        Returns a comparison in Markdown, given what the files are called.
    names : tuple of str
        What they are called.
    """

    comparison: BenchmarkComparison | RatioComparison
    write: Callable[..., str]
    names: tuple[str, str]

    @property
    def exit_status(self) -> int:
        """1 if a row is slower or lost, 2 if ratios are of different machines."""
        return self.comparison.exit_status

    def facts(self, only_changed: bool = False) -> dict[str, Any]:
        """Return the rows."""
        return self._chosen(only_changed).facts()

    def page(self, only_changed: bool = False) -> str:
        """Return a table of the rows."""
        return self.write(self._chosen(only_changed), self.names)

    def _chosen(self, only_changed: bool) -> BenchmarkComparison | RatioComparison:
        return self.comparison.changed() if only_changed else self.comparison


def compare_paths(baseline: Path, candidate: Path, accept_gain: str | None = None) -> Compared:
    """Compare what two paths hold.

    Parameters
    ----------
    baseline, candidate : Path
        Records, folders of runs, folders that hold records by the same names below them, files
        of benchmarks, or files of ratios.
    accept_gain : str, optional
        Why gains of records are sound.

    Raises
    ------
    ReproError
        If one is of another sort than the other, has nothing to compare, or they share nothing.
    """
    sorts, names = (
        [_sort_of(path) for path in (baseline, candidate)],
        (baseline.name, candidate.name),
    )
    if sorts[0] != sorts[1]:
        raise ReproError(
            f"{baseline} holds {sorts[0]} and {candidate} holds {sorts[1]}: compare two of a sort."
        )
    if sorts[0] == BENCHMARKS:
        timed = [read_benchmarks(path) for path in (baseline, candidate)]
        times = compare_benchmarks(timed[0], timed[1], SLOWER_STEP)
        return ComparedTimes(times, benchmark_page, names)
    if sorts[0] == RATIOS:
        ratios = compare_ratios(read_ratios(baseline), read_ratios(candidate))
        return ComparedTimes(ratios, ratio_page, names)
    old, new = _records(baseline), _records(candidate)
    if len(old) == len(new) == 1:
        (before,), (after,) = old.values(), new.values()
        return ComparedRecords({before.label: compare_records(before, after, accept_gain)})
    common = [name for name in old if name in new]
    if not common:
        raise ReproError(f"{baseline} and {candidate} have no record of the same name.")
    return ComparedRecords(
        {name: compare_records(old[name], new[name], accept_gain) for name in common},
        lost=tuple(name for name in old if name not in new),
        new=tuple(name for name in new if name not in old),
    )


def compare_records(old: Record, new: Record, accept_gain: str | None = None) -> Comparison:
    """Compare two records by the metrics that the claims of their study name."""
    claims = get_study(old.study).claims.claims if old.study in studies() else ()
    return compare(old, new, accept_gain, primary=primary_metrics(old, claims))


def _sort_of(path: Path) -> str:
    if path.is_file():
        content = read_json(path, "name a record, a file of benchmarks or one of ratios")
        if isinstance(content, dict) and content.get("format") == FORMAT:
            return BENCHMARKS
        if is_summary(content):
            return RATIOS
    return "records"


def _records(path: Path) -> dict[str, Record]:
    """Return records by where they are below a folder; a single one by its file's name."""
    if not path.is_dir():
        return {path.name: read_record(path)}
    if (path / RECORD_FILE).is_file():
        return {path.name: read_record(path / RECORD_FILE)}
    found = sorted(path.rglob(RECORD_FILE))
    if not found:
        raise ReproError(f"{path} holds no {RECORD_FILE}: name a record, or a folder of records.")
    return {file.parent.relative_to(path).as_posix(): read_record(file) for file in found}


def _facts(comparison: Comparison, only_changed: bool) -> dict[str, Any]:
    rows = [asdict(row) for row in _rows(comparison, only_changed)]
    return {"status": comparison.status, **asdict(comparison), "rows": rows}


def _rows(comparison: Comparison, only_changed: bool) -> tuple[Row, ...]:
    return comparison.moved if only_changed else comparison.rows


def _lines(comparison: Comparison, only_changed: bool) -> list[str]:
    rows = [
        [
            f"**{row.metric}**" if row.primary else row.metric,
            *map(number, (row.baseline, row.candidate, row.tolerance)),
            row.status,
            row.reason,
        ]
        for row in _rows(comparison, only_changed)
    ]
    n_primary = sum(row.primary for row in comparison.rows)
    changed = ", ".join(comparison.changed) or "none"
    lines = [markdown_table(HEADER, rows), ""] if rows else ["Nothing moved.", ""]
    lines += [f"{count(n_primary, 'metric')} of {len(comparison.rows)} gate."] if n_primary else []
    for joint in comparison.joint:
        said = f"{100 * joint.worse:+.2g} %, {100 * joint.tolerance:.2g} % allowed"
        fails = "**FAILS: **" if joint.fails else ""
        lines.append(f"{fails}{joint.n_metrics} {joint.metrics} metrics together: worse by {said}.")
    if comparison.speed is not None:
        speed = comparison.speed
        where = "the same machine" if speed.same_machine else "another machine or software"
        fails = "**FAILS: **" if speed.fails else ""
        lines.append(
            f"{fails}training: {number(speed.candidate)} instead of {number(speed.baseline)} "
            f"samples/s, {where}."
        )
    lines += [f"Not comparable: {difference}." for difference in comparison.differences]
    if comparison.carried:
        earlier = count(len(comparison.carried), "earlier code")
        lines.append(f"{earlier} gave the same numbers; --json names them.")
    return [*lines, f"Hashes that differ: {changed}.", f"Outcome: {comparison.status}."]
