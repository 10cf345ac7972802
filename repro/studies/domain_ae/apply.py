"""Domains of a user's own series of frames: maps, areas against temperature, a picture a frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.display import Progress
from repro.errors import ReproError
from repro.reporting.figures import BLUE, ORANGE, PAGE_WIDTH, house_style, new_figure
from repro.reporting.panels import image, intensity_scale
from repro.studies.domain_ae.areas import area
from repro.studies.domain_ae.domains import Domains
from repro.studies.domain_ae.figures import CLASS_SCALE, name_classes
from repro.studies.domain_ae.frame_files import COOLING, FrameSeries, open_series
from repro.studies.domain_ae.mapping import find_domains
from repro.studies.domain_ae.simulate import series_of
from repro.studies.domain_ae.specimen import AA, AC, CLASSES
from repro.study import Applied, Quantity, Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 512  # most pixels along a side of a picture
FRAME_CAPTION = "The frame, and the class of each window by the direction of its stripes."
AREAS_CAPTION = "Areas of a-c and a-a against temperature: heating solid, cooling dashed."
KINDS = {"ac": ("a-c", AC, BLUE), "aa": ("a-a", AA, ORANGE)}


def apply(trained: Trained, source: Path, progress: Progress, **settings: str) -> Applied:
    """Map the domains of a folder of frames.

    Classes of stripes are learned from the frames themselves, in the way of our variant.

    Parameters
    ----------
    trained : Trained
        A run of the variant improved.
    source : Path
        A folder, as `repro.studies.domain_ae.frame_files.open_series` takes it.
    progress : callable
        Is told how many frames are mapped.
    **settings : str
        ``window``, the side of the windows [pixels], by default the run's, and ``environment``,
        which of several folders.

    Raises
    ------
    ReproError
        If the run is of another variant, or the frames are not as they should be.
    """
    if trained.variant != "improved":
        raise ReproError(
            f"Features of a run of {trained.variant} have no names: give one of the variant "
            "improved, which learns classes from your frames."
        )
    window = _window(settings.pop("window", None), trained)
    series = open_series(source, settings.pop("environment", None))
    if window > min(series.shape):
        raise ReproError(
            f"The frames have {series.shape[0]} × {series.shape[1]} pixels, a window {window}: "
            "set window to less."
        )
    step = max(window // 4, 1)
    found = find_domains(series.read, len(series.files), window, step, progress)
    return Applied(
        _quantities(series, found, window, step),
        _figures(series, found, window, step),
        (*series.notices, *_notices(series, found)),
    )


def _window(asked: str | None, trained: Trained) -> int:
    if asked is None:
        return series_of(trained.dataset.spec).window
    if not asked.isdecimal() or int(asked) < 16:
        raise ReproError(f"--set window={asked}: give a number of pixels, at least 16.")
    return int(asked)


def _areas(series: FrameSeries, found: Domains, window: int, step: int) -> dict[str, np.ndarray]:
    return {
        name: area(np.isin(found.labels, classes), series.shape, window, step)
        for name, (_, classes, _) in KINDS.items()
    }


def _quantities(series: FrameSeries, found: Domains, window: int, step: int) -> dict[str, Quantity]:
    """Return what is found in every window, and in every frame."""
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(CLASSES))
    sure = np.where(found.is_void, np.nan, found.found.max(axis=-1))
    quantities = {
        "label": Quantity(found.labels, "1", f"class of each window: {classes}"),
        "probability": Quantity(sure, "1", "probability of that class"),
        "direction": Quantity(
            found.direction, "degrees", "direction of the stripes, from the right towards the top"
        ),
        "period": Quantity(found.period * window, "pixels", "period of the stripes"),
        "temperature": Quantity(
            np.array([file.temperature for file in series.files]), "°C", "temperature of the frame"
        ),
        "branch": Quantity(
            np.array([file.branch for file in series.files]), "", "heating or cooling, if known"
        ),
    }
    for name, values in _areas(series, found, window, step).items():
        about = f"share of the frame that is {KINDS[name][0]}"
        quantities[f"area_{name}"] = Quantity(values, "1", about)
    return quantities


def _notices(series: FrameSeries, found: Domains) -> list[str]:
    told = [
        f"{file.path.name}: the frame is all void"
        for file, is_void in zip(series.files, found.is_void, strict=True)
        if is_void.all()
    ]
    if found.known.n_classes == 1:
        told.append("no stripes stand out of the noise: every window is without domains")
    return told


def _figures(
    series: FrameSeries, found: Domains, window: int, step: int
) -> dict[str, tuple[Figure, str]]:
    """Draw areas against temperature, and every frame beside its classes."""
    figures = {"areas": (draw_areas(series, _areas(series, found, window, step)), AREAS_CAPTION)}
    for number, file in enumerate(series.files):
        drawn = draw_frame(series.read(number), found.labels[number], f"{file.temperature:g} °C")
        figures[file.name] = (drawn, FRAME_CAPTION)
    return figures


def draw_areas(series: FrameSeries, areas: dict[str, np.ndarray]) -> Figure:
    """Draw areas ``(n_frames,)`` of a-c and a-a against temperature."""
    temperature = np.array([file.temperature for file in series.files])
    is_cooling = np.array([file.branch == COOLING for file in series.files])
    figure, axes = new_figure()
    with house_style():
        ax = axes[0, 0]
        for name, values in areas.items():
            title, _, colour = KINDS[name]
            for chosen, style in ((~is_cooling, "o-"), (is_cooling, "s--")):
                if chosen.any():
                    ax.plot(temperature[chosen], values[chosen], style, color=colour, label=title)
                    title = None
        ax.set(xlabel="temperature [°C]", ylabel="area [1]")
        ax.set_ylim(bottom=0)
        ax.legend()
    return figure


def draw_frame(frame: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    """Draw a frame beside the classes of its windows, ``(n_rows, n_columns)``."""
    every = max(1, -(-max(frame.shape) // SHOWN))
    figure, axes = new_figure(1, 2, PAGE_WIDTH, 0.6 * PAGE_WIDTH)
    with house_style():
        shown = frame[::every, ::every]
        image(axes[0, 0], shown, **intensity_scale(shown))
        image(axes[0, 1], labels, **CLASS_SCALE)
        axes[0, 0].set_title(title)
        name_classes(figure, axes[0, 1])
    return figure
