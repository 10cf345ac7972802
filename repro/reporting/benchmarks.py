"""What the report shows of benchmarks: machines, rows and figures, made from their files alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repro.bench.summary import speedups
from repro.bench.tables import machine_name, milliseconds, numbered, share_of
from repro.reporting.formatting import MISSING, large, number, with_unit

if TYPE_CHECKING:
    from repro.bench.rows import BenchmarkFile, Row
    from repro.reporting.embedding import FigureView

COLUMNS = (
    *("Phase", "Precision", "Batch", "Step, 95 % interval", "95th percentile", "Samples/s"),
    *("FLOP/s", "Of products", "Of memory", "Waits for input", "Peak memory", "Energy a sample"),
)


@dataclass(frozen=True)
class RowView:
    """A row in words: the network, a text for each of `COLUMNS`, and where its marks are told."""

    network: str
    cells: tuple[tuple[str, str], ...]
    marks: tuple[int, ...]


@dataclass(frozen=True)
class MachineView:
    """The rows of one machine.

    Parameters
    ----------
    name : str
        Of the machine.
    source : str
        Of the file.
    facts : list of tuple
        Name and text of each fact.
    rows : list of RowView
        What was timed.
    reasons : list of str
        Why rows are unreliable; rows name them by their place, from 1.
    left_out : list of str
        What was not timed, and why.
    figures : list of FigureView
        Roofline, and samples/s by batch and by workers where there are several.
    """

    name: str
    source: str
    facts: list[tuple[str, str]]
    rows: list[RowView]
    reasons: list[str]
    left_out: list[str]
    figures: list[FigureView]


@dataclass(frozen=True)
class RatioView:
    """Speed-ups of one program over another: a column a machine, a row a benchmark."""

    machines: list[str]
    source: str
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class BenchmarkView:
    """All machines, the figure that has them side by side, and what is faster than what."""

    machines: list[MachineView]
    side_by_side: FigureView | None
    ratios: RatioView | None
    columns: tuple[str, ...] = COLUMNS


def benchmark_view(
    files: Mapping[str, BenchmarkFile], ratios: Mapping[str, dict[str, Any]]
) -> BenchmarkView | None:
    """Return what the report shows of benchmarks; None without any.

    Parameters
    ----------
    files : mapping
        Timings of networks by the file's path within the page's folder.
    ratios : mapping
        What `repro.bench.summary` wrote, in the same way.
    """
    if not (files or ratios):
        return None
    from repro.reporting.benchmark_figures import side_by_side

    machines = [_machine(source, file) for source, file in sorted(files.items())]
    caption = "Training at the papers' size, samples/s: a mark a machine."
    together = _drawn("Machines", caption, side_by_side(files))
    return BenchmarkView(machines, together, _ratios(ratios) if ratios else None)


def _ratios(files: Mapping[str, dict[str, Any]]) -> RatioView:
    devices = [content["machine"] for content in files.values()]
    machines = [f"{d['gpu'] or d['processor']}, {d['cores']} cores" for d in devices]
    rows = [
        (name.replace("_", " "), [number(value, 3) for value in values])
        for name, values in speedups(files.values()).items()
    ]
    return RatioView(machines, " ".join(files), rows)


def _machine(source: str, file: BenchmarkFile) -> MachineView:
    from repro.reporting import benchmark_figures as draw

    reasons = numbered({mark for row in file.rows for mark in row.marks})
    figures = {
        "Roofline": (
            "What trainings reach below the measured ceilings; hollow marks are unreliable.",
            draw.roofline(file),
        ),
        "Batch": ("Training, samples/s over the batch.", draw.by_batch(file)),
        "Workers": ("Training, samples/s over the workers.", draw.by_workers(file)),
    }
    drawn = [_drawn(name, caption, figure) for name, (caption, figure) in figures.items()]
    return MachineView(
        name=machine_name(file),
        source=source,
        facts=_facts(file),
        rows=[_row(row, reasons) for row in sorted(file.rows, key=lambda row: row.key)],
        reasons=list(reasons),
        left_out=[f"{item.what}: {item.reason}" for item in file.left_out] + file.notes,
        figures=[figure for figure in drawn if figure is not None],
    )


def _row(row: Row, reasons: Mapping[str, int]) -> RowView:
    workers = f" on {row.workers} workers" if row.workers > 1 else ""
    times = row.seconds
    interval = f"{milliseconds(times.low)} to {milliseconds(times.high)}"
    texts = (
        row.phase,
        row.precision,
        f"{row.batch}{workers}",
        f"{milliseconds(times.median)} ({interval})",
        milliseconds(times.p95),
        number(row.samples_per_second, 3),
        MISSING if row.flops_per_second is None else large(row.flops_per_second),
        share_of(row.matmul),
        share_of(row.memory),
        MISSING if row.waiting is None else f"{row.waiting:.0%}",
        with_unit(number(row.peak_gb, 2), "GB"),
        with_unit(number(row.joules_per_sample, 3), "J"),
    )
    marks = tuple(sorted(reasons[mark] for mark in row.marks))
    return RowView(row.title, tuple(zip(COLUMNS, texts, strict=True)), marks)


def _facts(file: BenchmarkFile) -> list[tuple[str, str]]:
    plain = [
        (name.replace("_", " "), MISSING if value is None else str(value))
        for name, value in file.machine.items()
        if name != "packages"
    ]
    packages = ", ".join(f"{name} {text}" for name, text in file.machine["packages"].items())
    made = [("date", file.date), ("commit", file.commit or MISSING), ("command", file.command)]
    return [*plain, ("packages", packages), *made]


def _drawn(name: str, caption: str, figure) -> FigureView | None:
    if figure is None:
        return None
    from repro.reporting.views import drawn_view

    return drawn_view(figure, name=name, caption=caption, command="", alt=f"{name}: {caption}")
