"""Rows of benchmarks as text: for the terminal, and in Markdown for a README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from repro.bench.rows import BenchmarkFile, Ceiling, Row
from repro.reporting.formatting import MISSING, large, number
from repro.reporting.terminal import table

BEGIN, END = "<!-- timings:begin -->", "<!-- timings:end -->"
HEADER = (
    *("network", "phase", "precision", "batch", "time a step", "95th pct.", "samples/s", "FLOP/s"),
    *("of products", "of memory", "waits", "peak GB", "first s", ""),
)
README_HEADER = (
    *("Machine", "Network", "Precision", "Batch", "Step", "Samples/s", "Share of the ceiling"),
    "Waits for input",
)
README_PHASE, README_PRESET = "train", "paper"


def terminal_table(rows: Iterable[Row]) -> str:
    """Return rows as a table; what is unreliable has a star, explained below it."""
    rows = list(rows)
    reasons = numbered({mark for row in rows for mark in row.marks})
    lines = [_cells(row, sorted(reasons[mark] for mark in row.marks)) for row in rows]
    notes = [f"*{place} unreliable: {text}" for text, place in reasons.items()]
    if any(row.flops is None for row in rows if row.phase != "data"):
        notes.append(f"FLOP/s {MISSING}: the cost of one of the network's layers is not known")
    return "\n".join([table(list(HEADER), lines), *notes])


def numbered(reasons: Iterable[str]) -> dict[str, int]:
    """Number reasons, in alphabetical order from 1."""
    return {reason: place for place, reason in enumerate(sorted(reasons), 1)}


def _cells(row: Row, marks: Sequence[int]) -> list[str]:
    workers = f" on {row.workers}" if row.workers > 1 else ""
    return [
        row.title,
        row.phase,
        row.precision,
        f"{row.batch}{workers}",
        step_time(row),
        milliseconds(row.seconds.p95),
        number(row.samples_per_second, 3),
        MISSING if row.flops_per_second is None else large(row.flops_per_second),
        share_of(row.matmul),
        share_of(row.memory),
        MISSING if row.waiting is None else f"{row.waiting:.0%}",
        number(row.peak_gb, 2),
        number(row.first_seconds, 2),
        " ".join(f"*{place}" for place in marks),
    ]


def step_time(row: Row) -> str:
    """Write a step's median time with its interval."""
    times = row.seconds
    return f"{milliseconds(times.median)} ({milliseconds(times.low)} to {milliseconds(times.high)})"


def milliseconds(seconds: float) -> str:
    """Write a time in ms, or in s from one second on."""
    return f"{number(seconds, 3)} s" if seconds >= 1 else f"{number(1e3 * seconds, 3)} ms"


def share_of(ceiling: Ceiling | None) -> str:
    """Write what was reached of a ceiling, with its name where it is not memory."""
    if ceiling is None or ceiling.share is None:
        return MISSING
    name = "" if ceiling.name == "memory" else f" {ceiling.name}"
    return f"{ceiling.share:.0%}{name}"


def readme_table(files: Sequence[BenchmarkFile]) -> str:
    """Return the table of timings in Markdown: training at the papers' size, by machine.

    Rows that are unreliable have a number, explained below the table.
    """
    chosen = [
        (file, row)
        for file in files
        for row in sorted(file.rows, key=lambda row: row.key)
        if (row.phase, row.preset) == (README_PHASE, README_PRESET)
    ]
    if not chosen:
        return "No machine has been timed yet: `make bench`."
    reasons = numbered({mark for _, row in chosen for mark in row.marks})
    lines = [[machine_name(file), *_readme_cells(row, reasons)] for file, row in chosen]
    notes = [f"<sup>{place}</sup> Unreliable: {text}." for text, place in reasons.items()]
    return "\n".join([markdown_table(README_HEADER, lines), *(["", *notes] if notes else [])])


def _readme_cells(row: Row, reasons: Mapping[str, int]) -> list[str]:
    marks = ", ".join(str(place) for place in sorted(reasons[mark] for mark in row.marks))
    return [
        f"{row.study} `{row.variant}` {row.network}",
        row.precision,
        str(row.batch),
        milliseconds(row.seconds.median),
        number(row.samples_per_second, 3),
        share_of(row.matmul) + (f" <sup>{marks}</sup>" if marks else ""),
        MISSING if row.waiting is None else f"{row.waiting:.0%}",
    ]


def machine_name(file: BenchmarkFile) -> str:
    """Return what rows were timed on: the GPU, else processor and cores, and the backend."""
    machine = file.machine
    device = machine["gpu"] or f"{machine['processor']}, {machine['cores']} cores"
    return f"{device}, {machine['backend']}"


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in rows)
