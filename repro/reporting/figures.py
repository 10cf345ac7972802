"""The house style of figures, files that are reproducible byte for byte, and training curves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

from repro.errors import ReproError
from repro.files import make_folder, replacing
from repro.reporting.svg import compact

INK = "#24292f"
MUTED = "#6e7781"
GRID = "#e4e7eb"
BLUE, ORANGE, GREEN, PURPLE, RED, GREY = PALETTE = (
    "#1f5fa8",
    "#c8651b",
    "#2f7d4f",
    "#7a4ea0",
    "#b3373c",
    "#6e7781",
)
COLUMN_WIDTH, PAGE_WIDTH = 4.8, 7.6  # [inch]
COLUMN_HEIGHT = 3.0  # [inch]

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs on every machine
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "image.cmap": "cividis",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "repro",
    "text.color": INK,
    "text.hinting": "none",
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}
DARK = {  # what a page in dark mode shows instead
    INK: "#dee3e8",
    MUTED: "#9aa5b0",
    BLUE: "#6ca6e8",
    ORANGE: "#e58a45",
    GREEN: "#5cb583",
    PURPLE: "#b08bd6",
    RED: "#ea7a7e",
    GRID: "#30373e",
    "#ffffff": "#1c2125",
}
FORMATS = (".svg", ".png")
NO_MARKER = (None, "None", "none", "", " ")
MOST_MARKS = 2000  # more of them make an SVG large, and slow to show


@dataclass(frozen=True)
class Curve:
    """A curve to compare a training with, such as one that the authors published.

    Parameters
    ----------
    label : str
        What the curve is, for the legend.
    epochs, values : tuple
        The curve's points; epochs count from 1.
    """

    label: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the house style to every figure made, drawn on or saved inside."""
    style: dict[Any, Any] = dict(matplotlib.rcParamsDefault.items())
    del style["backend"]
    with matplotlib.rc_context(style | STYLE):  # whatever the user's matplotlibrc says
        yield


def new_figure(
    n_rows: int = 1,
    n_columns: int = 1,
    width: float = COLUMN_WIDTH,
    height: float = COLUMN_HEIGHT,
    **options,
) -> tuple[Figure, np.ndarray]:
    """Return an empty figure in house style and its axes, ``(n_rows, n_columns)``.

    Parameters
    ----------
    n_rows, n_columns : int
        The grid of axes.
    width, height : float
        Size of the figure [inch].
    **options
        Passed to `matplotlib.figure.Figure.subplots`.
    """
    with house_style():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        return figure, figure.subplots(n_rows, n_columns, squeeze=False, **options)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; the same figure gives the same bytes, today and tomorrow.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : Path
        The file, ``.svg`` or ``.png``; an old one is replaced once the new one is complete.

    Raises
    ------
    ReproError
        If the format is another one.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ReproError(f"Figure {path.name}: write it as {' or '.join(FORMATS)}.")
    make_folder(path.parent)
    with replacing(path) as partial:
        partial.write_bytes(image(figure, path.suffix))
    return path


def image(figure: Figure, suffix: str) -> bytes:
    """Return a figure as the content of a file, without date or version of the program.

    In an SVG, marks too many to be told apart become an image.
    """
    undated = {"Date": None, "Creator": None} if suffix == ".svg" else {"Software": None}
    buffer = io.BytesIO()
    with house_style():
        for artist in figure.findobj(lambda artist: n_marks(artist) > MOST_MARKS):
            artist.set_rasterized(True)
        figure.savefig(buffer, format=suffix[1:], metadata=undated)
    content = buffer.getvalue()
    return compact(content, DARK) if suffix == ".svg" else content


def n_marks(artist: Artist) -> int:
    """Return how many marks an artist draws, one a point."""
    if isinstance(artist, Line2D):
        return len(np.asarray(artist.get_xdata())) if artist.get_marker() not in NO_MARKER else 0
    return len(np.asarray(artist.get_offsets())) if isinstance(artist, PathCollection) else 0


def training_curves(
    seeds: dict[str, dict[str, list[float]]], reference: Curve | None = None
) -> Figure:
    """Draw the losses of one network, a line a seed, training dashed and validation solid.

    Parameters
    ----------
    seeds : dict
        Per seed the columns of its history: ``loss`` and ``val_loss``, and ``epoch`` if the
        epochs are not 1, 2, 3 ...
    reference : Curve, optional
        A published curve to draw beside.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    figure, axes = new_figure()
    ax = axes[0, 0]
    with house_style():
        draw_losses(ax, seeds, "loss", color=MUTED, linestyle=(0, (4, 2)), label="training")
        draw_losses(ax, seeds, "val_loss", color=BLUE, linestyle="-", label="validation")
        if reference is not None:
            ax.plot(reference.epochs, reference.values, ":", color=ORANGE, label=reference.label)
        label_losses(ax)
        if ax.lines:
            ax.legend(loc="upper right")
    return figure


def draw_losses(ax: Axes, seeds: dict[str, dict[str, list[float]]], column: str, **style) -> None:
    """Draw one column of every seed's history; the legend names it once."""
    label = style.pop("label")
    marker: dict[str, Any] = {"marker": "o", "markersize": 3}
    for columns in seeds.values():
        values = columns.get(column, [])
        epochs = columns.get("epoch") or range(1, len(values) + 1)
        few = marker if 0 < len(values) < 3 else {}
        if values:
            ax.plot(epochs, values, label=label, alpha=0.85, **few, **style)
            label = None


def label_losses(ax: Axes) -> None:
    """Name the axes; logarithmic where the losses span more than a factor of four."""
    values = np.concatenate([line.get_ydata() for line in ax.lines] or [np.ones(1)])
    values = values[np.isfinite(values)]
    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(values) and values.min() > 0 and values.max() > 4 * values.min():
        ax.set_yscale("log")
        if values.max() < 30 * values.min():
            ax.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(ScalarFormatter())
            ax.yaxis.set_minor_formatter(NullFormatter())


def describe_curves(seeds: dict[str, dict[str, list[float]]]) -> str:
    """Describe what `training_curves` shows, for readers who cannot see it."""
    sentences = []
    for seed, columns in seeds.items():
        values = columns.get("val_loss") or columns.get("loss") or []
        if not values:
            continue
        kind = "validation" if columns.get("val_loss") else "training"
        epochs = columns.get("epoch") or range(1, len(values) + 1)
        best = int(np.nanargmin(values)) if np.isfinite(values).any() else 0
        sentences.append(
            f"Seed {seed}: {kind} loss from {values[0]:.4g} to {values[-1]:.4g} in "
            f"{len(values)} epochs, lowest {values[best]:.4g} at epoch {epochs[best]:g}."
        )
    return " ".join(sentences) or "No losses were recorded."
