"""The figures of benchmarks: roofline, samples/s by batch, by workers and by machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from repro.bench.rows import BenchmarkFile, Row
from repro.bench.tables import machine_name
from repro.reporting.figures import MUTED, PAGE_WIDTH, PALETTE, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP*X<>dphH8"
ROW_HEIGHT = 0.28  # of a line of text [inch]
PANEL_HEIGHT = 3.4  # [inch]


def roofline(file: BenchmarkFile) -> Figure | None:
    """Draw what each training reaches over how much it computes for a byte, below its ceilings."""
    rows = [row for row in file.rows if row.phase == "train" and intensity(row) is not None]
    if not rows:
        return None
    figure, axes = new_figure(width=PAGE_WIDTH, height=PANEL_HEIGHT)
    ax = axes[0, 0]
    with house_style():
        reached = np.array([[intensity(row), row.flops_per_second] for row in rows])
        span = np.geomspace(reached[:, 0].min() / 3, reached[:, 0].max() * 3, 60)
        for line, (name, products, memory) in zip(cycle(("-", "--", ":")), _ceilings(rows)):
            ax.plot(span, np.minimum(products, span * memory), line, color=MUTED, label=name)
        for (row, (x, y)), marker in zip(zip(rows, reached, strict=True), cycle(MARKERS)):
            colour = PALETTE[place_of(row.precision)]
            face = "none" if row.marks else colour
            ax.plot(x, y, marker, color=colour, markerfacecolor=face, label=name_of(row))
        ax.set(xscale="log", yscale="log", xlabel="FLOP / byte, at least moved", ylabel="FLOP/s")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7)
    return figure


def by_batch(file: BenchmarkFile) -> Figure | None:
    """Draw the samples/s of training over the batch, a line a network and precision."""
    lines = [line for line in series(file.rows, "batch", "train").items() if len(line[1]) > 1]
    return _lines(lines, "samples of a step") if lines else None


def by_workers(file: BenchmarkFile) -> Figure | None:
    """Draw the samples/s of training over the workers that share a batch."""
    lines = [line for line in series(file.rows, "workers", "train").items() if len(line[1]) > 1]
    return _lines(lines, "workers") if lines else None


def side_by_side(files: Mapping[str, BenchmarkFile]) -> Figure | None:
    """Draw the samples/s of training at the papers' size, a row a network, a mark a machine."""
    rates: dict[str, dict[str, float]] = {}
    for file in files.values():
        for row in file.rows:
            if (row.phase, row.preset, row.workers) == ("train", "paper", 1):
                rates.setdefault(name_of(row), {})[machine_name(file)] = row.samples_per_second
    if not rates:
        return None
    names, machines = sorted(rates), sorted({m for of_row in rates.values() for m in of_row})
    height = ROW_HEIGHT * (len(names) + len(machines)) + 1.0
    figure, axes = new_figure(width=PAGE_WIDTH, height=height)
    ax = axes[0, 0]
    with house_style():
        for machine, colour, marker in zip(machines, cycle(PALETTE), cycle(MARKERS)):
            places = [place for place, name in enumerate(names) if machine in rates[name]]
            ax.plot(
                [rates[names[place]][machine] for place in places],
                places,
                marker,
                color=colour,
                label=machine,
            )
        ax.set(xscale="log", xlabel="samples/s", yticks=range(len(names)), yticklabels=names)
        ax.invert_yaxis()
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return figure


def intensity(row: Row) -> float | None:
    """Return the operations for each byte that is moved at least [1 / byte]."""
    if row.flops_per_second is None or row.memory is None or not row.memory.share:
        return None
    return row.flops_per_second / (row.memory.share * row.memory.rate)


def name_of(row: Row) -> str:
    """Return a short name of a row for a figure."""
    return f"{row.study} {row.variant} {row.network}, {row.preset}, {row.precision}"


def series(rows: Iterable[Row], over: str, phase: str) -> dict[str, dict[int, float]]:
    """Return samples/s over batch or workers, by the name of what else is the same."""
    found: dict[str, dict[int, float]] = {}
    other = "workers" if over == "batch" else "batch"
    for row in rows:
        if row.phase == phase:
            name = f"{name_of(row)}, {other} {getattr(row, other)}"
            found.setdefault(name, {})[getattr(row, over)] = row.samples_per_second
    return {name: dict(sorted(line.items())) for name, line in found.items()}


def place_of(precision: str) -> int:
    """Return the place of a precision in the palette."""
    return ("float32", "mixed_bfloat16", "mixed_float16").index(precision)


def _ceilings(rows: list[Row]) -> list[tuple[str, float, float]]:
    """Return name, products [1/s] and memory [byte/s] of each ceiling, the highest measured."""
    memory = max(row.memory.rate for row in rows if row.memory)
    products: dict[str, float] = {}
    for ceiling in (row.matmul for row in rows):
        if ceiling is not None:
            products[ceiling.name] = max(ceiling.rate, products.get(ceiling.name, 0.0))
    return [(f"ceiling {name}", rate, memory) for name, rate in sorted(products.items())]


def _lines(lines: list[tuple[str, dict[int, float]]], label: str) -> Figure:
    figure, axes = new_figure(width=PAGE_WIDTH, height=PANEL_HEIGHT)
    ax: Axes = axes[0, 0]
    with house_style():
        for (name, line), marker in zip(lines, cycle(MARKERS)):
            ax.plot(list(line), list(line.values()), f"{marker}-", label=name, markersize=4)
        ax.set(xscale="log", yscale="log", xlabel=label, ylabel="samples/s")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7)
    return figure
